"""A private CephFS on 127.0.0.1: one monitor, one object store in memory, one metadata server.

It is mounted twice by ceph-fuse, as a site would do it: for the operator with the right to set
quotas, and for the nodes without it. It has no manager daemon, which neither quotas nor directory
statistics need.
"""

import base64
import hashlib
import json
import re
import secrets
import struct
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from e2e.cluster import cleanup, commands, mounts, network, packages, state
from e2e.cluster.errors import RigError
from e2e.cluster.processes import Supervisor
from e2e.cluster.state import Kind, State

_FILE_SYSTEM = "cephfs"
_SYSTEM_PYTHON = "/usr/bin/python3"
_MON_TIMEOUT = 90.0
_MOUNT_TIMEOUT = 30.0
_STORE_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Entity:
    """Somebody with a key. Capabilities are Ceph's own words, by kind of daemon."""

    name: str
    capabilities: Mapping[str, str]


POOLS = f"allow rw tag cephfs data={_FILE_SYSTEM}"
ADMIN = Entity("client.admin", {"mon": "allow *", "osd": "allow *", "mds": "allow *"})
#: `p` is the right to set quotas and layouts.
OPERATOR = Entity("client.operator", {"mon": "allow r", "osd": POOLS, "mds": "allow rwp"})
NODE = Entity("client.node", {"mon": "allow r", "osd": POOLS, "mds": "allow rw"})
_MON = Entity("mon.", {"mon": "allow *"})
_OSD = Entity("osd.0", {"mon": "allow profile osd", "osd": "allow *"})
_MDS = Entity("mds.a", {"mon": "allow profile mds", "osd": "allow rwx", "mds": "allow *"})
_ENTITIES = (_MON, ADMIN, _OSD, _MDS, OPERATOR, NODE)


def client(name: str, mds: str) -> Entity:
    """A client with capabilities of its own on the metadata server."""
    return Entity(f"client.{name}", {"mon": "allow r", "osd": POOLS, "mds": mds})


