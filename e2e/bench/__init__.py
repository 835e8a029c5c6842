"""Measurements of VFolder beside peers in the same run, on the project's own rig.

Nothing here passes or fails by a number: machines differ, and ratios of one run are what counts.
`python -m e2e.bench --help` lists the measurements.
"""
