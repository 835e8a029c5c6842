import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfolder_csi.settings import Settings, SettingsError, is_normalised

REQUIRED = {"VFOLDER_CSI_NODE_NAME": "node-1", "VFOLDER_CSI_KUBELET_ENDPOINT": "/k/csi.sock"}


def test_defaults():
    settings = Settings.from_environment(REQUIRED)
    assert settings == Settings(node_name="node-1", kubelet_endpoint="/k/csi.sock")
    assert settings.host_roots == ("/mnt",)
    assert settings.max_volumes == 0


def test_everything_can_be_set():
    settings = Settings.from_environment(
        {
            **REQUIRED,
            "VFOLDER_CSI_ENDPOINT": "unix:///x.sock",
            "VFOLDER_CSI_REGISTRATION_DIR": "/reg",
            "VFOLDER_CSI_KUBELET_DIR": "/data/kubelet",
            "VFOLDER_CSI_HOST_ROOTS": "/mnt,/data/shared",
            "VFOLDER_CSI_HEALTH_PORT": "1",
            "VFOLDER_CSI_MAX_VOLUMES": "2",
            "VFOLDER_CSI_LOG_LEVEL": "DEBUG",
            "VFOLDER_CSI_API_CACHE_SECONDS": "3",
        }
    )
    assert settings == Settings(
        node_name="node-1",
        kubelet_endpoint="/k/csi.sock",
        endpoint="unix:///x.sock",
        registration_dir="/reg",
        kubelet_dir="/data/kubelet",
        host_roots=("/mnt", "/data/shared"),
        health_port=1,
        max_volumes=2,
        log_level="DEBUG",
        api_cache_seconds=3,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NODE_NAME", ""),
        ("KUBELET_ENDPOINT", "csi.sock"),
        ("KUBELET_DIR", "/var/lib/kubelet/"),
        ("KUBELET_DIR", "/"),
        ("HOST_ROOTS", "/mnt,"),
        ("HOST_ROOTS", "/mnt/../etc"),
        ("HEALTH_PORT", "65536"),
        ("HEALTH_PORT", "-1"),
        ("MAX_VOLUMES", "1.5"),
        ("MAX_VOLUMES", "٣"),
        ("API_CACHE_SECONDS", "soon"),
        ("LOG_LEVEL", "LOUD"),
        ("REQUIRE_USER_NAMESPACES", "yes"),
    ],
)
def test_the_message_names_the_variable(name, value):
    with pytest.raises(SettingsError, match=f"VFOLDER_CSI_{name}"):
        Settings.from_environment({**REQUIRED, f"VFOLDER_CSI_{name}": value})


def test_variables_that_kubernetes_makes_up_do_no_harm():
    made_up = {"VFOLDER_CSI_PORT": "tcp://10.0.0.1:80", "VFOLDER_CSI_SERVICE_HOST": "10.0.0.1"}
    Settings.from_environment(REQUIRED | made_up)


@given(st.text("/.a", max_size=12))
def test_a_normalised_path_has_one_spelling(path):
    parts = path.split("/")
    expected = path.startswith("/") and not {"", ".", ".."} & set(parts[1:])
    assert is_normalised(path) == expected
