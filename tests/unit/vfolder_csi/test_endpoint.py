import socket

import pytest

from vfolder_csi.endpoint import EndpointError, make_free, socket_path


@pytest.mark.parametrize("endpoint", ["unix:///csi/csi.sock", "/csi/csi.sock"])
def test_both_spellings(endpoint):
    assert socket_path(endpoint) == "/csi/csi.sock"


@pytest.mark.parametrize(
    "endpoint", ["", "csi.sock", "unix://csi.sock", "tcp://127.0.0.1:1", "/" + "x" * 107, "/a\0b"]
)
def test_what_is_no_socket_path(endpoint):
    with pytest.raises(EndpointError):
        socket_path(endpoint)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a relative path, as a socket's must be short
    return "s.sock"


def test_a_dead_socket_is_removed(path, tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
    make_free(path)
    assert list(tmp_path.iterdir()) == []
    make_free(path)


def test_a_living_socket_is_kept(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        with pytest.raises(EndpointError, match="another process serves"):
            make_free(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def test_a_link_to_a_socket_is_not_followed(path, tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(EndpointError, match="not a socket"):
        make_free("link")
