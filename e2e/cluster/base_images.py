"""Images made from nothing: a Debian with Python to build upon, and the pause program of pods.

An archive holds one layer in the form that `docker save` writes, which containerd and buildah read.
Archives are kept in the cache under a hash of this file, which holds all that goes into them.
"""

import hashlib
import io
import json
import os
import shlex
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from e2e.cluster import commands, packages, paths
from e2e.cluster.node import PAUSE_IMAGE
from e2e.cluster.progress import say

#: What a pod of a test runs: Debian with python3, coreutils and a shell.
TEST_IMAGE = "localhost/vfolder-test:1"
_SUITE = "bookworm"
_BOOTSTRAP_TIMEOUT = 600.0
_PACKAGES = (
    "attr",
    "base-files",
    "ca-certificates",
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "libc-bin",
    "libstdc++6",
    "mount",
    "netbase",
    "nfs-common",
    "openssl",
    "procps",
    "python3",
    "python3-venv",
    "sed",
    "tar",
    "util-linux",
)
# Perl comes with maintainer scripts that never run here.
_EXCLUDED = (
    "/usr/bin/perl*",
    "/usr/lib/*/gconv/*",
    "/usr/lib/*/libperl.*",
    "/usr/lib/*/perl*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/perl*",
)
# Packages are unpacked but not configured, which takes a quarter of the time; these are the few
# results of their configuration that matter.
_CUSTOMIZE = """
set -eu
cd "$1"
[ -e bin/sh ] || ln -s dash bin/sh
cat usr/share/ca-certificates/mozilla/*.crt >etc/ssl/certs/ca-certificates.crt
printf 'root:x:0:0:root:/root:/bin/sh\\nnobody:x:65534:65534::/:/usr/sbin/nologin\\n' >etc/passwd
printf 'root:x:0:\\nnogroup:x:65534:\\n' >etc/group
printf 'passwd: files\\ngroup: files\\nhosts: files dns\\nservices: files\\n' >etc/nsswitch.conf
rmdir var/run var/lock
ln -s ../run var/run
ln -s ../run/lock var/lock
chmod 1777 tmp var/tmp
rm -rf var/lib/apt/lists/* var/cache/apt/*
"""
_PAUSE_SOURCE = r"""
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void finish(int number) { (void)number; _exit(0); }
static void reap(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) {
    signal(SIGINT, finish);
    signal(SIGTERM, finish);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
"""


def pause() -> Path:
    """The archive of the program that holds a pod's namespaces; reaps orphans."""
    return _cached("pause", _build_pause)


def base() -> Path:
    """The archive of a small Debian with Python; it is also the image of the tests' pods."""
    return _cached("base", _build_base)


def _cached(name: str, build: Callable[[Path, Path], None]) -> Path:
    """An archive as this file describes it; `build(work, archive)` makes it if it is not there."""
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    archive = paths.images_dir() / f"{name}-{key}.tar"
    with paths.building("images") as work:
        if not archive.exists():
            archive.parent.mkdir(parents=True, exist_ok=True)
            for outdated in archive.parent.glob(f"{name}-*.tar"):
                outdated.unlink()
            say(f"making the {name} image")
            build(work, work / "image.tar")
            (work / "image.tar").replace(archive)
            say(f"{archive.name}: {archive.stat().st_size >> 20} MiB")
    return archive


def _build_pause(work: Path, archive: Path) -> None:
    packages.install(packages.COMPILING)
    program, layer = work / "pause", work / "layer.tar"
    words = ("-static", "-Os", "-x", "c", "-", "-o", program)
    commands.run("gcc", *words, stdin=_PAUSE_SOURCE)
    with tarfile.open(layer, "w") as tar:
        tar.add(program, "pause", filter=_owned_by_root)
    pack(layer, archive, PAUSE_IMAGE, ["/pause"])


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = "root"
    return member


def _build_base(work: Path, archive: Path) -> None:
    packages.install(packages.IMAGES)
    layer, hook = work / "layer.tar", work / "customize"
    hook.write_text(f"#!/bin/sh\n{_CUSTOMIZE}")
    hook.chmod(0o755)
    words = [f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED]
    words += [f"--include={','.join(_PACKAGES)}", f'--extract-hook={shlex.quote(str(hook))} "$1"']
    words += ["--variant=extract", _SUITE, str(layer), *_mirror()]
    commands.run("mmdebstrap", "--quiet", *words, timeout=_BOOTSTRAP_TIMEOUT)
    pack(layer, archive, TEST_IMAGE, ["/usr/bin/python3"])


def _mirror() -> list[str]:
    """The Debian mirror that this machine uses; nothing if it has none for our suite."""
    wanted = ("Created-By: Packages", "Origin: Debian", "Label: Debian", f"Codename: {_SUITE}")
    return commands.run("apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted).split()[:1]


def pack(layer: Path, archive: Path, image: str, command: Sequence[str]) -> None:
    """Write an image archive of one layer.

    Args:
        layer: a tar of the root file system.
        archive: the file to write.
        image: the name that the archive gives to the image.
        command: what a container runs by default.
    """
    with layer.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Cmd": list(command), "Env": [f"PATH={path}", "LANG=C.UTF-8"]},
        # One entry per layer: buildah builds on nothing without it.
        "history": [{"created_by": "mmdebstrap"}],
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    raw = json.dumps(config).encode()
    name = f"{hashlib.sha256(raw).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [image], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        for member, content in ((name, raw), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        tar.add(layer, "layer.tar", filter=_owned_by_root)


def _architecture() -> str:
    """This machine's, in the words of container images."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
