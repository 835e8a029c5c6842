"""Whole trees: walked, counted, copied, compared, removed; used by deletion, adoption and clone.

    stop      when to stop
    spans     where a walk is, as text that survives the process
    descent   directories opened by their path below a descriptor
    walk      the walk itself, by several threads; what follows is built on it
    visit     a callback for every entry;  usage    bytes and inodes
    copy      a faithful copy;             compare  what differs between two trees
    removal   everything inside a directory, which needs no order and keeps no state

It knows nothing of scopes, folders or marks, which are `tree/`'s. Nothing here goes above the
descriptor it is given, follows a link, or steps onto another mount.
"""
