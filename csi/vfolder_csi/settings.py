"""The node plugin's settings; the only reader of the environment.

A plain dataclass: a settings library would cost a quarter of the plugin's memory budget.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

DRIVER_NAME: Final = "csi.vfolder.dev"
PREFIX: Final = "VFOLDER_CSI_"


class SettingsError(ValueError):
    """A variable is missing or not allowed; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `VFOLDER_CSI_<FIELD IN CAPITALS>` says.

    Attributes:
        node_name: the Kubernetes node this plugin runs on; required.
        kubelet_endpoint: the path of csi.sock as kubelet sees it on the host; required.
        endpoint: where csi.sock is served.
        registration_dir: kubelet's plugin registry folder, as mounted here.
        kubelet_dir: kubelet's folder, mounted at the same path; all targets lie below it.
        host_roots: host folders that hostPath backends may lie in, mounted at the same paths.
        health_port: liveness on 127.0.0.1.
        max_volumes: how many volumes a node may hold; 0 is unlimited.
        log_level: a level name of the standard library's logging.
        api_cache_seconds: how long a StorageBackend is believed without asking again.
        require_user_namespaces: whether only pods with `hostUsers: false` get folders.
    """

    node_name: str
    kubelet_endpoint: str
    endpoint: str = "unix:///csi/csi.sock"
    registration_dir: str = "/registration"
    kubelet_dir: str = "/var/lib/kubelet"
    host_roots: tuple[str, ...] = ("/mnt",)
    health_port: int = 9810
    max_volumes: int = 0
    log_level: str = "INFO"
    api_cache_seconds: float = 30.0
    require_user_namespaces: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read and check the settings; an empty variable counts as unset.

        Other names with our prefix are left alone: Kubernetes itself makes some up when a Service
        has a name like ours.

        Raises:
            SettingsError: a required one is missing or one is not allowed.
        """
        values: dict[str, Any] = {}
        for name, parse in _PARSERS.items():
            if text := environment.get(f"{PREFIX}{name.upper()}"):
                values[name] = parse(name, text)
        for name in ("node_name", "kubelet_endpoint"):
            if name not in values:
                raise SettingsError(f"{PREFIX}{name.upper()} is not set")
        return cls(**values)


def is_normalised(path: str) -> bool:
    """Whether `path` is absolute and spelt without `.`, `..`, doubled or trailing slashes."""
    parts = path.split("/")[1:]
    return path.startswith("/") and all(part not in ("", ".", "..") for part in parts)


def _path(name: str, value: str) -> str:
    if not is_normalised(value):
        raise SettingsError(f"{PREFIX}{name.upper()}={value!r} is not an absolute, normalised path")
    return value


def _number(name: str, value: str, highest: int) -> int:
    if not value.isascii() or not value.isdigit() or int(value) > highest:
        raise SettingsError(f"{PREFIX}{name.upper()}={value!r} is not a number from 0 to {highest}")
    return int(value)


def _level(name: str, value: str) -> str:
    if value not in logging.getLevelNamesMapping():
        raise SettingsError(
            f"{PREFIX}{name.upper()}={value!r} is not a level such as INFO or DEBUG"
        )
    return value


def _flag(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise SettingsError(f"{PREFIX}{name.upper()}={value!r} is neither true nor false")
    return value == "true"


_PARSERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "node_name": lambda _, value: value,
    "kubelet_endpoint": _path,
    "endpoint": lambda _, value: value,
    "registration_dir": _path,
    "kubelet_dir": _path,
    "host_roots": lambda name, value: tuple(_path(name, root) for root in value.split(",")),
    "health_port": partial(_number, highest=65535),
    "max_volumes": partial(_number, highest=2**31 - 1),
    "log_level": _level,
    "api_cache_seconds": partial(_number, highest=86400),
    "require_user_namespaces": _flag,
}
