"""Kernel project quotas: what XFS and ext4 have in common, which is nearly all.

    syscalls   the ioctls and quotactl calls, nothing but numbers and structures
    checks     whether limits are enforced on a mounted file system, and if not, why
    identity   which file system it is: project ids are its own
    quotas     limits and usage of one directory, of all
    claims     the disk half of the allocator of project ids
    containers scopes' directories: made with their id, removed with it
    tagging    existing trees get their id; surveys find what has another one
    driver     all of it as a `QuotaDriver`
    facts      what differs between the two, and what is promised of each

What the node plugin needs (syscalls, checks) is standard library only. Nothing but our own ids is
ever written: foreign ids are looked at and left alone.
"""
