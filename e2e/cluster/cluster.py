"""A whole cluster: a control plane and nodes in network namespaces of their own."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from e2e.cluster import (
    base_images,
    cleanup,
    commands,
    control_plane,
    network,
    packages,
    paths,
    state,
)
from e2e.cluster.errors import NotUp, RigError
from e2e.cluster.node import Node, demand_visible
from e2e.cluster.processes import Supervisor
from e2e.cluster.progress import say
from e2e.cluster.state import Kind, State

_READY_TIMEOUT = 90.0
_MAX_NODES = 200  # what the address ranges hold


class Cluster:
    """A Kubernetes with nodes; nothing of it listens on the machine's own addresses.

        with Cluster(nodes=2) as cluster:
            cluster.load(archive)
            cluster.kubectl("apply", "-f", "-", stdin=manifest)

    Clients reach the API only from inside its network: through `kubectl`, `run` or `command`.
    """

    def __init__(
        self, name: str | None = None, *, nodes: int = 2, keep: bool = False, audit: bool = False
    ) -> None:
        """Choose what to start.

        Args:
            name: random by default.
            nodes: at least one; without nodes `ControlPlane` is simpler.
            keep: let it outlive this process.
            audit: have all writes to the API noted in `audit_log`.
        """
        if not 1 <= nodes <= _MAX_NODES:
            raise RigError(f"nodes: {nodes} is not between 1 and {_MAX_NODES}")
        owner = None if keep else state.myself()
        self.state = State(Kind.CLUSTER, name or state.random_name(), nodes, owner)
        self.supervisor = Supervisor(self.state.folder)
        self._audit = audit

    @classmethod
    def attach(cls, name: str) -> "Cluster":
        """The running cluster of that name.

        Raises:
            NotUp: there is none.
        """
        found = state.load(Kind.CLUSTER, name)
        if not found.nodes:
            raise NotUp(f"cluster {name!r} has no nodes")
        return cls(name, nodes=found.nodes, keep=True)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; its address is that inside the cluster's network."""
        return control_plane.admin_kubeconfig(self.state)

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: one JSON line per write."""
        return control_plane.audit_log(self.state)

    @property
    def namespaces(self) -> list[str]:
        """Nsenter's options for the network that the API is in."""
        return [network.enter(network.control_namespace(self.state.tag))]

    @property
    def nodes(self) -> list[Node]:
        """All nodes."""
        return [Node(self.state, number) for number in range(1, self.state.nodes + 1)]

    def node(self, name: str) -> Node:
        """A node by its name or number.

        Raises:
            NotUp: there is no such node.
        """
        for node in self.nodes:
            if name in (node.name, str(node.number)):
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise NotUp(f"no node {name!r}; nodes are {known}")

    def start(self) -> None:
        """Start everything and wait until all nodes are Ready; on failure nothing is left.

        Raises:
            RigError: it did not come up.
        """
        packages.demand_root("a cluster with nodes")
        demand_visible(paths.cache(), paths.state_area())
        cleanup.remove_abandoned()
        pause = base_images.pause()
        self.state.create()
        with self.state.locked(), cleanup.on_failure(self.state):
            network.create_control(self.state.tag)
            control_plane.start_servers(
                self.state, control_plane.PRIVATE, self.namespaces, audit=self._audit
            )
            say("the API is ready")
            for node in self.nodes:
                node.start()
                node.load(pause)
            control_plane.wait_for_controllers(self.state, self.namespaces)
            commands.wait_until(self._ready, "all nodes are Ready", _READY_TIMEOUT)
            say(f"{self.state.nodes} node(s) are Ready")

    def _ready(self) -> bool:
        for name in self.supervisor.names():
            self.supervisor.demand_alive(name)
        wait = ("wait", "--for=condition=Ready", "--timeout=2s")
        words = (f"--kubeconfig={self.kubeconfig}", *wait, *(f"node/{n.name}" for n in self.nodes))
        return commands.succeeds("kubectl", *words, namespaces=self.namespaces)

    def stop(self) -> None:
        """Take it down with everything it left; nothing if it is down."""
        cleanup.take_down(self.state)

    def load(self, *archives: Path) -> None:
        """Import image archives into every node.

        Raises:
            CommandFailed: a node did not take one.
        """
        with ThreadPoolExecutor(max_workers=self.state.nodes) as pool:
            list(pool.map(lambda node: node.load(*archives), self.nodes))

    def environment(self) -> dict[str, str]:
        """The variables that a client needs inside the cluster's network."""
        return {
            "KUBECONFIG": str(self.kubeconfig),
            # Else what kubectl has seen of a cluster outlives it, where there is no HOME even here.
            "KUBECACHEDIR": str(self.kubeconfig.parent / "kubectl-cache"),
            "PATH": paths.program_path(),
        }

    def command(self, words: Sequence[str]) -> list[str]:
        """The command line that runs `words` inside the cluster's network."""
        return commands.entering(self.namespaces, words)

    def run(self, *words: str | Path, stdin: str | None = None, timeout: float = 120) -> str:
        """Run a program inside the cluster's network, with `environment`, and return its output.

        Raises:
            CommandFailed: it failed; the message holds what it said.
        """
        return commands.run(
            *words, namespaces=self.namespaces, env=self.environment(), stdin=stdin, timeout=timeout
        )

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl as the administrator and return what it prints.

        Raises:
            CommandFailed: kubectl failed; the message holds what it said.
        """
        return self.run("kubectl", *words, stdin=stdin, timeout=timeout)

    def process(self, where: str, kind: str) -> str:
        """The supervisor's name of a process: `control` and `apiserver`, or `node1` and `kubelet`.

        Raises:
            NotUp: there is no such process.
        """
        name = kind if where == "control" else self.node(where).process(kind)
        return self.supervisor.record(name).name

    def __enter__(self) -> "Cluster":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
