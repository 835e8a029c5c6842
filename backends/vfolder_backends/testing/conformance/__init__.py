"""What every backend must do, asked through the port alone.

Bind it in a test module (pytest, with pytest-asyncio in auto mode):

    class TestMyBackend(BackendConformance):
        @pytest.fixture
        def storage(self):
            return MyStorageUnderTest(...)

Arrays take `ArrayConformance`: each fault at each call, secrets, sequences of all sorts. With
`FactRules` they state facts that the same questions are asked about; what is left is a class over
`ArrayTests`.

Backends over a tree take `TreeConformance`, which adds what lies on the disk, crashes at every step
that changes something, and leaders that are overtaken at every such step. `MigrateRules` moves old
trees on them, and is killed at every step, too; it has a suite of its own, as it takes long.
"""

from vfolder_backends.testing.conformance.actor_rules import ActorRules
from vfolder_backends.testing.conformance.array_base import ArrayTests
from vfolder_backends.testing.conformance.array_facts import Doubtful, FactRules, Refused
from vfolder_backends.testing.conformance.array_rules import ArrayRules
from vfolder_backends.testing.conformance.behaviour_rules import BehaviourRules
from vfolder_backends.testing.conformance.clone_rules import CloneRules, TreeCloneRules
from vfolder_backends.testing.conformance.crash_rules import CrashRules
from vfolder_backends.testing.conformance.disk_rules import DiskRules
from vfolder_backends.testing.conformance.folder_rules import FolderRules
from vfolder_backends.testing.conformance.hostile_rules import HostileRules
from vfolder_backends.testing.conformance.identity_rules import IdentityRules
from vfolder_backends.testing.conformance.leader_rules import LeaderRules
from vfolder_backends.testing.conformance.migrate_rules import MigrateRules
from vfolder_backends.testing.conformance.root_rules import RootRules
from vfolder_backends.testing.conformance.scope_rules import ScopeRules
from vfolder_backends.testing.conformance.sequence_rules import SequenceRules
from vfolder_backends.testing.conformance.trash_rules import TrashRules


class BackendConformance(
    RootRules,
    ScopeRules,
    FolderRules,
    TrashRules,
    CloneRules,
    IdentityRules,
    ActorRules,
    BehaviourRules,
):
    """All rules of the port."""


class TreeConformance(
    BackendConformance, DiskRules, HostileRules, CrashRules, LeaderRules, TreeCloneRules
):
    """The rules of the port, and those of a tree; `storage` is a `TreeUnderTest`."""


class ArrayConformance(TreeConformance, ArrayRules, SequenceRules):
    """The rules of a tree, and those of an array; `storage` is an `ArrayUnderTest`."""


__all__ = [
    "ArrayConformance",
    "ArrayTests",
    "BackendConformance",
    "Doubtful",
    "FactRules",
    "MigrateRules",
    "Refused",
    "TreeConformance",
]
