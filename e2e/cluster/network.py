"""The private network of a cluster: one namespace with a bridge, and one namespace for each node.

Nothing of that touches the machine's own addresses and no packet leaves it, so every cluster uses
the same ranges and any number of clusters run side by side.
"""

import contextlib
import random
import socket
from pathlib import Path

from e2e.cluster import commands

SERVICES = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
CONTROL_ADDRESS = "10.77.0.1"
_BRIDGE = "switch"
# Below the kernel's range for outgoing connections (32768 and up), so none of those takes a port
# between our look at it and the server's start.
_PORTS = range(20000, 32000)


def free_ports(count: int) -> list[int]:
    """Different free TCP ports on 127.0.0.1."""
    ports: list[int] = []
    with contextlib.ExitStack() as sockets:
        while len(ports) < count:
            probe = sockets.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", random.choice(_PORTS)))
                ports.append(probe.getsockname()[1])
    return ports


def node_address(number: int) -> str:
    """The address of a node."""
    return f"10.77.0.{10 + number}"


def pod_range(number: int) -> str:
    """The range that a node's pods get their addresses from."""
    return f"10.78.{number}.0/24"


def control_namespace(tag: str) -> str:
    """The namespace of the control plane."""
    return tag


def node_namespace(tag: str, number: int) -> str:
    """The namespace of a node."""
    return f"{tag}-n{number}"


def enter(namespace: str) -> str:
    """The option of nsenter that enters a namespace."""
    return f"--net=/run/netns/{namespace}"


def create_control(tag: str) -> None:
    """Make the control plane's namespace with the bridge that joins all nodes."""
    _ip("netns", "add", tag)
    _in(tag, "link", "set", "lo", "up")
    _in(tag, "link", "add", _BRIDGE, "type", "bridge")
    _in(tag, "addr", "add", f"{CONTROL_ADDRESS}/24", "dev", _BRIDGE)
    _in(tag, "link", "set", _BRIDGE, "up")


def create_node(tag: str, number: int) -> None:
    """Make a node's namespace and the routes between its pods and those of the nodes before it."""
    namespace, address = node_namespace(tag, number), node_address(number)
    port = f"node{number}"
    _ip("netns", "add", namespace)
    _in(namespace, "link", "set", "lo", "up")
    _in(tag, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _in(tag, "link", "set", port, "master", _BRIDGE, "up")
    _in(namespace, "addr", "add", f"{address}/24", "dev", "eth0")
    _in(namespace, "link", "set", "eth0", "up")
    _in(namespace, "route", "add", "default", "via", CONTROL_ADDRESS)
    commands.run("sysctl", "-qw", "net.ipv4.ip_forward=1", namespaces=[enter(namespace)])
    _in(tag, "route", "add", pod_range(number), "via", address)
    for other in range(1, number):
        _in(namespace, "route", "add", pod_range(other), "via", node_address(other))
        _in(node_namespace(tag, other), "route", "add", pod_range(number), "via", address)


def delete_namespaces(tag: str) -> None:
    """Delete every namespace of a cluster; nothing if there is none."""
    for path in sorted(Path("/run/netns").glob(f"{tag}*")):
        _ip("netns", "del", path.name)


def _ip(*words: str) -> None:
    commands.run("ip", *words)


def _in(namespace: str, *words: str) -> None:
    commands.run("ip", "-n", namespace, *words)
