"""The machine's mounts, as far as they are ours."""

import re
from pathlib import Path

from e2e.cluster import commands
from e2e.cluster.errors import RigError


def make_shared(folder: Path) -> None:
    """Make a folder a shared mount, so that mounts below it show in containers and back."""
    folder.mkdir(parents=True, exist_ok=True)
    commands.run("mount", "--bind", folder, folder)
    commands.run("mount", "--make-rshared", folder)


def create_namespace(file: Path, script: str, *arguments: str | Path) -> str:
    """Make a mount namespace that lives as long as `file` is mounted.

    It sees what is mounted here later, if that is below a shared mount; what is mounted in it does
    not show here.

    Args:
        file: where to keep it; its folder is taken for this alone.
        script: shell commands to run in it first.
        arguments: of the script.

    Returns:
        the option of nsenter that enters it.
    """
    file.parent.mkdir()
    # The kernel lets a namespace be kept only on a mount that is not shared with others.
    commands.run("mount", "--bind", file.parent, file.parent)
    commands.run("mount", "--make-private", file.parent)
    file.touch()
    words = ("unshare", f"--mount={file}", "--propagation=slave")
    commands.run(*words, "sh", "-euc", script, "sh", *arguments)
    return enter(file)


def enter(file: Path) -> str:
    """The option of nsenter that enters the namespace kept at `file`."""
    return f"--mount={file}"


def mount_points(mountinfo: str) -> list[str]:
    """The mount points in the text of a `/proc/<pid>/mountinfo`, in the order of mounting."""
    # The kernel writes blanks and the like as a backslash with three octal digits.
    escape = re.compile(r"\\([0-7]{3})")
    fields = (line.split()[4] for line in mountinfo.splitlines())
    return [escape.sub(lambda match: chr(int(match[1], 8)), field) for field in fields]


def below(folder: Path) -> list[str]:
    """Mount points at and under a folder, the ones mounted last first."""
    points = mount_points(Path("/proc/self/mountinfo").read_text())
    return [one for one in reversed(points) if f"{one}/".startswith(f"{folder}/")]


def is_mounted(point: Path) -> bool:
    """Whether something is mounted there; does not ask the file system, which may hang."""
    return str(point) in below(point)


def detach(point: str | Path) -> None:
    """Unmount without asking who uses it, or whether its server still answers.

    Raises:
        CommandFailed: it is no mount.
    """
    commands.run("umount", "--lazy", "--no-canonicalize", point)


def detach_below(folder: Path) -> None:
    """Detach every mount at and under a folder.

    Raises:
        RigError: some mount cannot be detached.
    """
    while points := below(folder):
        detach(points[0])
        if below(folder) == points:
            raise RigError(f"cannot unmount {points[0]}")
