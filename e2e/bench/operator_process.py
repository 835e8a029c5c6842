"""The operator's program as a process of our own, for measurements that need no node."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from e2e.bench import procs
from e2e.cluster import RigError, commands, network

_RECONCILED = re.compile(r'^vfolder_reconciles_total\{kind="VFolder",outcome="ok"\} (\S+)$', re.M)
_STOP_SECONDS = 60.0


class Operator:
    """One process of the operator's program; `more` are further settings of it."""

    def __init__(self, kubeconfig: Path, log: Path, **more: str) -> None:
        self._port = network.free_ports(1)[0]
        settings = {"KUBECONFIG": str(kubeconfig), "PORT": str(self._port), "IDENTITY": "bench"}
        settings |= more
        environment = {f"VFOLDER_OPERATOR_{name}": value for name, value in settings.items()}
        self._log = log
        self._started = time.monotonic()
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vfolder_operator"],
                env={**os.environ, **environment},
                stderr=stream,
            )

    def usage(self) -> procs.Usage:
        """What it has used."""
        return procs.usage(self._process.pid)

    def until_ready(self, seconds: float) -> float:
        """Wait until it leads and watches; returns the seconds since its start.

        Raises:
            RigError: not within `seconds`, or it ended.
        """
        commands.wait_until(self._ready, "the operator is ready", seconds, every=0.05)
        return time.monotonic() - self._started

    def until_reconciled(self, count: int, seconds: float) -> float:
        """Wait until that many VFolders were looked at; returns the seconds since its start.

        Raises:
            RigError: not within `seconds`.
        """
        commands.wait_until(
            lambda: self._counted(_RECONCILED) >= count, f"{count} reconciled", seconds, every=0.5
        )
        return time.monotonic() - self._started

    def until_counted(self, metric: re.Pattern[str], more: int, seconds: float) -> float:
        """Wait until a counter has grown by that much; returns what it then is.

        Raises:
            RigError: not within `seconds`.
        """
        wanted = self._counted(metric) + more
        commands.wait_until(
            lambda: self._counted(metric) >= wanted, f"{metric.pattern}", seconds, every=0.2
        )
        return self._counted(metric)

    def stop(self) -> None:
        """End it in good order, or else at once."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            said = commands.tail(self._log.read_text())
            raise RigError(f"the operator ended with {self._process.returncode}:\n{said}")
        try:
            self._get("/readyz")
        except OSError:
            return False
        return True

    def _counted(self, metric: re.Pattern[str]) -> float:
        found = metric.search(self._get("/metrics"))
        return float(found[1]) if found else 0.0

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=20) as answer:
            return str(answer.read().decode())
