"""1,000 scopes on a simulated array that takes 20 ms for each call, eight at a time at most.

How soon they are Ready, how many calls that takes, and how many a pass takes that only looks for
drift. Beside them a client as scripts are written: it logs in for each scope, sets a quota and
reads it back, and looks for drift by reading each quota.
"""

import asyncio
import http.client
import json
import re
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e.bench import bare
from e2e.bench.operator_process import Operator
from e2e.bench.report import Figure, Section
from e2e.bench.watch import Watch
from e2e.cluster import ControlPlane, RigError, golang, packages
from e2e.cluster.progress import say
from vfolder_operator.kube import Body, Kinds, Kube

NAMESPACE, SYSTEM, BACKEND = "bench-arrays", "vfolder-system", "warm"
COUNT = 1000
LATENCY_MS = 20
IN_FLIGHT = 8
REFRESH_SECONDS = 20
ACCOUNT = {"username": "vfolder", "password": "simulated-vast"}
_BYTES = 1 << 30
_DEADLINE = 900.0


class Array:
    """A simulated VAST cluster in a process of its own.

    Args:
        folder: for its file system and its certificate.
    """

    def __init__(self, folder: Path) -> None:
        self.disk, self.authority = folder / "disk", folder / "ca.pem"
        words = ["vast", "--data", str(self.disk), "--ca-file", str(self.authority)]
        words += ["--control-port", "0", "--latency-ms", str(LATENCY_MS)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vfolder_backends.testing.arrays.cli", *words],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        told = dict(self._process.stdout.readline().strip().split(": ", 1) for _ in range(2))
        self.endpoint, self._control = told["endpoint"], told["control"]

    def calls(self) -> int:
        """How many calls it has served; none of them may have been wrong.

        Raises:
            RigError: a call held a word that the array's document does not have.
        """
        with urllib.request.urlopen(f"{self._control}/report", timeout=30) as answer:
            report = json.load(answer)
        if report["violations"]:
            raise RigError(f"wrong calls: {report['violations'][:3]}")
        return sum(report["calls"].values())

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)


def measure() -> Section:
    """Make the scopes, look at rest, and let the other client do the same on another array."""
    packages.install(packages.NODES)
    golang.build()
    with (
        tempfile.TemporaryDirectory(prefix="vfolder-bench-") as folder,
        ControlPlane() as control_plane,
    ):
        bare.prepare(control_plane, SYSTEM, NAMESPACE)
        with _array(Path(folder, "ours")) as array:
            ours = _ours(control_plane, array, Path(folder, "operator.log"))
        with _array(Path(folder, "theirs")) as array:
            theirs = _Plain(array).run()
    names = ("all of them", "calls for each", "calls of a pass that finds no drift")
    units = ("s", "", "")
    return Section(
        "arrays",
        f"{COUNT:,} scopes on an array",
        f"One process of the operator on a control plane without nodes, and a simulated VAST "
        f"cluster that takes {LATENCY_MS} ms for each call and shows 50 quotas on a page; "
        f"limits.maxConcurrent is {IN_FLIGHT}. The clock runs from the first request of the client "
        "that makes the objects until a watch has shown the last one Ready. A pass is what the "
        "operator does at each refresh, its probe of the cluster included.",
        [
            Figure(name, value, unit, peer)
            for name, value, unit, peer in zip(names, ours, units, theirs, strict=True)
        ],
        f"a client with {IN_FLIGHT} threads that does for each scope what a script does: log in, "
        "set the quota, read it back; and for drift: log in, read the quota.",
    )


@contextmanager
def _array(folder: Path) -> Iterator[Array]:
    (folder / "disk" / "vfolder").mkdir(parents=True)
    array = Array(folder)
    try:
        yield array
    finally:
        array.stop()


