"""XFS with project quotas: limits hold to the block, for root, too."""
