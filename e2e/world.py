"""A whole site: CephFS, a two-node Kubernetes beside it, and VFolder installed by its chart.

What the demo, the end-to-end tests and the measurements share. Only the standard library.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from e2e.cluster import (
    Ceph,
    Cluster,
    RigError,
    base_images,
    commands,
    golang,
    images,
    packages,
    paths,
)
from e2e.cluster.progress import say

Body = dict[str, Any]

RELEASE = "vf"
SYSTEM = "vfolder-system"
BACKEND = "scratch"


class World:
    """A site that is there for as long as it is entered.

    Args:
        quick: CephFS tells sizes at once, which makes limits crisp; else with its own delays.
        values: chart values on top of what the site needs.
    """

    def __init__(self, *, nodes: int = 2, quick: bool = True, values: Body | None = None) -> None:
        self.ceph = Ceph(quick=quick)
        self.cluster = Cluster(nodes=nodes)
        self.values = values or {}
        self.images: dict[str, images.Image] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "World":
        try:
            self.start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def start(self) -> None:
        """Build what is missing and start everything but VFolder itself."""
        packages.install(packages.EVERYTHING)
        golang.build()
        self.images = images.build()
        # Before the cluster: nodes see only mounts below folders that were there first.
        self._stack.enter_context(self.ceph)
        self._stack.enter_context(self.cluster)
        self._stack.callback(self._let_pods_go)
        say("loading images")
        archives = [base_images.base(), *(image.archive for image in self.images.values())]
        self.cluster.load(*archives)

    def chart_values(self) -> Body:
        """What `helm install` is given."""

        def image(target: str) -> Body:
            built = self.images[target]
            return {"repository": built.repository, "tag": built.tag, "pullPolicy": "Never"}

        base: Body = {
            "operator": {"image": image("operator"), "refreshSeconds": 2},
            "node": {
                "image": image("csi"),
                "hostRoots": [str(self.ceph.node_mount.parent)],
            },
            "backends": {
                BACKEND: {
                    # The directory above the mount: a FUSE mount that comes back is then seen.
                    "operatorVolume": {
                        "hostPath": {
                            "path": str(self.ceph.operator_mount.parent),
                            "type": "Directory",
                        }
                    },
                    "spec": {
                        "type": "cephfs",
                        "hostPath": str(self.ceph.node_mount),
                        "operatorPath": f"/backends/{BACKEND}/{self.ceph.operator_mount.name}",
                        "allowedNamespaces": {"matchLabels": {"storage": BACKEND}},
                    },
                }
            },
        }
        return merged(base, self.values)

    def install(self, values: Body | None = None) -> str:
        """Install the chart or upgrade it; returns what helm says."""
        return self.cluster.run(
            "helm", "upgrade", "--install", RELEASE, paths.REPOSITORY / "charts/vfolder",
            "--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "3m",
            "--values", "-",
            stdin=json.dumps(merged(self.chart_values(), values or {})),
            timeout=240,
        )  # fmt: skip

    def team(self, name: str) -> None:
        """Make a namespace that may have scopes on the storage."""
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"storage": BACKEND}},
            }
        )

    def apply(self, *bodies: Body) -> None:
        """Apply objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(bodies)}
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def get(self, *words: str) -> Body:
        """Read objects, by the words of `kubectl get`."""
        found: Body = json.loads(self.cluster.kubectl("get", *words, "-o", "json"))
        return found

    def find(self, *words: str) -> Body | None:
        """Read one object that may not be there."""
        text = self.cluster.kubectl("get", *words, "-o", "json", "--ignore-not-found")
        found: Body | None = json.loads(text) if text.strip() else None
        return found

    def until(self, check: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Poll until it holds.

        Raises:
            RigError: not within the deadline.
        """
        end = time.monotonic() + seconds
        while not check():
            if time.monotonic() > end:
                raise RigError(f"{what}: not within {seconds:g} s")
            time.sleep(0.2)

    def until_ready(self, namespace: str, kind: str, name: str, seconds: float = 60) -> Body:
        """Wait for an object's Ready condition at its present generation; returns the object."""
        body: Body = {}

        def ready() -> bool:
            nonlocal body
            body = self.find("-n", namespace, kind, name) or {}
            status = body.get("status") or {}
            current = status.get("observedGeneration") == body.get("metadata", {}).get("generation")
            return current and condition(body, "Ready").get("status") == "True"

        try:
            self.until(ready, f"{kind} {name} Ready", seconds)
        except RigError as error:
            raise RigError(f"{error}; its status: {json.dumps(body.get('status'))}") from None
        return body

    def until_reason(
        self, namespace: str, kind: str, name: str, reason: str, type_: str = "Ready"
    ) -> Body:
        """Wait for a condition's reason; returns the object."""
        body: Body = {}

        def there() -> bool:
            nonlocal body
            body = self.find("-n", namespace, kind, name) or {}
            return condition(body, type_).get("reason") == reason

        try:
            self.until(there, f"{kind} {name} {reason}", 60)
        except RigError as error:
            raise RigError(f"{error}; its status: {json.dumps(body.get('status'))}") from None
        return body

    def run_pod(
        self, namespace: str, name: str, claim: str, script: str, *, wait: bool = True, **more: Any
    ) -> str:
        """Run a shell script in a pod with the claim at /data; returns its log, once it ended."""
        self.apply(pod(namespace, name, claim, script, **more))
        if not wait:
            self.until(
                lambda: self.phase(namespace, name) in ("Running", "Succeeded"),
                f"pod {name} runs",
            )
            return ""
        self.until(
            lambda: self.phase(namespace, name) in ("Succeeded", "Failed"), f"pod {name} ends", 120
        )
        return self.cluster.kubectl("logs", "-n", namespace, name)

    def phase(self, namespace: str, name: str) -> str:
        """A pod's phase."""
        return str(self.get("-n", namespace, "pod", name)["status"].get("phase"))

    def exec(self, namespace: str, name: str, script: str) -> str:
        """Run a shell script in a running pod."""
        return self.cluster.kubectl("exec", "-n", namespace, name, "--", "sh", "-c", script)

    def mounts_of(self, node: str) -> list[str]:
        """The mount table that a node's kubelet sees."""
        namespaces = self.cluster.node(node).namespaces
        return commands.run("cat", "/proc/self/mountinfo", namespaces=namespaces).splitlines()

    def _let_pods_go(self) -> None:
        """End pods before nodes: what holds a mount would outlive them."""
        try:
            self.cluster.kubectl(
                "delete", "pods", "--all", "--all-namespaces", "--grace-period=1", "--wait=false"
            )
        except RigError as error:
            say(f"pods not deleted: {error}")


def scope(namespace: str, name: str, limit: str, **spec: Any) -> Body:
    """A QuotaScope on the site's storage."""
    files = spec.pop("files", None)
    limits = {"bytes": limit, **({"files": files} if files else {})}
    return {
        "apiVersion": "vfolder.dev/v1alpha1",
        "kind": "QuotaScope",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backend": BACKEND, "limits": limits, **spec},
    }


def folder(namespace: str, name: str, quota_scope: str, **spec: Any) -> Body:
    """A VFolder."""
    return {
        "apiVersion": "vfolder.dev/v1alpha1",
        "kind": "VFolder",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"quotaScope": quota_scope, **spec},
    }


def pod(namespace: str, name: str, claim: str, script: str, **more: Any) -> Body:
    """A pod with a claim at /data; `mount` and `spec` add to the volume mount and the pod."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "main",
                    "image": base_images.TEST_IMAGE,
                    "imagePullPolicy": "Never",
                    "command": ["sh", "-c", script],
                    "volumeMounts": [
                        {"name": "data", "mountPath": "/data", **more.get("mount", {})}
                    ],
                }
            ],
            "volumes": [
                {
                    "name": "data",
                    "persistentVolumeClaim": {"claimName": claim, **more.get("claim_source", {})},
                }
            ],
            **more.get("spec", {}),
        },
    }


def condition(body: Body, type_: str) -> Body:
    """A condition of an object, empty if it is not there."""
    found: Iterator[Body] = (
        c for c in (body.get("status") or {}).get("conditions") or [] if c["type"] == type_
    )
    return next(found, {})


def merged(base: Body, over: Body) -> Body:
    """Values on top of values, as helm merges them."""
    result = dict(base)
    for key, value in over.items():
        here = result.get(key)
        nested = isinstance(value, dict) and isinstance(here, dict)
        result[key] = merged(here, value) if nested and isinstance(here, dict) else value
    return result
