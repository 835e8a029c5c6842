import os
import subprocess

import pytest


@pytest.fixture
def opened():
    """Opens directories for the length of a test."""
    fds = []

    def opened(path):
        fds.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
        return fds[-1]

    yield opened
    for fd in fds:
        os.close(fd)


@pytest.fixture
def top(tmp_path):
    """Where a tree is built; removed here, since pytest cannot remove what is in some of them."""
    (tmp_path / "top").mkdir()
    yield tmp_path / "top"
    subprocess.run(["rm", "-rf", *tmp_path.iterdir()], check=True)


@pytest.fixture
def target(tmp_path):
    (tmp_path / "target").mkdir()
    return tmp_path / "target"
