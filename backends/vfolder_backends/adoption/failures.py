"""What stops a whole run; what is wrong with one scope or folder is a row of the report instead."""


class AdoptionError(Exception):
    """Base: the run ends, and the message says what to do."""


class MappingError(AdoptionError):
    """A mapping file cannot be used; the message names file, line, column and value."""


class JournalError(AdoptionError):
    """A journal cannot be read, is another run's, or does not fit the disk."""


class Busy(AdoptionError):
    """Another run works on the same root, or its journal is open."""


class Refused(AdoptionError):
    """What was asked for cannot be proven safe."""
