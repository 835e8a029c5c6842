"""A real Kubernetes and a real CephFS on one machine, without Docker and without a registry.

    with ControlPlane() as control_plane:       # API server and controllers on loopback, 4 s
        ... control_plane.kubeconfig ...
    with Ceph(quick=True) as ceph:              # mounted twice, 1 s
        ... ceph.operator_mount, ceph.node_mount ...
    with Cluster(nodes=2) as cluster:           # in a network of its own, 12 s
        cluster.load(archive)
        cluster.kubectl("get", "nodes")

From a shell: `python3 -m e2e.cluster --help`. Only the standard library is used, so all of this
runs with the system's python3 before any virtual environment exists.
"""

from e2e.cluster.ceph import Ceph
from e2e.cluster.cluster import Cluster
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.errors import RigError

__all__ = ["Ceph", "Cluster", "ControlPlane", "RigError"]
