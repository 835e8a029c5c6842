"""`make demo`: the whole path, told step by step. Exit status 0 means that all of it was seen."""

import sys
import textwrap
import time

from e2e.cluster import RigError
from e2e.world import Body, World, folder, scope

TEAM = "team-a"

WRITE = textwrap.dedent(
    """
    import errno, os, sys
    path, chunk, written = sys.argv[1], b"x" * (1 << 20), 0
    with open(path, "wb", buffering=0) as file:
        try:
            while written < 64 << 20:
                written += file.write(chunk)
                os.fsync(file.fileno())
        except OSError as error:
            print(f"stopped after {written >> 20} MiB: {errno.errorcode[error.errno]}")
            sys.exit()
    print(f"wrote {written >> 20} MiB")
    """
).strip()


def tell(text: str) -> None:
    """One step of the story."""
    print(f"\n\033[1m>> {text}\033[0m" if sys.stdout.isatty() else f"\n>> {text}", flush=True)


def show(site: World, *words: str) -> None:
    """A kubectl command and what it prints."""
    print(f"$ kubectl {' '.join(words)}\n{site.cluster.kubectl(*words)}", flush=True)


def demand(seen: bool, what: str) -> None:
    """End the demo with a word if something was not seen."""
    if not seen:
        raise RigError(f"not seen: {what}")


def write(site: World, team: str, pod: str, file: str) -> str:
    """Run the writer in a pod and print what it says."""
    line = site.run_pod(team, pod, "datasets", f"python3 -c '{WRITE}' /data/{file}").strip()
    print(f"pod {pod}: {line}", flush=True)
    return line


def story(site: World, team: str = TEAM) -> None:
    """What an admin and a team do."""
    tell("The admin installs the chart; it declares one storage, a CephFS.")
    print(site.install().split("NOTES:")[0].strip())
    site.until_ready("default", "storagebackend", "scratch")
    show(site, "get", "storagebackends")

    tell("The admin gives a team a budget of 16 MiB; it makes a folder in it.")
    site.team(team)
    budget, made = scope(team, "research", "16Mi", files=1000), folder(team, "datasets", "research")
    site.apply(budget, made)
    started = time.monotonic()
    ready = site.until_ready(team, "vfolder", "datasets")
    print(f"Ready and bound after {time.monotonic() - started:.1f} s")
    show(site, "get", "sb,qs,vf,pvc", "-n", team)

    tell("A pod mounts the folder by its claim and writes until the storage stops it.")
    line = write(site, team, "writer-1", "first")
    demand("EDQUOT" in line, "the storage stops the write with EDQUOT")
    site.until(lambda: used(site, team) >= 16 << 20, "usage is told", 30)
    show(site, "get", "qs,vf", "-n", team)
    show(site, "describe", "qs", "research", "-n", team)

    tell("The admin raises the budget to 48 MiB; the next write goes on.")
    site.apply(scope(team, "research", "48Mi", files=1000))
    site.until_ready(team, "quotascope", "research")
    line = write(site, team, "writer-2", "second")
    stopped = int(line.split()[2]) if "EDQUOT" in line else 0
    demand(stopped >= 24, "the raised limit lets more through, and stops it again")

    # In a scope that is nearly full trash goes early, to make room.
    tell("With room again, the team deletes the folder; it goes to the trash after its last pod.")
    site.apply(scope(team, "research", "96Mi", files=1000))
    site.until_ready(team, "quotascope", "research")
    site.cluster.kubectl("delete", "vfolder", "datasets", "-n", team, "--wait=false")
    told = site.until_reason(team, "vfolder", "datasets", "ClaimInUse", "Deleting")
    print(message(told))
    site.cluster.kubectl("delete", "pod", "--all", "-n", team)
    site.until(lambda: site.find("-n", team, "vfolder", "datasets") is None, "the folder goes")
    show(site, "get", "qs,vf,pvc", "-n", team)
    leaf = ready["status"]["folderID"].replace("-", "")[4:]
    trash = list(site.ceph.operator_mount.glob(f"*/*/*/.trash-{leaf}-*"))
    demand(len(trash) == 1, "the data in the trash")
    print(f"on the storage, restorable for 24 h: {trash[0].name}")


def used(site: World, team: str) -> int:
    """Bytes in use as the QuotaScope tells them."""
    status = site.get("-n", team, "quotascope", "research").get("status", {})
    return int(status.get("usage", {}).get("bytes", 0))


def message(body: Body) -> str:
    """The messages of an object's conditions."""
    lines = [f"{c['type']}: {c['message']}" for c in body["status"]["conditions"]]
    return "\n".join(lines)


def main() -> None:
    """Start a site, tell the story, take everything down again."""
    started = time.monotonic()
    try:
        with World() as site:
            ready = time.monotonic()
            story(site)
            told = time.monotonic()
    except RigError as error:
        sys.exit(f"demo failed: {error}")
    ended = time.monotonic()
    print(
        f"\nDemo passed: {ready - started:.0f} s to build and start, {told - ready:.0f} s of "
        f"story, {ended - told:.0f} s to clean up."
    )


if __name__ == "__main__":
    main()
