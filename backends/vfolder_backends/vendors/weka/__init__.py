"""WEKA: directory quotas by inode, REST v2."""
