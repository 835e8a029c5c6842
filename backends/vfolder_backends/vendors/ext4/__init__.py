"""ext4 with project quotas: limits hold to the block, but for those with CAP_SYS_RESOURCE."""
