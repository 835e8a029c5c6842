"""The arrays that can be simulated, by the name of their backend type."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

from vfolder_backends.testing.arrays.simulated import SimulatedArray

Maker = Callable[[Path], SimulatedArray[Any]]

_MODULES: Final[Mapping[str, str]] = {
    "flashblade": "flashblade.simulator",
    "onefs": "onefs.simulator",
    "netapp": "netapp.simulator",
    "vast": "vast.simulator",
    "gpfs": "gpfs.simulator",
    "hammerspace": "hammerspace.simulator",
    "weka": "weka.simulator",
}


def kinds() -> tuple[str, ...]:
    """The names."""
    return tuple(sorted(_MODULES))


def make(kind: str, data: Path) -> SimulatedArray[Any]:
    """Return a fresh array of that kind over the directory `data`; imports only that one."""
    module = import_module(f"vfolder_backends.testing.arrays.{_MODULES[kind]}")
    return cast("Maker", module.make)(data)
