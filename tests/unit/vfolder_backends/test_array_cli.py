"""`vfolder-sim` serves an array that our own backend can work with."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import PermissionDenied
from vfolder_backends.registry import Registry
from vfolder_backends.testing.conformance.base import MIB, SCOPE, scope_request


def put(url, **body):
    request = urllib.request.Request(url, json.dumps(body).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=10):
        pass


async def test_a_simulator_from_the_command_line(tmp_path):
    data, authority = tmp_path / "data", tmp_path / "ca.pem"
    command = [
        *(sys.executable, "-m", "vfolder_backends.testing.arrays.cli", "weka"),
        *("--data", str(data), "--ca-file", str(authority), "--control-port", "0"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            told = [process.stdout.readline() for _ in range(5)]
            endpoint = re.fullmatch(r"endpoint: (https://\S+)\n", told[0])[1]
            name, password = re.match(r"account: (\S+) / (\S+)", told[2]).groups()
            control = told[1].split()[1]
            root = data / "root"
            root.mkdir()
            backend = Registry().build(
                BackendConfig(
                    "a1",
                    "weka",
                    str(root),
                    {"fileSystem": "default", "path": "/root"},
                    endpoint,
                    {"username": name, "password": password},
                    authority.read_text(),
                )
            )
            await backend.attach(None)
            assert (await backend.probe()).warnings == ()
            await backend.ensure_scope(scope_request())
            put(f"{control}/limits", name=SCOPE.value, bytes=MIB)
            state = await backend.describe_scope(SCOPE)
            assert state.limits.bytes == MIB
            put(f"{control}/password", account=name, password="another one")
            with pytest.raises(PermissionDenied):
                await backend.describe_scope(SCOPE)
            with pytest.raises(urllib.error.HTTPError, match="400"):
                put(f"{control}/fault", kind="EARTHQUAKE")
            await backend.close()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize("found", [["/usr/bin", "/bin"], []], ids=["perl", "python"])
async def test_a_program_lfs_from_the_command_line(tmp_path, found):
    data, folder = tmp_path / "data", tmp_path / "bin"
    command = [
        *(sys.executable, "-m", "vfolder_backends.testing.arrays.cli", "lfs"),
        *("--data", str(data), "--bin", str(folder)),
    ]
    env = {**os.environ, "PATH": os.pathsep.join(found)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            told = dict(process.stdout.readline().strip().split(": ") for _ in range(2))
            assert told == {"lfsPath": str(folder / "lfs"), "mountPoint": str(data)}
            first = (folder / "lfs").read_text().splitlines()[0]
            assert ("perl" in first) == bool(found)
            (data / "root").mkdir()
            config = BackendConfig("a1", "exascaler", str(data / "root"), told)
            backend = Registry().build(config)
            await backend.attach(None)
            state = await backend.ensure_scope(scope_request())
            assert state.limits == scope_request().limits
            await backend.close()
            strange = subprocess.run(
                [folder / "lfs", "quota", "-u", "me"], capture_output=True, text=True, check=False
            )
            assert (strange.returncode, strange.stdout) == (2, "")
            assert "unrecognized arguments: quota -u me" in strange.stderr
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    alone = subprocess.run(
        [folder / "lfs", "df", data], capture_output=True, text=True, check=False
    )
    assert alone.returncode == 1
    assert "no simulated Lustre answers" in alone.stderr
