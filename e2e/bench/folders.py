"""200 VFolders at once: how soon they are Ready and bound, what that writes, what it costs.

Beside them as many pairs of PersistentVolume and claim that name each other, bound by the
controller manager alone, which is what a provisioner waits for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from e2e.bench import audit, procs, writes
from e2e.bench.report import Figure, Section
from e2e.bench.site import Site
from e2e.bench.watch import Watch
from e2e.cluster.progress import say
from e2e.world import Body, folder, scope

COUNT = 200
NAMESPACE = "bench-folders"
PEER_NAMESPACE = "bench-pairs"
SCOPE = "research"
_SETTLE_SECONDS = 10.0
"""After the last one is bound: what is written late belongs to it, too."""
_STEADY_SECONDS = 65.0
"""One refresh of the operator is 60 s."""
_DEADLINE = 300.0


@dataclass(frozen=True, slots=True)
class Round:
    """200 of something, made.

    Attributes:
        seconds: from the first request of the client to the last object in its phase.
        applying: of these, how long the client took to write its objects.
        writes: from the first request until some seconds after the end.
    """

    seconds: float
    applying: float
    writes: list[audit.Write]


def measure(site: Site) -> Section:
    """Make 200 VFolders, leave them alone for a minute, make 200 pairs, delete the VFolders."""
    operator = site.operator()
    site.team(NAMESPACE)
    site.apply(scope(NAMESPACE, SCOPE, "1Gi"))
    site.until_ready(NAMESPACE, "quotascope", SCOPE)
    empty = procs.usage(operator)

    ours = _vfolders(site)
    full = procs.usage(operator)
    steady = _steady(site)
    rested = procs.usage(operator)
    pairs = _pairs(site)
    gone = _delete(site)

    return Section(
        "folders",
        f"{COUNT} VFolders at once: Ready, and their claims Bound",
        f"One kubectl creates {COUNT} VFolders in one scope (CephFS); the clock runs until a watch "
        "has shown the last one Ready and the last claim Bound. The controller manager has its "
        "default client rate (20/s). Writes are counted in the API server's audit log until "
        f"{_SETTLE_SECONDS:g} s after the end; then nothing is touched for {_STEADY_SECONDS:g} s. "
        "Figures with 'each' are per VFolder, or per pair.",
        [
            Figure("made and bound", COUNT / ours.seconds, "1/s", COUNT / pairs.seconds),
            Figure("all of them", ours.seconds, "s", pairs.seconds),
            Figure("of which the client wrote", ours.applying, "s", pairs.applying),
            Figure("deleted", COUNT / gone, "1/s"),
            *writes.of_objects(ours.writes, pairs.writes, COUNT),
            *writes.at_rest(steady),
            Figure("operator, processor time per folder",
                   1000 * (full.cpu - empty.cpu) / COUNT, "ms"),
            Figure("operator, processor time at rest",
                   1000 * (rested.cpu - full.cpu) / _STEADY_SECONDS, "ms/s"),
            Figure("operator, memory before", empty.resident, "MiB"),
            Figure(f"operator, memory with {COUNT}", rested.resident, "MiB"),
            Figure("operator, memory at most", rested.peak, "MiB"),
        ],
        "PersistentVolume and claim made together, bound by their names by the controller manager "
        "alone: the floor under any provisioner that leaves binding to it, such as the Go "
        "external-provisioner (which this cluster does not have yet).",
    )  # fmt: skip


def _vfolders(site: Site) -> Round:
    bodies = [folder(NAMESPACE, f"f{number:03}", SCOPE) for number in range(COUNT)]
    with (
        site.watch(NAMESPACE, "vfolders", "Ready") as ready,
        site.watch(NAMESPACE, "persistentvolumeclaims", "Bound") as bound,
    ):
        return _make(site, bodies, lambda: max(_all(ready), _all(bound)))


def _pairs(site: Site) -> Round:
    site.team(PEER_NAMESPACE)
    bodies = [body for number in range(COUNT) for body in _pair(f"bench-{number:03}")]
    with site.watch(PEER_NAMESPACE, "persistentvolumeclaims", "Bound") as bound:
        return _make(site, bodies, lambda: _all(bound))


def _all(watch: Watch) -> float:
    return watch.until_reached(COUNT, _DEADLINE)


def _make(site: Site, bodies: list[Body], wait: Callable[[], float]) -> Round:
    mark, started = site.audit.mark(), time.monotonic()
    site.create(*bodies)
    applying = time.monotonic() - started
    seconds = wait() - started
    say(f"{COUNT} bound after {seconds:.1f} s")
    time.sleep(_SETTLE_SECONDS)
    wait()  # nothing fell out of its phase meanwhile
    return Round(seconds, applying, site.audit.since(mark))


def _pair(name: str) -> tuple[Body, Body]:
    """A volume and a claim that name each other; nothing ever mounts them."""
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {"bench": "pair"}},
        "spec": {
            **common,
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": PEER_NAMESPACE, "name": name},
            "csi": {"driver": "bench.vfolder.dev", "volumeHandle": name},
            "persistentVolumeReclaimPolicy": "Retain",
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": PEER_NAMESPACE},
        "spec": {
            **common,
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeName": name,
        },
    }
    return volume, claim


def _steady(site: Site) -> list[audit.Write]:
    mark = site.audit.mark()
    say(f"nothing is touched for {_STEADY_SECONDS:g} s")
    time.sleep(_STEADY_SECONDS)
    return site.audit.since(mark)


def _delete(site: Site) -> float:
    """Delete the VFolders; returns the seconds until the last one is gone."""
    with site.watch(NAMESPACE, "vfolders", "Ready") as folders:
        _all(folders)
        started = time.monotonic()
        site.cluster.kubectl("delete", "vfolders", "--all", "-n", NAMESPACE, "--wait=false")
        seconds = folders.until_gone(_DEADLINE) - started
    say(f"{COUNT} VFolders gone after {seconds:.1f} s")
    return seconds
