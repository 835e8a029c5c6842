"""One node: a containerd, a kubelet and a kube-proxy in namespaces of their own.

Besides its network a node has its own /run, /var/lib and /var/log, so that all nodes have the usual
paths (/var/lib/kubelet above all) and nothing is left on the machine. All else, and so what is
mounted below the state area, is the machine's.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import cgroups, commands, control_plane, mounts, network, paths
from e2e.cluster.errors import RigError
from e2e.cluster.pki import Authority
from e2e.cluster.processes import Supervisor
from e2e.cluster.state import State

PAUSE_IMAGE = "localhost/pause:1"
_CONTAINERD_TIMEOUT = 60.0
_IMPORT_TIMEOUT = 300.0
_MOUNTS = """
mount --bind "$1/var/lib" /var/lib
mount --bind "$1/var/log" /var/log
mount -t tmpfs -o mode=755 tmpfs /run
# Containers can only hand their mounts to the node through a shared mount.
mount --bind /var/lib/kubelet /var/lib/kubelet
mount --make-rshared /var/lib/kubelet
"""
#: What a node hides of the machine; the rig's own folders must lie elsewhere.
_HIDDEN = ("/run", "/var/lib", "/var/log", "/var/run")
#: What `stop` and its likes may name; the control plane's processes carry their name alone.
PROCESSES = ("containerd", "kubelet", "proxy")


def demand_visible(*folders: Path) -> None:
    """Refuse folders of the rig that nodes would not see.

    Raises:
        RigError: one lies where nodes have folders of their own.
    """
    for hidden in _HIDDEN:
        for folder in folders:
            if folder.is_relative_to(hidden):
                raise RigError(
                    f"nodes have a {hidden} of their own and would not see {folder}; "
                    "move it by VFOLDER_STATE or VFOLDER_CACHE"
                )


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a cluster, known by its number from 1 on."""

    state: State
    number: int

    @property
    def name(self) -> str:
        """Its name in Kubernetes."""
        return f"node{self.number}"

    @property
    def folder(self) -> Path:
        """Where its state is."""
        return self.state.folder / self.name

    @property
    def namespaces(self) -> list[str]:
        """Nsenter's options for its network and its mounts."""
        netns = network.node_namespace(self.state.tag, self.number)
        return [network.enter(netns), mounts.enter(self._mount_namespace)]

    @property
    def _mount_namespace(self) -> Path:
        return self.folder / "namespaces" / "mnt"

    def seen_from_outside(self, path: str) -> Path:
        """Where a file below the node's own /var/lib or /var/log lies on the machine."""
        return self.folder / path.lstrip("/")

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return self.folder / "c.sock"

    def process(self, kind: str) -> str:
        """The supervisor's name for one of this node's `PROCESSES`."""
        return f"{self.name}-{kind}"

    def start(self) -> None:
        """Start all processes; the node becomes Ready some seconds later.

        Raises:
            RigError: containerd did not come up.
        """
        for part in ("cni", "var/lib/kubelet", "var/log"):
            (self.folder / part).mkdir(parents=True)
        network.create_node(self.state.tag, self.number)
        mounts.create_namespace(self._mount_namespace, _MOUNTS, self.folder)
        authority = self._certificates()
        self._write_configuration(authority, cgroups.create(self.state.tag, self.name))
        self._start_containerd()
        self._start_kubelet()
        self._start_proxy()

    def load(self, *archives: Path) -> None:
        """Import the images of archives.

        Raises:
            CommandFailed: containerd did not take one.
        """
        for archive in archives:
            self.ctr("images", "import", str(archive))

    def ctr(self, *words: str) -> str:
        """Run containerd's own client in the namespace of Kubernetes' containers."""
        where = (f"--address={self.socket}", "--namespace=k8s.io")
        return commands.run("ctr", *where, *words, timeout=_IMPORT_TIMEOUT)

    def _certificates(self) -> Authority:
        authority = Authority(self.state.folder / "pki")
        addresses = ("IP:127.0.0.1", f"IP:{network.node_address(self.number)}")
        subject = f"/O=system:nodes/CN=system:node:{self.name}"
        authority.issue(self.name, subject, *addresses, f"DNS:{self.name}")
        authority.write_kubeconfig(self.folder / "kubeconfig", control_plane.PRIVATE.url, self.name)
        return authority

    def _write_configuration(self, authority: Authority, cgroup: str) -> None:
        (self.folder / "containerd.toml").write_text(self._containerd_configuration())
        for name, content in {
            "cni/10-bridge.conflist": self._cni_configuration(),
            "kubelet.json": self._kubelet_configuration(authority, cgroup),
        }.items():
            (self.folder / name).write_text(json.dumps(content, indent=1))

    def _start_containerd(self) -> None:
        supervisor = Supervisor(self.state.folder)
        name = self.process("containerd")
        words = ["containerd", "--config", str(self.folder / "containerd.toml")]
        supervisor.spawn(name, words, self.namespaces)

        def answers() -> bool:
            supervisor.demand_alive(name)
            return commands.succeeds("ctr", f"--address={self.socket}", "version")

        commands.wait_until(answers, f"{name} (log: {supervisor.log(name)})", _CONTAINERD_TIMEOUT)

    def _start_kubelet(self) -> None:
        words = [
            "kubelet",
            f"--config={self.folder / 'kubelet.json'}",
            f"--kubeconfig={self.folder / 'kubeconfig'}",
            f"--hostname-override={self.name}",
            f"--node-ip={network.node_address(self.number)}",
            "--v=2",
        ]
        Supervisor(self.state.folder).spawn(self.process("kubelet"), words, self.namespaces)

    def _start_proxy(self) -> None:
        words = [
            "kube-proxy",
            f"--kubeconfig={self.state.folder / 'proxy.kubeconfig'}",
            f"--hostname-override={self.name}",
            "--proxy-mode=nftables",
            "--bind-address=127.0.0.1",
            # These kernel settings belong to the machine, not to a namespace.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ]
        Supervisor(self.state.folder).spawn(self.process("proxy"), words, self.namespaces)

    def _containerd_configuration(self) -> str:
        return f"""\
version = 3
[grpc]
  address = "{self.socket}"
[ttrpc]
  address = "{self.folder}/t.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{PAUSE_IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
  # Root may lack CAP_SYS_RESOURCE here and then cannot lower oom_score_adj.
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["{paths.bin_dir()}/cni"]
  conf_dir = "{self.folder}/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = false
  BinaryName = "{paths.bin_dir()}/runc"
"""

    def _cni_configuration(self) -> dict[str, object]:
        addresses = {
            "type": "host-local",
            "ranges": [[{"subnet": network.pod_range(self.number)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": addresses,
        }
        return {"cniVersion": "1.0.0", "name": "rig", "plugins": [bridge]}

    def _kubelet_configuration(self, authority: Authority, cgroup: str) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            # Since 1.35 kubelet refuses cgroup version 1 unless told not to.
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroup,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "tlsCertFile": str(authority.cert(self.name)),
            "tlsPrivateKeyFile": str(authority.key(self.name)),
            # The disk is shared with whatever else the machine does.
            "evictionHard": {
                "nodefs.available": "1%",
                "imagefs.available": "1%",
                "memory.available": "100Mi",
            },
            "imageGCHighThresholdPercent": 100,
            "volumePluginDir": "/var/lib/kubelet/volumeplugins",
            "oomScoreAdj": 0,
            # So that a node whose kubelet was started again is seen soon.
            "nodeStatusUpdateFrequency": "4s",
        }
