"""etcd, the API server, the controller manager and, for nodes, the scheduler.

With no nodes it listens on loopback in the caller's own network, on free ports, so that a test can
talk to it from its own process; with nodes it lives in the cluster's private network.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from e2e.cluster import cleanup, commands, network, paths, state
from e2e.cluster.errors import ProcessDied
from e2e.cluster.pki import Authority
from e2e.cluster.processes import Supervisor
from e2e.cluster.state import Kind, State

_READY_TIMEOUT = 60.0
_ATTEMPTS = 3
# Each controller starts with requests of its own at a limited rate, so those that only concern
# pods would double the time to ready.
_NODELESS_CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-expander-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
)
#: One line per write, when it is done: who wrote to what. Contents are left out.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Metadata",
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
        },
        {"level": "None"},
    ],
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the control plane listens."""

    address: str
    api_port: int
    etcd_port: int
    etcd_peer_port: int

    @property
    def url(self) -> str:
        """The API server's address for clients."""
        return f"https://{self.address}:{self.api_port}"


#: In a private network all ports are free.
PRIVATE = Endpoint(network.CONTROL_ADDRESS, 6443, 2379, 2380)


def on_loopback() -> Endpoint:
    """Choose free ports on 127.0.0.1."""
    return Endpoint("127.0.0.1", *network.free_ports(3))


def start_servers(
    target: State, endpoint: Endpoint, namespaces: Sequence[str], *, audit: bool = False
) -> None:
    """Make certificates, start everything and wait until the API answers.

    With `audit` the API server writes an `audit_log`.

    Raises:
        RigError: something is missing, died or is not ready in time.
    """
    folder = target.folder
    authority = _certificates(folder, endpoint)
    supervisor = Supervisor(folder)
    private = endpoint is PRIVATE
    supervisor.spawn("etcd", _etcd(folder, endpoint), namespaces)
    apiserver = _apiserver(authority, endpoint, private)
    if audit:
        apiserver += _audit(target)
    supervisor.spawn("apiserver", apiserver, namespaces)
    _wait(target, namespaces, "apiserver", "get", "--raw", "/readyz")
    supervisor.spawn(
        "controller-manager", _controller_manager(folder, authority, private), namespaces
    )
    if private:
        supervisor.spawn("scheduler", _scheduler(folder), namespaces)


def wait_for_controllers(target: State, namespaces: Sequence[str]) -> None:
    """Wait until pods can be made, which the controllers' first work is needed for.

    Raises:
        RigError: something died or is not ready in time.
    """
    _wait(target, namespaces, "controller-manager", "get", "serviceaccount", "default")


def admin_kubeconfig(target: State) -> Path:
    """The cluster administrator's kubeconfig."""
    return target.folder / "admin.kubeconfig"


def audit_log(target: State) -> Path:
    """Where the API server notes all writes, as JSON lines, if it was started so."""
    return target.folder / "audit.log"


def _wait(target: State, namespaces: Sequence[str], server: str, *query: str) -> None:
    supervisor = Supervisor(target.folder)

    def ready() -> bool:
        for name in supervisor.names():
            supervisor.demand_alive(name)
        kubeconfig = f"--kubeconfig={admin_kubeconfig(target)}"
        return commands.succeeds("kubectl", kubeconfig, *query, namespaces=namespaces)

    commands.wait_until(ready, f"{server} (log: {supervisor.log(server)})", _READY_TIMEOUT)


def _certificates(folder: Path, endpoint: Endpoint) -> Authority:
    authority = Authority(folder / "pki")
    authority.create()
    addresses = {"127.0.0.1", endpoint.address, network.KUBERNETES_SERVICE}
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    authority.issue(
        "apiserver",
        "/CN=kube-apiserver",
        *(f"IP:{address}" for address in sorted(addresses)),
        *(f"DNS:{name}" for name in names),
    )
    clients = {
        "admin": "/O=system:masters/CN=admin",
        "controller-manager": "/CN=system:kube-controller-manager",
        "scheduler": "/CN=system:kube-scheduler",
        "proxy": "/CN=system:kube-proxy",
    }
    for name, subject in clients.items():
        authority.issue(name, subject)
        authority.write_kubeconfig(folder / f"{name}.kubeconfig", endpoint.url, name)
    return authority