class Ceph:
    """A CephFS that is thrown away at the end; started and mounted in about a second.

    All its mounts are below a shared mount, so the nodes of a cluster that is started afterwards
    see them come and go.

        with Ceph(quick=True) as ceph:
            os.setxattr(ceph.operator_mount / "a", "ceph.quota.max_bytes", b"1048576")

    Attributes:
        operator_mount: the tree as `client.operator` sees it.
        node_mount: the same tree as `client.node` sees it, alone in a folder that stands for /mnt.
        supervisor: its daemons `mon`, `osd` and `mds`, for faults.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        quick: bool = False,
        keep: bool = False,
        entities: Sequence[Entity] = (),
    ) -> None:
        """Choose what to start.

        Args:
            name: random by default.
            quick: clients and servers report sizes at once. Ceph's own delays (5 s and 1 s) let
                writers pass a limit by far more, and usage lag behind; with them tests are
                realistic, without them quick and nearly exact.
            keep: let it outlive this process.
            entities: more of those who get a key.
        """
        owner = None if keep else state.myself()
        self.state = State(Kind.CEPH, name or state.random_name(), 0, owner)
        self.supervisor = Supervisor(self.state.folder)
        self.operator_mount = self.state.folder / "operator"
        self.node_mount = self.state.folder / "mnt" / "cephfs"
        self._quick = quick
        self._entities = (*_ENTITIES, *entities)

    @property
    def conf(self) -> Path:
        """The configuration file, for Ceph's own programs; it gives them the admin's rights."""
        return self.state.folder / "ceph.conf"

    def start(self) -> None:
        """Start all daemons and both mounts; on failure nothing is left.

        Raises:
            RigError: it did not come up.
        """
        packages.demand_root("CephFS")
        cleanup.remove_abandoned()
        self.state.create()
        with self.state.locked(), cleanup.on_failure(self.state):
            self._start_daemons()
            mounts.make_shared(self.state.folder)
            self.mount(OPERATOR, self.operator_mount)
            self.mount(NODE, self.node_mount)

    def stop(self) -> None:
        """Take it down with all its mounts; nothing if it is down."""
        cleanup.take_down(self.state)

    def command(self, *requests: Mapping[str, object]) -> list[object]:
        """Send commands to the monitor and return its answers.

        Raises:
            CommandFailed: one was refused.
        """
        script = Path(__file__).with_name("mon_commands.py")
        lines = "".join(f"{json.dumps(request)}\n" for request in requests)
        words = (_SYSTEM_PYTHON, "-I", script, self.conf)
        answers = commands.run(*words, stdin=lines, timeout=_MON_TIMEOUT)
        return [json.loads(line) for line in answers.splitlines()]

    def mount(self, client: Entity, point: Path, subfolder: str = "/") -> None:
        """Mount the tree, or a part of it, as a client.

        Raises:
            RigError: it is not mounted in time.
        """
        point.mkdir(parents=True, exist_ok=True)
        name = _mount_name(point)
        words = ["ceph-fuse", "-f", "-c", str(self.conf), "-n", client.name]
        words += ["-k", str(self._keyring(client)), "-r", subfolder, "-o", "allow_other"]
        self.supervisor.spawn(name, [*words, str(point)])

        def mounted() -> bool:
            self.supervisor.demand_alive(name)
            return mounts.is_mounted(point)

        commands.wait_until(mounted, f"ceph-fuse on {point}", _MOUNT_TIMEOUT, every=0.02)

    def unmount(self, point: Path) -> None:
        """Undo `mount`, even if the mount is in use."""
        mounts.detach(point)
        self.supervisor.forget(_mount_name(point))

    def __enter__(self) -> "Ceph":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def fsid(self) -> str:
        """The cluster's own id."""
        return self._configured("fsid = ([0-9a-f-]+)")

    @property
    def file_system(self) -> str:
        """The name of its file system."""
        return _FILE_SYSTEM

    def monitor(self, messenger: str) -> str:
        """The monitor's address for messenger `v1` or `v2`, as a kernel's mount names it."""
        return self._configured(rf"{messenger}:([0-9.:]+)")

    def key(self, entity: Entity) -> str:
        """The secret of somebody who has a key."""
        (_, found) = self._keyring(entity).read_text().split("key = ")
        return found.split()[0]

    def _configured(self, pattern: str) -> str:
        found = re.search(pattern, self.conf.read_text())
        if found is None:
            raise RigError(f"{self.conf} has no {pattern}")
        return found[1]

    def _keyring(self, entity: Entity) -> Path:
        return self.state.folder / "keys" / f"{entity.name.rstrip('.')}.keyring"

    def _start_daemons(self) -> None:
        folder, fsid, osd_id = self.state.folder, str(uuid.uuid4()), str(uuid.uuid4())
        ports = network.free_ports(2)
        addresses = f"[v2:127.0.0.1:{ports[0]},v1:127.0.0.1:{ports[1]}]"
        for part in ("mon", "osd", "mds", "log", "run", "keys"):
            (folder / part).mkdir(mode=0o700)
        self._write_keys()
        self.conf.write_text(self._configuration(fsid, addresses))

        monmap, conf = folder / "monmap", ("-c", self.conf)
        named = ("--fsid", fsid, "--addv", "a", addresses)
        commands.run("monmaptool", "--create", *named, "--set-min-mon-release", "16", monmap)
        keys = ("--keyring", folder / "keys" / "all")
        commands.run("ceph-mon", *conf, "--mkfs", "-i", "a", "--monmap", monmap, *keys)
        self.supervisor.spawn("mon", ["ceph-mon", "-f", *conf, "-i", "a"])
        self.command({"prefix": "osd new", "uuid": osd_id, "id": 0})

        made = ("--mkfs", "--osd-uuid", osd_id, "--no-mon-config")
        commands.run("ceph-osd", *conf, "-i", "0", *made)
        self.supervisor.spawn("osd", ["ceph-osd", "-f", *conf, "-i", "0"])
        self.supervisor.spawn("mds", ["ceph-mds", "-f", *conf, "-i", "a"])
        meta, data = f"{_FILE_SYSTEM}.meta", f"{_FILE_SYSTEM}.data"
        pools = [{"prefix": "osd pool create", "pool": pool, "pg_num": 8} for pool in (meta, data)]
        whole = {"fs_name": _FILE_SYSTEM, "metadata": meta, "data": data}
        self.command(
            *pools, {"prefix": "fs new", **whole}, {"prefix": "fs dump", "until": "up:active"}
        )

    def _write_keys(self) -> None:
        entries = []
        for entity in self._entities:
            caps = "".join(
                f'\tcaps {kind} = "{cap}"\n' for kind, cap in entity.capabilities.items()
            )
            entries.append(f"[{entity.name}]\n\tkey = {_new_key()}\n{caps}")
            self._keyring(entity).write_text(entries[-1])
        (self.state.folder / "keys" / "all").write_text("".join(entries))

    def _configuration(self, fsid: str, addresses: str) -> str:
        folder = self.state.folder
        return f"""\
[global]
fsid = {fsid}
mon host = {addresses}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
run dir = {folder}/run
admin socket = {folder}/run/$name.$pid.asok
log file = {folder}/log/$name.log
mon cluster log file = {folder}/log/cluster.log
crash dir = {folder}/log
auth allow insecure global id reclaim = false
# One copy on one disk, and no manager that could tune anything.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 1
mon data avail warn = 2
# The monitor waits this long for more changes before it decides; alone it need not.
paxos propose interval = 0.05
paxos min wait = 0.01
[mon]
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
keyring = {self._keyring(_OSD)}
osd objectstore = memstore
memstore device bytes = {_STORE_BYTES}
[mds]
mds data = {folder}/mds
keyring = {self._keyring(_MDS)}
mds beacon interval = 1
mds dirstat min interval = {0 if self._quick else 1}
[client]
keyring = {self._keyring(ADMIN)}
client quota = true
client quota df = true
client caps release delay = {0 if self._quick else 5}
fuse default permissions = true
"""


def _mount_name(point: Path) -> str:
    """The supervisor's name for the process behind a mount."""
    return f"fuse-{point.name}-{hashlib.sha256(str(point).encode()).hexdigest()[:8]}"


def _new_key() -> str:
    """A random AES key in Ceph's form: kind, time of creation, length, key."""
    key = secrets.token_bytes(16)
    return base64.b64encode(struct.pack("<HIIH", 1, int(time.time()), 0, len(key)) + key).decode()
