"""CephFS with Ceph's own delays, as sites run it: how late a limit is noticed, and usage follows.

Only what is promised is asserted. What was measured is in docs/cephfs.md.
"""

import errno
import os
import time

import pytest

from e2e.cluster import Ceph, packages
from vfolder_backends.config import BackendConfig
from vfolder_backends.port import Limits
from vfolder_backends.registry import Registry
from vfolder_backends.testing.conformance.base import (
    FOLDER,
    MIB,
    SCOPE,
    TEAM,
    folder_request,
    scope_request,
)
from vfolder_backends.testing.storages import until

_MISSING = packages.missing(packages.CEPH)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a private CephFS needs root"),
    pytest.mark.skipif(bool(_MISSING), reason=f"packages are missing: {', '.join(_MISSING)}"),
]

_WINDOW = 60.0
"""Seconds of writing after which nobody may still write; ten are promised on an idle machine."""

_MOST = 2048 * MIB


@pytest.fixture(scope="module")
def ceph():
    with Ceph() as ceph:
        yield ceph


@pytest.fixture
async def backend(ceph, tmp_path):
    root = ceph.operator_mount / tmp_path.name
    root.mkdir()
    backend = Registry().build(BackendConfig("under-test", "cephfs", str(root)))
    await backend.attach(None)
    await backend.ensure_scope(scope_request())
    await backend.ensure_folder(folder_request())
    yield backend
    await backend.close()


@pytest.mark.parametrize("per_file", [_MOST, 16384], ids=["one file", "many files"])
async def test_a_writer_is_stopped_and_usage_catches_up(ceph, backend, tmp_path, per_file):
    await backend.set_limits(SCOPE, TEAM, Limits(bytes=8 * MIB))
    state = await backend.describe_folder(SCOPE, FOLDER)
    as_a_pod = ceph.node_mount / tmp_path.name / state.path
    written, seconds = _write_until_refused(as_a_pod, per_file)
    assert 7 * MIB < written < _MOST
    assert seconds < _WINDOW
    there = sum(path.stat().st_size for path in as_a_pod.iterdir())
    lag = (await backend.probe()).capabilities.usage_lag_seconds

    async def counted():
        return (await backend.describe_scope(SCOPE)).usage.bytes == there

    await until(counted, 10 + 2 * lag)


def _write_until_refused(folder, per_file):
    """Write without ever waiting for the storage; return bytes and seconds until EDQUOT."""
    block = b"x" * min(per_file, 65536)
    begun, written, number = time.monotonic(), 0, 0
    while written < _MOST and time.monotonic() - begun < _WINDOW:
        try:
            with open(folder / str(number), "wb", buffering=0) as file:
                for _ in range(per_file // len(block)):
                    written += file.write(block)
        except OSError as error:
            if error.errno != errno.EDQUOT:
                raise
            return written, time.monotonic() - begun
        number += 1
    raise AssertionError(f"nobody stopped {written} bytes in {number} files")
