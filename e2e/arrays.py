"""A simulated array in the cluster: its file system is on CephFS, so its limits are real ones."""

import json
import shlex
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import yaml

from e2e.cluster import RigError, images, paths
from e2e.cluster.progress import say
from e2e.world import BACKEND, RELEASE, SYSTEM, Body, World

NAMESPACE: Final = "arrays"
PORT, CONTROL_PORT = 8443, 9000

SHOWN: Final = {
    "exascaler": "vfolder",
    "flashblade": "",
    "gpfs": "vfolder",
    "hammerspace": "vfolder",
    "netapp": "",
    "onefs": "data/vfolder",
    "vast": "vfolder",
    "weka": "vfolder",
}
"""Kinds that can run there, and what part of its file system an array's page has VFolder see."""

_ASK: Final = """
import json, sys, urllib.request
method, path, body = sys.argv[1], sys.argv[2], sys.argv[3]
request = urllib.request.Request("http://127.0.0.1:{port}" + path, body.encode(), method=method)
print(urllib.request.urlopen(request, timeout=20).read().decode())
"""


class SimulatedArray:
    """A pod that serves one array, for as long as it is entered."""

    def __init__(self, site: World, kind: str) -> None:
        self.site, self.kind = site, kind
        self._pod = f"sim-{kind}"
        self._place = Path("arrays") / kind

    def __enter__(self) -> "SimulatedArray":
        image = images.build(("sim",))["sim"]
        self.site.cluster.load(image.archive)
        shown = self.site.ceph.operator_mount / self._place / SHOWN[self.kind]
        shown.mkdir(parents=True, exist_ok=True)
        self.site.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            self._manifest(image.name),
        )
        say(f"waiting for the simulated {self.kind}")
        self.site.until(self._serves, f"the simulated {self.kind} serves", 90)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self.site.cluster.kubectl("logs", "-n", NAMESPACE, self._pod))
        self.site.cluster.kubectl(
            "delete", "pod", "-n", NAMESPACE, self._pod, "--grace-period=1", "--wait=true"
        )

    def _manifest(self, image: str) -> Body:
        ceph = self.site.ceph.operator_mount
        words = [
            *(self.kind, "--data", f"/ceph/{ceph.name}/{self._place}"),
            *("--host", "0.0.0.0", "--port", str(PORT), "--name", "$(POD_IP)"),
            *("--ca-file", "/tmp/ca.pem", "--control-port", str(CONTROL_PORT)),
        ]
        address = {"fieldRef": {"fieldPath": "status.podIP"}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self._pod, "namespace": NAMESPACE},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "sim",
                        "image": image,
                        "imagePullPolicy": "Never",
                        "args": words,
                        "env": [{"name": "POD_IP", "valueFrom": address}],
                        "volumeMounts": [
                            {
                                "name": "ceph",
                                "mountPath": "/ceph",
                                "mountPropagation": "HostToContainer",
                            }
                        ],
                    }
                ],
                "volumes": [
                    {"name": "ceph", "hostPath": {"path": str(ceph.parent), "type": "Directory"}}
                ],
            },
        }

    def _serves(self) -> bool:
        if self.site.phase(NAMESPACE, self._pod) != "Running":
            return False
        return "endpoint: " in self.site.cluster.kubectl("logs", "-n", NAMESPACE, self._pod)

    @property
    def endpoint(self) -> str:
        """What a StorageBackend says in `endpoint`."""
        log = self.site.cluster.kubectl("logs", "-n", NAMESPACE, self._pod)
        (line,) = [line for line in log.splitlines() if line.startswith("endpoint: ")]
        base = line.partition(f":{PORT}")[2]
        address = self.site.get("-n", NAMESPACE, "pod", self._pod)["status"]["podIP"]
        return f"https://{address}:{PORT}{base}"

    @property
    def authority(self) -> str:
        """The PEM of who certified it."""
        return self.site.exec(NAMESPACE, self._pod, "cat /tmp/ca.pem")

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """Do something at the array; see `vfolder_backends.testing.arrays.control`."""
        program = _ASK.format(port=CONTROL_PORT)
        words = ["python3", "-c", program, method, path, json.dumps(body)]
        said = self.site.exec(NAMESPACE, self._pod, shlex.join(words))
        return json.loads(said) if said.strip() else None

    def limit(self, scope: str) -> int | None:
        """The bytes that the array gives a scope, by the digits of its id; None if it has none."""
        found = [x for place, x in self.ask("GET", "/limits").items() if place.endswith(scope)]
        return found[0]["bytes"] if found else None

    def tamper(self, scope: str, size: int) -> None:
        """Change them behind everybody's back."""
        self.ask("PUT", "/limits", name=scope, bytes=size)

    def report(self) -> tuple[list[str], list[str]]:
        """The words that no document has, and the secrets that were used."""
        told = self.ask("GET", "/report")
        return told["violations"], told["secrets"]

    def manifests(self) -> list[Body]:
        """Secret and StorageBackend of the array's page; only where things are is put in."""
        *secrets, backend = page(self.kind)
        spec = backend["spec"]
        for other in ("mount", "hostPath", "allowedNamespaces"):
            spec.pop(other, None)
        ceph, below = self.site.ceph, self._place / SHOWN[self.kind]
        spec |= {
            **self._reached(),
            "hostPath": str(ceph.node_mount / below),
            "operatorPath": f"/backends/{BACKEND}/{ceph.operator_mount.name}/{below}",
            "allowedNamespaces": {},
            "trash": {"retention": "1s"},
        }
        spec["parameters"] |= self._parameters()
        return [*secrets, backend]

    def _reached(self) -> Body:
        return {"endpoint": self.endpoint, "tls": {"caBundle": self.authority}}

    def _parameters(self) -> Body:
        # There is no automounter here.
        return {"view": "Directories"} if self.kind == "flashblade" else {}


