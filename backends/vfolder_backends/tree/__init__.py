"""The tree below a backend's root: root mark, owner marks, index of names, scopes, folders, trash.

Plain functions on the descriptor of a root whose mark was compared a moment before; they block, and
run in the backend's pool. They raise `OSError` where a system call failed and `BackendError` where
what lies there does not allow the change. Several actors, in one process or many, may run any of
them at once: every change is one atomic system call that fails when somebody was quicker, and
whoever fails looks again. Nothing here needs more than the standard library, so the node plugin can
use it.
"""
