import pytest

from vfolder_backends.facts import Capabilities, Enforcement, Level, Tristate
from vfolder_backends.testing.conformance import BackendConformance
from vfolder_backends.testing.memory_storage import MemoryStorage
from vfolder_backends.testing.storages import MemoryUnderTest


class TestMemory(BackendConformance):
    @pytest.fixture
    def storage(self):
        return MemoryUnderTest()


class TestMemoryWithoutLimits(BackendConformance):
    @pytest.fixture
    def storage(self):
        nothing = Enforcement(Level.NONE, Level.NONE, Tristate.UNKNOWN, "")
        return MemoryUnderTest(MemoryStorage(Capabilities(nothing)))