class SimulatedLustre(SimulatedArray):
    """A pod that answers a program `lfs`, which lies where the operator sees it.

    It looks at the caller's open files, so it runs beside the operator that leads.
    """

    def __init__(self, site: World) -> None:
        super().__init__(site, "exascaler")
        self._top = f"/backends/{BACKEND}/{site.ceph.operator_mount.name}/{self._place}"
        self._lfs = f"/backends/{BACKEND}/lfs/lfs"

    def _manifest(self, image: str) -> Body:
        body = super()._manifest(image)
        lease = self.site.get("-n", SYSTEM, "lease", f"{RELEASE}-operator")
        leader = self.site.get("-n", SYSTEM, "pod", lease["spec"]["holderIdentity"])
        spec, container = body["spec"], body["spec"]["containers"][0]
        spec |= {"hostPID": True, "nodeName": leader["spec"]["nodeName"]}
        container["securityContext"] = {"privileged": True}
        container["args"] = ["lfs", "--data", self._top, "--bin", str(Path(self._lfs).parent)]
        container["volumeMounts"][0]["mountPath"] = f"/backends/{BACKEND}"
        return body

    def lfs(self, *words: str) -> str:
        """Run the program there."""
        return self.site.exec(NAMESPACE, self._pod, shlex.join([self._lfs, *words])).strip()

    def limit(self, scope: str) -> int | None:
        """See `SimulatedArray`."""
        try:
            words = ("-q", "-p", self._project(scope), "--delimiter", ",", "--bhardlimit")
        except RigError:
            return None  # its directory is gone
        return int(self.lfs("quota", *words, self._top)) * 1024

    def tamper(self, scope: str, size: int) -> None:
        """See `SimulatedArray`."""
        limits = ("-b", "0", "-B", str(size // 1024), "-i", "0", "-I", "0")
        self.lfs("setquota", "-p", self._project(scope), *limits, self._top)

    def _project(self, scope: str) -> str:
        place = f"{self._top}/{SHOWN[self.kind]}/{scope}"
        return self.lfs("project", "-d", place).split()[0]

    def report(self) -> tuple[list[str], list[str]]:
        """None of either: what it does not know it refuses, and it asks for no password."""
        return [], []

    def _serves(self) -> bool:
        if self.site.phase(NAMESPACE, self._pod) != "Running":
            return False
        return "enforced for real" in self.site.cluster.kubectl("logs", "-n", NAMESPACE, self._pod)

    def _reached(self) -> Body:
        return {}

    def _parameters(self) -> Body:
        return {"lfsPath": self._lfs, "mountPoint": self._top}


def simulated(site: World, kind: str) -> SimulatedArray:
    """The array of a kind."""
    return SimulatedLustre(site) if kind == "exascaler" else SimulatedArray(site, kind)


def page(kind: str) -> list[Body]:
    """The Secret, where there is one, and the StorageBackend on an array's page."""
    text = (paths.REPOSITORY / f"docs/{kind}.md").read_text()
    block = text.partition("```yaml\n")[2].partition("```")[0]
    *secrets, backend = yaml.safe_load_all(block)
    assert all(secret["metadata"]["namespace"] == SYSTEM for secret in secrets)
    return [*secrets, backend]
