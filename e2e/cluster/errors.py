"""Everything that can go wrong in the rig, as one tree.

RigError
├── Missing         the machine lacks something: root, a package, a program, disk, network
├── CommandFailed   a program we ran ended badly; the message holds its last lines
├── TimedOut        something did not become true before its deadline
├── ProcessDied     a server of ours ended by itself; the message holds its last lines
└── NotUp           there is no such cluster, node or process
"""


class RigError(Exception):
    """Base of the tree; the message says what to do."""


class Missing(RigError):
    """Something that the rig needs is not on this machine."""


class CommandFailed(RigError):
    """A program ended with a failure or passed its deadline."""


class TimedOut(RigError):
    """A condition did not come true in time."""


class ProcessDied(RigError):
    """A server ended while we waited for it."""


class NotUp(RigError):
    """The cluster, node or process that was named does not exist."""
