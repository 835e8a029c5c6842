"""VAST Data: quotas on paths, the REST interface of VMS."""
