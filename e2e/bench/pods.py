"""100 pods of one folder on one node, beside 100 pods with an emptyDir: kubelet's own floor."""

import time

from e2e.bench.report import Figure, Section
from e2e.bench.site import Site
from e2e.cluster.node import PAUSE_IMAGE
from e2e.cluster.progress import say
from e2e.world import Body, folder, scope

NAMESPACE = "bench-pods"
COUNT = 100  # of kubelet's default of 110; the node also runs the operator and the plugin
_DEADLINE = 300.0

_FOLDER: Body = {"persistentVolumeClaim": {"claimName": "data"}}
_EMPTY: Body = {"emptyDir": {}}


def measure(site: Site) -> Section:
    """Start 100 pods of each kind, the one after the other is gone."""
    site.team(NAMESPACE)
    site.apply(scope(NAMESPACE, "research", "1Gi"), folder(NAMESPACE, "data", "research"))
    site.until_ready(NAMESPACE, "vfolder", "data")
    node = site.cluster.nodes[-1].name
    for volume in (_EMPTY, _FOLDER):  # what only the first pod of a node pays for
        _round(site, node, volume, 1)
    empty_up, empty_down = _round(site, node, _EMPTY, COUNT)
    folder_up, folder_down = _round(site, node, _FOLDER, COUNT)
    site.drop(NAMESPACE)
    return Section(
        "pods",
        f"{COUNT} pods on one node",
        "Pods of the pause program, put on the node by name, from kubectl create until a watch has "
        "shown the last one Running; then all are deleted, until the last one is gone.",
        [
            Figure("all Running", folder_up, "s", empty_up),
            Figure("all gone", folder_down, "s", empty_down),
        ],
        "the same pods with an emptyDir in place of the folder.",
    )


def _round(site: Site, node: str, volume: Body, count: int) -> tuple[float, float]:
    """Seconds until all run, and until all are gone."""
    bodies = [_pod(f"p{number:03}", node, volume) for number in range(count)]
    with site.watch(NAMESPACE, "pods", "Running") as pods:
        started = time.monotonic()
        site.create(*bodies)
        up = pods.until_reached(count, _DEADLINE) - started
        say(f"{count} pods with {next(iter(volume))} run after {up:.1f} s")
        started = time.monotonic()
        site.cluster.kubectl("delete", "pods", "--all", "-n", NAMESPACE, "--wait=false")
        down = pods.until_gone(_DEADLINE) - started
    return up, down


def _pod(name: str, node: str, volume: Body) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "main",
                    "image": PAUSE_IMAGE,
                    "imagePullPolicy": "Never",
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", **volume}],
        },
    }
