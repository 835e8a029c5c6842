"""`vfolder-sim` serves an array that our own backend can work with."""

import re
import signal
import subprocess
import sys

from vfolder_backends.config import BackendConfig
from vfolder_backends.registry import Registry


async def test_a_simulator_from_the_command_line(tmp_path):
    data, authority = tmp_path / "data", tmp_path / "ca.pem"
    command = [
        *(sys.executable, "-m", "vfolder_backends.testing.arrays.cli", "weka"),
        *("--data", str(data), "--ca-file", str(authority)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            told = [process.stdout.readline() for _ in range(4)]
            endpoint = re.fullmatch(r"endpoint: (https://\S+)\n", told[0])[1]
            name, password = re.match(r"account: (\S+) / (\S+)", told[1]).groups()
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
            await backend.close()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
