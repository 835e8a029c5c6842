"""A simulated array in the cluster: its file system is on CephFS, so its limits are real ones."""

import json
import shlex
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import yaml

from e2e.cluster import images, paths
from e2e.cluster.progress import say
from e2e.world import BACKEND, SYSTEM, Body, World

NAMESPACE: Final = "arrays"
PORT, CONTROL_PORT = 8443, 9000

SHOWN: Final = {
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

    def limit(self, scope: str) -> Body:
        """The limits that the array has for a scope, by the digits of its id."""
        found = [x for place, x in self.ask("GET", "/limits").items() if place.endswith(scope)]
        return dict(found[0]) if found else {}

    def manifests(self) -> tuple[Body, Body]:
        """Secret and StorageBackend of the array's page; only where things are is put in."""
        secret, backend = page(self.kind)
        spec = backend["spec"]
        for other in ("mount", "hostPath", "allowedNamespaces"):
            spec.pop(other, None)
        ceph, below = self.site.ceph, self._place / SHOWN[self.kind]
        spec |= {
            "endpoint": self.endpoint,
            "tls": {"caBundle": self.authority},
            "hostPath": str(ceph.node_mount / below),
            "operatorPath": f"/backends/{BACKEND}/{ceph.operator_mount.name}/{below}",
            "allowedNamespaces": {},
            "trash": {"retention": "1s"},
        }
        if self.kind == "flashblade":
            spec["parameters"]["view"] = "Directories"  # no automounter here
        return secret, backend


def page(kind: str) -> tuple[Body, Body]:
    """The Secret and the StorageBackend on an array's page."""
    text = (paths.REPOSITORY / f"docs/{kind}.md").read_text()
    block = text.partition("```yaml\n")[2].partition("```")[0]
    secret, backend = yaml.safe_load_all(block)
    assert secret["metadata"]["namespace"] == SYSTEM
    return secret, backend
