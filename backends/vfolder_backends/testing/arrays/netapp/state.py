"""What a simulated ONTAP cluster knows, and what takes effect when."""

import uuid
from dataclasses import dataclass, field
from typing import Final

from vfolder_backends.testing.arrays.disk import Limit

_SPACE: Final = uuid.UUID("6f1c2b58-5f0a-4f57-9a53-0d0f6c8d1e11")
MOST_QTREES: Final = 4994
SVM: Final = "svm1"
SVM_UUID: Final = "b68f961b-4cee-11e9-930a-005056a7f717"
FREE: Final = Limit()


@dataclass(slots=True)
class Qtree:
    """A qtree; `inode` is its directory."""

    id: int
    name: str
    inode: int
    export_policy: str = ""


@dataclass(slots=True)
class Rule:
    """A tree rule; the one of no qtree is the default rule.

    `lost` says that its qtree was removed by a client, so that it reaches no new one of its name.
    """

    uuid: str
    qtree: str
    limit: Limit
    lost: bool = False


@dataclass(slots=True)
class Volume:
    """A volume; `path` is its root on the disk, `inode` the directory that was there first.

    `active` is what is in force, by the id of a qtree: the quota report.
    """

    name: str
    uuid: str
    path: str
    inode: int
    quota: str = "off"
    initializing: int = 0
    default_active: bool = False
    qtrees: dict[int, Qtree] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    active: dict[int, Limit] = field(default_factory=dict)

    def named(self, name: str) -> Qtree | None:
        """Return the qtree of that name."""
        return next((q for q in self.qtrees.values() if q.name == name), None)

    def rule_of(self, name: str) -> Rule | None:
        """Return the rule of a qtree, or the default one."""
        return next((r for r in self.rules.values() if r.qtree == name), None)

    def free_number(self) -> int | None:
        """Return the smallest id that no qtree has."""
        return next((n for n in range(1, MOST_QTREES + 1) if n not in self.qtrees), None)

    def initialise(self) -> None:
        """Put every rule in force: what turning quotas on does at its end."""
        default = self.rule_of("")
        self.quota, self.default_active, self.active = "on", default is not None, {}
        for qtree in self.qtrees.values():
            rule = self.rule_of(qtree.name) or default
            if rule is not None:
                rule.lost = False
                self.active[qtree.id] = rule.limit

    def turn_off(self) -> None:
        """Keep no limit any more."""
        self.quota, self.default_active, self.active = "off", False, {}

    def derived(self) -> Limit:
        """Return the limit that the default rule gives."""
        default = self.rule_of("")
        return default.limit if default else FREE

    def resize(self, rule: Rule) -> bool:
        """Put a rule in force where its qtree has a quota; return whether it has."""
        qtree = self.named(rule.qtree)
        if self.quota != "on" or rule.lost or qtree is None or qtree.id not in self.active:
            return False
        self.active[qtree.id] = rule.limit
        return True


def uuid_of(*words: str) -> str:
    """Return an id that is the same for the same words."""
    return str(uuid.uuid5(_SPACE, "/".join(words)))


@dataclass(slots=True)
class State:
    """Everything that a change can change."""

    volumes: dict[str, Volume] = field(default_factory=dict)
    last: int = 0


@dataclass(slots=True)
class Settings:
    """How this cluster behaves: what differs between versions and sites, or is not documented.

    Attributes:
        version: generation, major, minor.
        prompt: what is done at once is answered when it is done, if the caller waits; else all
            changes are answered with a job.
        page: records in one page of a list.
        initializing_calls: for how many calls quotas that are turned on are not kept.
        lost_resizes: how many of the next resizes do not happen, as on releases before 9.8.
        busy: how many of the next changes are refused with 262160.
        busy_status: the status of that refusal.
        volume_state: online when it works.
        volume_type: rw, or dp for one that cannot be written to.
        export_clients: whom the one rule of the export policies is for.
        total_bytes: size of each volume.
    """

    version: tuple[int, int, int] = (9, 14, 1)
    prompt: bool = True
    page: int = 50
    initializing_calls: int = 3
    lost_resizes: int = 0
    busy: int = 0
    busy_status: int = 503
    volume_state: str = "online"
    volume_type: str = "rw"
    export_clients: tuple[str, ...] = ("10.0.0.0/24",)
    total_bytes: int = 1 << 40
