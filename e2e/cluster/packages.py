"""The Debian packages that the rig needs, and their installation."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from e2e.cluster import commands
from e2e.cluster.errors import CommandFailed, Missing
from e2e.cluster.progress import say

#: To compile the programs that Go makes with C (runc) and the pause image.
COMPILING = ("gcc", "libc6-dev", "libseccomp-dev", "pkg-config")
#: What a node's programs call.
NODES = (
    "conntrack",
    "ethtool",
    "iproute2",
    "iptables",
    "kmod",
    "mount",
    "nftables",
    "openssl",
    "procps",
    "socat",
    "util-linux",
)
#: To make images.
IMAGES = ("buildah", "mmdebstrap")
#: The private CephFS.
CEPH = (
    "attr",
    "ceph-common",
    "ceph-fuse",
    "ceph-mds",
    "ceph-mon",
    "ceph-osd",
    "fuse3",
    "python3-rados",
)
#: Guests with other kernels, and what makes and inspects their disks.
GUEST = (
    "e2fsprogs",
    "iproute2",
    "kmod",
    "mount",
    "nfs-common",
    "nfs-kernel-server",
    "perl-base",
    "python3",
    "quota",
    "rpcbind",
    "user-mode-linux",
    "util-linux",
    "xfsprogs",
)
EVERYTHING = (*COMPILING, *NODES, *IMAGES, *CEPH, *GUEST)

_POLICY = Path("/usr/sbin/policy-rc.d")
_TIMEOUT = 900.0


def missing(names: Sequence[str]) -> list[str]:
    """Those packages that are not installed.

    Raises:
        Missing: this is not a Debian.
    """
    try:
        listed = commands.run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n")
    except Missing:
        raise Missing(
            "this machine has no dpkg; the rig runs on Debian 12 or newer. "
            f"It needs: {' '.join(names)}"
        ) from None
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def demand_root(what: str) -> None:
    """Refuse to go on without root's rights.

    Raises:
        Missing: we do not have them.
    """
    if os.geteuid() != 0:
        raise Missing(f"{what} needs root: it makes mounts and namespaces")


def install(names: Sequence[str]) -> None:
    """Install what is missing of `names`.

    Raises:
        Missing: it cannot be installed; the message tells why and what.
    """
    wanted = missing(names)
    if not wanted:
        return
    if os.geteuid() != 0:
        raise Missing(f"not root; install by hand: apt-get install {' '.join(wanted)}")
    say(f"installing {len(wanted)} Debian packages: {' '.join(wanted)}")
    apt = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        commands.run(*apt, "update", timeout=_TIMEOUT, env=quiet)
        with _no_daemons():
            options = ("--yes", "--no-install-recommends")
            commands.run(*apt, "install", *options, *wanted, timeout=_TIMEOUT, env=quiet)
    except CommandFailed as error:
        raise Missing(
            f"cannot install {' '.join(wanted)}; is a Debian mirror within reach?\n{error}"
        ) from error
    say("Debian packages installed")


@contextlib.contextmanager
def _no_daemons() -> Iterator[None]:
    """Forbid packages to start their services while we install them."""
    if _POLICY.exists():
        yield  # somebody has a policy already; it stays in force
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
