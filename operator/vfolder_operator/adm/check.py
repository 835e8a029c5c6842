"""`vfolder-adm backend check`: whether a StorageBackend would work, before it is applied."""

import argparse
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from vfolder_backends.errors import BackendError, NotEmpty
from vfolder_backends.facts import Health, Level
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import Limits, Owner, ScopeRequest, ScopeState, StorageBackend
from vfolder_backends.sizes import format_bytes
from vfolder_operator.adm import storage
from vfolder_operator.adm.output import Column, Rows, add_output, choose
from vfolder_operator.adm.world import DONE, FAILED, World

_DESCRIPTION = """\
Tries a StorageBackend as the operator would: its fields, its options, its Secret, the directory
that the operator sees, and then the storage itself: connection, certificate, login, licence,
permissions, version, whether quotas are on. Run it where the storage is mounted, such as in the
operator's pod.

Without --write no limit is changed and nothing stays: some storages are asked to find an empty
directory that is made below ROOT/.vfolder for it and removed again, and to change a limit that is
not there, which only a role that may would be told.

With --write a scope is made, its limit is set, read back and changed, and it is removed again. The
root mark, which the operator would write, is left there.
"""

_EPILOG = """\
examples:
  vfolder-adm backend check scratch.yaml --credentials ./secret --root /mnt/scratch
  vfolder-adm backend check scratch.yaml --credentials ./secret --root /mnt/scratch --write
"""

COLUMNS = (Column("step", 14), Column("result", 8), Column("detail", 1))

_MIB = 1 << 20
_SET, _CHANGED = Limits(bytes=64 * _MIB), Limits(bytes=128 * _MIB)
_OWNER = Owner("vfolder-adm", "vfolder-adm", "check")


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        help="try a StorageBackend before it is applied",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "backend",
        metavar="FILE|NAME",
        help="its manifest, or the name of one that the API server has",
    )
    parser.add_argument(
        "--root",
        type=storage.root_path,
        metavar="DIR",
        help="where the storage is mounted here; default: where the operator's pod has it",
    )
    parser.add_argument(
        "--write", action="store_true", help="make a scope with a limit, and remove it again"
    )
    add_output(parser)
    storage.add_storage_arguments(parser)
    storage.add_cluster_arguments(parser)
    storage.add_call_deadline(parser)
    parser.set_defaults(run=run)


class _Failed(Exception):
    """A step failed; it is told already."""


class _Steps:
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def told(self, step: str, detail: str, result: str = "ok") -> None:
        self._rows.write({"step": step, "result": result, "detail": detail})

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Tell what a step fails with."""
        try:
            yield
        except BackendError as error:
            self.told(name, f"{error.reason}: {error}", "failed")
            raise _Failed from error


async def run(args: argparse.Namespace, world: World) -> int:
    """Try it step by step; FAILED at the first that does not work."""
    async with AsyncExitStack() as stack:
        if storage.is_file(args.backend):
            found = storage.read_manifest(Path(args.backend), "FILE")
        else:
            kube = await storage.connect(args)
            stack.push_async_callback(kube.close)
            found = await storage.find(args.backend, kube, args.operator_namespace)
        steps = _Steps(Rows(world.out, COLUMNS, choose(args.output, world.out)))
        root = args.root or Path(found.spec.operator_path or f"/backends/{found.name}")
        try:
            with steps.step("manifest"):
                port = storage.build(world, args, root, found, read_only=not args.write)
            stack.push_async_callback(port.close)
            steps.told(
                "manifest", f"{found.name}: type {found.spec.type}, options and keys are known"
            )
            await _look(port, steps, root, write=args.write)
            if args.write:
                await _write(port, steps)
        except _Failed:
            return FAILED
    return DONE


async def _look(port: StorageBackend, steps: _Steps, root: Path, *, write: bool) -> None:
    with steps.step("root"):
        mark = await port.attach(None, initialise=write)
    steps.told("root", f"{root}: root mark {mark}" if mark else f"{root}: no root mark yet")
    with steps.step("storage"):
        health = await port.probe()
    steps.told("storage", "it answers, and lets us in")
    for name, value in _facts(health).items():
        steps.told(name, value)
    for warning in health.warnings:
        steps.told("storage", warning, "warning")
    with steps.step("list"):
        scopes = [state async for state in port.list_scopes()] if mark else []
    steps.told("list", f"{len(scopes)} scopes of VFolder are there")


def _facts(health: Health) -> Mapping[str, str]:
    able, enforcement = health.capabilities, health.capabilities.enforcement
    facts = {
        "limits": f"bytes {enforcement.bytes}, files {enforcement.files}: {enforcement.message}",
        "isolation": able.isolation,
    }
    if health.capacity is not None:
        used, total = health.capacity.used_bytes, health.capacity.total_bytes
        facts["capacity"] = f"{format_bytes(used)} of {format_bytes(total)} bytes in use"
    return facts


async def _write(port: StorageBackend, steps: _Steps) -> None:
    scope = ScopeHex(uuid.uuid4().hex)
    try:
        with steps.step("make"):
            ref = await port.prepare_scope(scope, {})
            made = await port.ensure_scope(ScopeRequest(scope, _OWNER, _SET, ref=ref))
        steps.told("make", f"scope {scope.uuid} at {made.path}: {_shown(made)}")
        with steps.step("change"):
            changed = await port.set_limits(scope, _OWNER, _CHANGED)
        steps.told("change", _shown(changed))
    finally:
        with steps.step("remove"):
            await port.delete_scope(scope, _OWNER)
            async for state in port.list_scopes():
                if state.scope == scope:
                    raise NotEmpty(f"scope {scope.uuid} is still listed")
        steps.told("remove", "the scope is gone")


def _shown(state: ScopeState) -> str:
    if state.enforcement.bytes is Level.NONE and state.progress is None:
        return "no limit is kept on this storage"
    size = state.limits.bytes
    text = "no limit" if size is None else f"limit {format_bytes(size)} bytes"
    return text if state.progress is None else f"{text}, {state.progress.message}"