def _ours(control_plane: ControlPlane, array: Array, log: Path) -> tuple[float, float, float]:
    operator = Operator(control_plane.kubeconfig, log, REFRESH_SECONDS=str(REFRESH_SECONDS))
    path = f"/apis/vfolder.dev/v1alpha1/namespaces/{NAMESPACE}/quotascopes"
    try:
        operator.until_ready(_DEADLINE)
        asyncio.run(_declare(control_plane.kubeconfig, array))
        with Watch(["kubectl"], control_plane.environment(), path, "Ready") as watch:
            before, started = array.calls(), time.monotonic()
            asyncio.run(bare.create(control_plane.kubeconfig, Kinds.SCOPE, NAMESPACE, _scopes()))
            seconds = watch.until_reached(COUNT, _DEADLINE) - started
        each = (array.calls() - before) / COUNT
        say(f"{COUNT} scopes Ready after {seconds:.0f} s")
        return seconds, each, _steady(operator, array)
    finally:
        operator.stop()


def _steady(operator: Operator, array: Array) -> float:
    """Calls of one pass, from two that lie between the ends of three."""
    passes = re.compile(
        r'^vfolder_reconciles_total\{kind="StorageBackend",outcome="ok"\} (\S+)$', re.M
    )
    first = operator.until_counted(passes, 2, _DEADLINE)  # what was begun before has ended
    before = array.calls()
    last = operator.until_counted(passes, 2, _DEADLINE)
    return (array.calls() - before) / (last - first)


def _scopes() -> Iterator[Body]:
    spec: Body = {"backend": BACKEND, "limits": {"bytes": _BYTES}}
    for number in range(COUNT):
        yield {"metadata": {"name": f"s{number}"}, "spec": spec}


async def _declare(kubeconfig: Path, array: Array) -> None:
    backend: Body = {
        "type": "vast",
        "hostPath": "/mnt/bench",
        "operatorPath": str(array.disk / "vfolder"),
        "endpoint": array.endpoint,
        "credentialsSecretRef": {"name": "vast"},
        "tls": {"caBundle": array.authority.read_text()},
        "parameters": {"path": "/vfolder"},
        "limits": {"maxConcurrent": IN_FLIGHT},
        "allowedNamespaces": {},
    }
    kube = await Kube.connect(str(kubeconfig))
    try:
        secret: Body = {"metadata": {"name": "vast"}, "stringData": ACCOUNT}
        await kube.create(Kinds.SECRET, secret, SYSTEM)
        await kube.create(Kinds.BACKEND, {"metadata": {"name": BACKEND}, "spec": backend})
    finally:
        await kube.close()


class _Plain:
    """The other client: one connection and one login for each thing that it does."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self._tls = ssl.create_default_context(cadata=array.authority.read_text())
        host, _, port = array.endpoint.removeprefix("https://").partition(":")
        self._host, self._port = host, int(port)

    def run(self) -> tuple[float, float, float]:
        """The same three figures."""
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            before, started = self._array.calls(), time.monotonic()
            made = list(pool.map(self._make, range(COUNT)))
            seconds = time.monotonic() - started
            each = (self._array.calls() - before) / COUNT
            before = self._array.calls()
            list(pool.map(self._look, made))
            return seconds, each, self._array.calls() - before

    def _make(self, number: int) -> int:
        (self._array.disk / "vfolder" / f"s{number}").mkdir()
        body = {"name": f"s{number}", "path": f"/vfolder/s{number}", "hard_limit": _BYTES}
        with self._logged_in() as call:
            made = int(call("POST", "/quotas/", body)["id"])
            assert call("GET", f"/quotas/{made}/")["hard_limit"] == _BYTES
        return made

    def _look(self, number: int) -> None:
        with self._logged_in() as call:
            assert call("GET", f"/quotas/{number}/")["hard_limit"] == _BYTES

    @contextmanager
    def _logged_in(self) -> Iterator[Any]:
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=30, context=self._tls
        )
        headers = {"Content-Type": "application/json"}

        def call(method: str, path: str, body: object = None) -> Any:
            text = None if body is None else json.dumps(body)
            connection.request(method, f"/api/latest{path}", text, headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status >= 300:
                raise RigError(f"{method} {path}: {answer.status} {said!r}")
            return json.loads(said)

        try:
            token = call("POST", "/token/", ACCOUNT)["access"]
            headers["Authorization"] = f"Bearer {token}"
            yield call
        finally:
            connection.close()
