"""CephFS: directory quotas by extended attributes."""
