"""What all tests share."""

from hypothesis import HealthCheck, settings

# How fast a machine draws examples says nothing about our code.
settings.register_profile("vfolder", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vfolder")
