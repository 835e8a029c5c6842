"""The kernel's own NFS server, in a guest: a file server that tests may take away.

It serves versions 3 and 4.2 on 127.0.0.1, to the guest itself. There is one per guest. `vanish`
drops what is sent to it: a client then sees what a cut cable shows.
"""

from pathlib import Path
from typing import Final

from e2e.cluster import commands
from e2e.cluster.errors import RigError
from e2e.guest.guest import inside

MODULES: Final = ("nfsd", "nfs", "nfsv3", "nfsv4", "sch_ingress", "cls_u32", "act_gact")
"""What a guest must load for it."""

_ADDRESS: Final = "127.0.0.1"
_TOP: Final = Path("/srv/nfs")
_NFSD: Final = Path("/proc/fs/nfsd")
_STATE: Final = Path("/var/lib/nfs")
_LOCKD_GRACE: Final = Path("/proc/sys/fs/nfs/nlm_grace_period")
_SECONDS: Final = "10"  # the least it takes; a client's state is kept so long
_DROP: Final = ["protocol", "ip", "u32", "match", "ip", "dport", "2049", "0xffff", "action", "drop"]


class NfsServer:
    """The server of this guest; made once."""

    def __init__(self) -> None:
        if not inside():
            raise RigError("an NFS server is only started in a guest")
        for folder in (Path("/run/rpcbind"), *(_STATE / name for name in ("sm", "sm.bak"))):
            folder.mkdir(parents=True, exist_ok=True)
        for name in ("rmtab", "etab"):
            (_STATE / name).write_text("")
        commands.run("mount", "-t", "nfsd", "nfsd", _NFSD)
        for name in ("nfsv4gracetime", "nfsv4leasetime"):
            (_NFSD / name).write_text(_SECONDS)
        # Version 3's own, 50 s by default; until it is over version 4 grants no lock either.
        _LOCKD_GRACE.write_text("1")
        # The root that version 4 shows needs file handles, which the guest's own root has not.
        _TOP.mkdir(parents=True, exist_ok=True)
        commands.run("mount", "-t", "tmpfs", "tmpfs", _TOP)
        self._names: list[str] = []
        self._export(_TOP, "fsid=0,no_root_squash")
        commands.run("rpcbind", "-w")
        commands.run("rpc.mountd")
        commands.run("rpc.statd", "--no-notify")  # locks of version 3 ask it about their clients
        self._serve()

    def _serve(self) -> None:
        commands.run("rpc.nfsd", "--host", _ADDRESS, "--no-udp", "2")
        (_NFSD / "v4_end_grace").write_text("Y")  # nobody was a client before

    def export(self, name: str, folder: Path, options: str) -> None:
        """Export a folder of a disk as `name`."""
        place = _TOP / name
        place.mkdir()
        commands.run("mount", "--bind", folder, place)
        self._names.append(name)
        self._export(place, f"fsid={100 + len(self._names)},{options}")

    def _export(self, folder: Path, options: str) -> None:
        always = "rw,sync,no_subtree_check,insecure"
        commands.run("exportfs", "-i", "-o", f"{always},{options}", f"{_ADDRESS}:{folder}")

    def source(self, name: str, version: str) -> str:
        """What a client of a version mounts to see an export."""
        return f"{_ADDRESS}:{_TOP if version == '3' else ''}/{name}"

    def stop(self) -> None:
        """End it and let go of the disks, without which the guest takes minutes to power off."""
        self.come_back()
        commands.run("exportfs", "-ua")
        commands.run("rpc.nfsd", "0")
        commands.run("umount", *(_TOP / name for name in self._names), _TOP, _NFSD)

    def vanish(self) -> None:
        """Answer nobody any more, not even to refuse."""
        commands.run("tc", "qdisc", "add", "dev", "lo", "clsact")
        commands.run("tc", "filter", "add", "dev", "lo", "egress", *_DROP)

    def come_back(self) -> None:
        """Undo `vanish`, if need be."""
        commands.succeeds("tc", "qdisc", "del", "dev", "lo", "clsact")
