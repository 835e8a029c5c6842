"""How long things take to start: the whole site with a warm cache, and the node plugin."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from e2e.bench import procs
from e2e.bench.report import Figure, Section
from e2e.bench.samples import median
from e2e.bench.site import Site
from e2e.cluster import commands, network
from e2e.cluster.progress import say

_STARTS = 5
_DEADLINE = 30.0
_POLL = 0.002


def measure(site: Site) -> Section:
    """Tell the steps of the site's start, and start node plugins of our own."""
    steps = [Figure(f"site: {step}", took, "s") for step, took in site.times.seconds.items()]
    plugins = [_start_plugin() for _ in range(_STARTS)]
    say(f"{_STARTS} node plugins started")
    fresh = [procs.usage(site.node_plugin(node.name)).resident for node in site.cluster.nodes]
    return Section(
        "start",
        "from nothing running to working",
        "The site's steps as they were when this run began (its first step is building what the "
        "cache lacks: seconds only if nothing changed). The node plugin's program, from exec until "
        f"its registration socket takes connections, median of {_STARTS}; its memory is that of "
        "the site's two plugins.",
        [
            *steps,
            Figure("site: all", sum(site.times.seconds.values()), "s"),
            Figure("node plugin, exec to listening", 1000 * median(plugins), "ms"),
            Figure("node plugin, memory", max(fresh), "MiB"),
        ],
    )


def _start_plugin() -> float:
    """Start the node plugin's program, and end it; returns the seconds until it serves kubelet."""
    with tempfile.TemporaryDirectory(prefix="vfb-") as folder:
        registration = Path(folder, "csi.vfolder.dev-reg.sock")
        settings = {
            "ENDPOINT": f"unix://{folder}/csi.sock",
            "REGISTRATION_DIR": folder,
            "KUBELET_ENDPOINT": "/var/lib/kubelet/plugins/csi.vfolder.dev/csi.sock",
            "NODE_NAME": "bench",
            "KUBELET_DIR": folder,
            "HEALTH_PORT": str(network.free_ports(1)[0]),
            "LOG_LEVEL": "WARNING",
        }
        environment = {f"VFOLDER_CSI_{name}": value for name, value in settings.items()}
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "vfolder_csi"], env={**os.environ, **environment}
        )
        try:
            what = "the node plugin listens"
            commands.wait_until(lambda: _listens(registration), what, _DEADLINE, every=_POLL)
            return time.perf_counter() - started
        finally:
            process.kill()
            process.wait()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True
