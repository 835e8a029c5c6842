"""The site that measurements share: a `World` with VFolder's defaults, timed as it starts."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.bench import procs
from e2e.bench.audit import AuditLog
from e2e.bench.watch import Watch
from e2e.cluster import Ceph, Cluster, golang, images, packages
from e2e.cluster.progress import say
from e2e.world import BACKEND, RELEASE, SYSTEM, Body, World

_GONE_SECONDS = 180


class Times:
    """Seconds that the steps of a start took, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started


class _TimedCeph(Ceph):
    def __init__(self, times: Times) -> None:
        super().__init__(quick=True)
        self._times = times

    def start(self) -> None:
        with self._times.step("CephFS"):
            super().start()


class _TimedCluster(Cluster):
    def __init__(self, times: Times) -> None:
        super().__init__(nodes=2, audit=True)
        self._times = times

    def start(self) -> None:
        with self._times.step("two nodes Ready"):
            super().start()

    def load(self, *archives: Path) -> None:
        with self._times.step("images loaded"):
            super().load(*archives)


class Site(World):
    """CephFS, two nodes, and VFolder as the chart installs it, with the operator's defaults."""

    def __init__(self) -> None:
        super().__init__(values={"operator": {"refreshSeconds": 60}})
        self.times = Times()
        self.ceph = _TimedCeph(self.times)
        self.cluster: Cluster = _TimedCluster(self.times)

    def start(self) -> None:
        """Start everything, VFolder included."""
        with self.times.step("packages, programs, images"):
            packages.install(packages.EVERYTHING)
            golang.build()
            images.build()
        super().start()
        with self.times.step("helm install"):
            self.install()
        with self.times.step("StorageBackend Ready"):
            self.until_ready("default", "storagebackend", BACKEND)
        say("the site is up")

    @property
    def audit(self) -> AuditLog:
        """All writes to the API."""
        return AuditLog(self.cluster.audit_log)

    def watch(self, namespace: str, plural: str, phase: str) -> Watch:
        """Watch the VFolders, claims or pods of a namespace."""
        group = "apis/vfolder.dev/v1alpha1" if plural == "vfolders" else "api/v1"
        return Watch(
            self.cluster.command(["kubectl"]),
            self.cluster.environment(),
            f"/{group}/namespaces/{namespace}/{plural}",
            phase,
        )

    def create(self, *bodies: Body, timeout: float = 120) -> None:
        """Create new objects: half the requests of `apply`."""
        manifest = {"apiVersion": "v1", "kind": "List", "items": list(bodies)}
        self.cluster.run(
            "kubectl", "create", "-f", "-", stdin=json.dumps(manifest), timeout=timeout
        )

    def drop(self, namespace: str) -> None:
        """Delete a namespace, and wait: what goes on in the background would disturb others."""
        words = ("delete", "namespace", namespace, f"--timeout={_GONE_SECONDS}s")
        self.cluster.kubectl(*words, timeout=_GONE_SECONDS + 10)

    def operator(self) -> int:
        """The process of the operator that leads."""
        lease = self.get("-n", SYSTEM, "lease", f"{RELEASE}-operator")
        return self._process(self.get("-n", SYSTEM, "pod", lease["spec"]["holderIdentity"]))

    def node_plugin(self, node: str) -> int:
        """The process of the node plugin on a node."""
        component = "app.kubernetes.io/component=node"
        where = f"--field-selector=spec.nodeName={node}"
        return self._process(self.get("-n", SYSTEM, "pods", "-l", component, where)["items"][0])

    def _process(self, body: Body) -> int:
        container = body["status"]["containerStatuses"][0]["containerID"]
        listing = self.cluster.node(body["spec"]["nodeName"]).ctr("tasks", "ls")
        return procs.container_pid(listing, container.removeprefix("containerd://"))