def _etcd(folder: Path, endpoint: Endpoint) -> list[str]:
    client = f"http://127.0.0.1:{endpoint.etcd_port}"
    peer = f"http://127.0.0.1:{endpoint.etcd_peer_port}"
    return [
        "etcd",
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # The data is thrown away with the cluster.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _apiserver(authority: Authority, endpoint: Endpoint, private: bool) -> list[str]:
    words = [
        "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{endpoint.etcd_port}",
        f"--secure-port={endpoint.api_port}",
        f"--bind-address={'0.0.0.0' if private else endpoint.address}",
        f"--advertise-address={endpoint.address}",
        f"--service-cluster-ip-range={network.SERVICES}",
        f"--client-ca-file={authority.certificate}",
        f"--tls-cert-file={authority.cert('apiserver')}",
        f"--tls-private-key-file={authority.key('apiserver')}",
        f"--kubelet-client-certificate={authority.cert('admin')}",
        f"--kubelet-client-key={authority.key('admin')}",
        f"--kubelet-certificate-authority={authority.certificate}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={authority.token_key}",
        f"--service-account-signing-key-file={authority.key('service-accounts')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
    ]
    if not private:
        # A loopback address may not stand in the endpoints of the service `kubernetes`.
        words.append("--endpoint-reconciler-type=none")
    return words


def _audit(target: State) -> list[str]:
    policy = target.folder / "audit-policy.json"
    policy.write_text(json.dumps(_AUDIT_POLICY))
    # A line is in the file before the writer has its answer, and the file is never cut.
    return [
        f"--audit-policy-file={policy}",
        f"--audit-log-path={audit_log(target)}",
        "--audit-log-mode=blocking",
        "--audit-log-maxsize=1024",
    ]


def _controller_manager(folder: Path, authority: Authority, private: bool) -> list[str]:
    """Client rates and sync periods stay at their defaults: numbers are measured against them."""
    words = [
        "kube-controller-manager",
        f"--kubeconfig={folder / 'controller-manager.kubeconfig'}",
        f"--root-ca-file={authority.certificate}",
        f"--service-account-private-key-file={authority.key('service-accounts')}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--secure-port=0",
    ]
    if not private:
        words.append(f"--controllers={','.join(_NODELESS_CONTROLLERS)}")
    return words


def _scheduler(folder: Path) -> list[str]:
    return [
        "kube-scheduler",
        f"--kubeconfig={folder / 'scheduler.kubeconfig'}",
        "--leader-elect=false",
        "--secure-port=0",
    ]


class ControlPlane:
    """A Kubernetes API on loopback, with controllers but without nodes; ready in about 5 seconds.

        with ControlPlane() as control_plane:
            load_kube_config(config_file=control_plane.kubeconfig)

    Authorization is by RBAC and the kubeconfig is the administrator's. What a killed test session
    leaves behind is removed by the next one that starts.
    """

    def __init__(self, name: str | None = None, *, keep: bool = False) -> None:
        """Choose a name (random by default); `keep` lets it outlive this process."""
        owner = None if keep else state.myself()
        self.state = State(Kind.CLUSTER, name or state.random_name(), 0, owner)
        self.supervisor = Supervisor(self.state.folder)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return admin_kubeconfig(self.state)

    def start(self) -> None:
        """Start it and wait until it is ready; on failure nothing is left.

        Raises:
            RigError: it did not come up.
        """
        cleanup.remove_abandoned()
        for attempt in range(1, _ATTEMPTS + 1):
            self.state.create()
            try:
                with self.state.locked(), cleanup.on_failure(self.state):
                    start_servers(self.state, on_loopback(), namespaces=())
                    wait_for_controllers(self.state, namespaces=())
                return
            except ProcessDied as error:
                # Somebody may have taken a port between our look at it and the server's start.
                if "address already in use" not in str(error) or attempt == _ATTEMPTS:
                    raise

    def stop(self) -> None:
        """Take it down with everything it left; nothing if it is down."""
        cleanup.take_down(self.state)

    def environment(self) -> dict[str, str]:
        """The variables that a client needs."""
        return {
            "KUBECONFIG": str(self.kubeconfig),
            # Else what kubectl has seen of a cluster outlives it, where there is no HOME even here.
            "KUBECACHEDIR": str(self.kubeconfig.parent / "kubectl-cache"),
            "PATH": paths.program_path(),
        }

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl as the administrator and return what it prints.

        Raises:
            CommandFailed: kubectl failed; the message holds what it said.
        """
        env = self.environment()
        return commands.run("kubectl", *words, env=env, stdin=stdin, timeout=timeout)

    def __enter__(self) -> "ControlPlane":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
