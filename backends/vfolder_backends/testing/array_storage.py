"""A simulated array under test: served over HTTPS, its file system a directory of the test."""

import asyncio
import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from vfolder_backends.config import BackendConfig
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import Limits
from vfolder_backends.testing.arrays import catalogue
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.server import Server
from vfolder_backends.testing.arrays.simulated import SimulatedArray
from vfolder_backends.testing.storages import TreeUnderTest, until

StorageT = TypeVar("StorageT", bound="ArrayUnderTest")


@dataclass
class ArrayUnderTest(TreeUnderTest):
    """A backend and the simulator behind it; each kind of array adds how it is reached behind.

    A pickled one, for another process, has the address of the simulator but not the simulator.

    Attributes:
        account: the credentials of who may do all that is needed.
        options: what the StorageBackend says in `parameters` beside the path.
        data: the array's file system; `root` lies in it.
        config: what backends are built from; root and parameters are filled in.
        server: the simulator.
    """

    limits_bind_operator: ClassVar[bool] = False
    account: ClassVar[Mapping[str, str]] = {}
    options: ClassVar[Mapping[str, str]] = {}

    data: Path = Path("/nowhere")
    config: BackendConfig = dataclasses.field(
        default_factory=lambda: BackendConfig("under-test", "", "")
    )
    server: Server | None = field(default=None, compare=False, repr=False)

    @classmethod
    @contextmanager
    def serve(cls, place: Path) -> Iterator[Self]:
        """Serve a fresh array of this `kind` over an empty directory for a `with` block."""
        array = catalogue.make(cls.kind, place)
        with served(cls, array, cls.account, cls.options) as made:
            yield made

    @contextmanager
    def another(self, place: Path) -> Iterator[Self]:
        """Serve a fresh one like this over an empty directory for a `with` block."""
        array, config = catalogue.make(self.kind, place), self.config
        with served(
            type(self), array, config.credentials, config.parameters, config.call_timeout
        ) as made:
            yield made

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "server": None}

    @property
    def array(self) -> SimulatedArray[Any]:
        """The simulated array itself."""
        assert self.server is not None
        return self.server.array

    def parameters(self) -> Mapping[str, str]:
        """What the StorageBackend says in `parameters` for the present `root`."""
        return {**self.config.parameters, "path": self.root_path}

    @property
    def root_path(self) -> str:
        """Where `root` is for the array."""
        return "/" + "/".join(self.root.relative_to(self.data).parts)

    def configured(self, **changes: Any) -> BackendConfig:
        """Return the configuration for the present root, with changes."""
        ready = dataclasses.replace(
            self.config, root=str(self.root), parameters=dict(self.parameters())
        )
        return dataclasses.replace(ready, **changes)

    def behave(self, settings: Mapping[str, Any]) -> None:
        """Change fields of the simulator's settings."""
        present = vars(self.array)["settings"]
        for name, value in settings.items():
            assert hasattr(present, name), f"no setting {name!r}"
            setattr(present, name, value)

    async def fill(self, scope: ScopeHex, folder: FolderHex, size: int) -> None:
        """Write a file as a client of the array, which its limits can stop."""
        place = self.path(scope, folder) / f"data-{size}"
        await asyncio.to_thread(self.array.disk.write, place, size)

    async def tamper(self, scope: ScopeHex, limits: Limits) -> None:
        """Change a scope's limits on the array."""
        with self.array.lock:
            self.array.tamper(scope.value, Limit(limits.bytes, limits.files))

    def held(self) -> dict[str, Limit]:
        """Return all that the array holds, by the last part of the path it is on."""
        with self.array.lock:
            limits = self.array.limits()
        found = {path.rpartition("/")[2]: limit for path, limit in limits.items()}
        assert len(found) == len(limits), f"something is doubled: {sorted(limits)}"
        return found

    @property
    def secrets(self) -> frozenset[str]:
        """Every password, token and cookie that the array knows or knew."""
        return self.array.secrets

    async def quiet(self) -> None:
        """Wait until the array serves no call any more."""
        server = self.server
        assert server is not None

        async def idle() -> bool:
            return server.in_flight == 0

        await until(idle, 10)


class Fleet:
    """Several arrays of one kind; a context manager that serves those it is asked for.

    Attributes:
        all: the first one, which somebody else serves, and all others.
    """

    def __init__(self, first: ArrayUnderTest, place: Path) -> None:
        self.all = [first]
        self._place = place
        self._served = ExitStack()

    def another(self, name: str) -> ArrayUnderTest:
        """Serve one more until the end of the `with` block; `name` is its directory's."""
        place = self._place / name
        place.mkdir(parents=True)
        made = self._served.enter_context(self.all[0].another(place))
        self.all.append(made)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._served.close()


@contextmanager
def served(
    made: type[StorageT],
    array: SimulatedArray[Any],
    credentials: Mapping[str, str],
    parameters: Mapping[str, str] | None = None,
    call_timeout: float = 10.0,
) -> Iterator[StorageT]:
    """Serve an array for the length of a `with` block, its root one directory below its disk."""
    root = array.disk.root / "root"
    root.mkdir()
    with Server(array) as server:
        config = BackendConfig(
            "under-test",
            array.kind,
            "",
            parameters=dict(parameters or {}),
            endpoint=server.endpoint + array.shown_base,
            credentials=dict(credentials),
            ca_bundle=server.certificate.authority,
            call_timeout=call_timeout,
        )
        yield made(root, array.kind, array.disk.root, config, server)
