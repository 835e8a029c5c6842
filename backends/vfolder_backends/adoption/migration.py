"""Layout 2 to layout 3 on one file system: per scope move, tag, verify, and only then limit.

A rename into a directory under a project quota is refused by the kernel (EXDEV), so a scope's
folders are moved while it has none; then it gets what its storage needs (`ensure_scope`, which may
walk for hours), each folder is compared with what it was, and the limits come last.

Everything is decided from the disk and the journal together, so a run that was killed goes on, and
`rollback` takes it back.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from vfolder_backends.adoption import journal as kinds
from vfolder_backends.adoption import moves, results
from vfolder_backends.adoption.failures import Refused
from vfolder_backends.adoption.found import MIGRATION_CLUSTER, Tally
from vfolder_backends.adoption.journal import Journal, Record
from vfolder_backends.adoption.mapping import MappedFolder, MappedScope, MappingTable
from vfolder_backends.adoption.moves import Move
from vfolder_backends.adoption.pacing import Pace
from vfolder_backends.adoption.results import Result, result_of
from vfolder_backends.adoption.scan import VERSION_FILE
from vfolder_backends.errors import BackendError, DeadlineExceeded, NotOurs
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import (
    Adoption,
    BackendRef,
    Limits,
    Owner,
    Progress,
    ScopeRequest,
    ScopeState,
    StorageBackend,
)
from vfolder_backends.tree import files, scopes
from vfolder_backends.tree.scopes import ScopePlace

_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Site:
    """What a migration works with.

    Attributes:
        root: the root's open descriptor.
        backend: attached to the same root.
        cluster: uid of the kube-system namespace of the cluster that will have the scopes.
        stall_seconds: how long work of the storage's may show no progress.
        tell: gets progress for people.
    """

    root: int
    pace: Pace
    backend: StorageBackend
    mapping: MappingTable
    journal: Journal
    cluster: str = MIGRATION_CLUSTER
    stall_seconds: float = 600.0
    tell: Callable[[Progress], None] = lambda _: None

    def owner(self, scope: MappedScope) -> Owner:
        """Whom a scope is marked for."""
        return Owner(self.cluster, scope.namespace, scope.name)

    async def fingerprint(self, path: str, what: str) -> Tally:
        """Walk a folder."""
        done = 0

        def tell(entries: int) -> None:
            nonlocal done
            done += entries
            self.tell(Progress(what, path, done))

        return await self.pace.result(moves.fingerprint(self.root, path), tell)


class Migration:
    """One run forward.

    Args:
        site: what it works with.
        write_version: whether version.txt says 3 once nothing is left in layout 2.
    """

    def __init__(self, site: Site, *, write_version: bool) -> None:
        self._site = site
        self._journal = site.journal
        self._write_version = write_version
        self._failed = 0
        self._refs: dict[ScopeHex, BackendRef] = {}

    async def run(self) -> AsyncIterator[Result]:
        """Do what is left to do, and yield a row for each folder, those of earlier runs included.

        Raises:
            Refused: the journal's run is being taken back, or was finished before.
        """
        if self._journal.get(kinds.ROLLBACK) is not None:
            raise Refused(
                f"the run of journal {self._journal.path} is being taken back: --rollback"
            )
        if self._journal.get(kinds.END) is not None:
            raise Refused(f"the run of journal {self._journal.path} is finished")
        if self._journal.get(kinds.BEGIN) is None:
            self._journal.append(kinds.BEGIN, cluster=self._site.cluster)
        for scope in self._site.mapping.scopes():
            async for result in self._scope(scope):
                self._failed += result.result == results.FAILED
                yield result
        if not self._failed:
            await self._finish()

    async def _scope(self, scope: MappedScope) -> AsyncIterator[Result]:
        """Migrate one scope; what fails in it keeps its limits away, and holds up no other."""
        mapping, hexes = self._site.mapping, scope.id.hex
        if not any(self._concerned(row) for row in mapping.folders(hexes)):
            for row in mapping.folders(hexes):
                if row.seen_in(3):
                    yield result_of(row, scope.id, results.ALREADY)
            return
        problem, limits = "", None
        try:
            await self._prepare(scope)
            await self._move_all(scope)
            await self._tag(scope)
        except (BackendError, Refused) as error:
            problem = str(error)
        wrong: dict[str, str] = {}
        if not problem:
            wrong = await self._verify_all(scope)
            problem = "" if not wrong else "folders of this scope were not verified; see their rows"
        if not problem:
            try:
                limits = await self._limit(scope)
            except (BackendError, Refused) as error:
                problem = str(error)
        for row in mapping.folders(hexes):
            if not self._concerned(row):
                if row.seen_in(3):
                    yield result_of(row, scope.id, results.ALREADY)
                continue
            why = wrong.get(row.folder.value) or problem
            yield result_of(
                row,
                scope.id,
                results.FAILED if why else results.MIGRATED,
                tally=_tally(self._journal.get(kinds.PLAN, row.folder.value)),
                limits=limits,
                message=why,
            )

    def _concerned(self, row: MappedFolder) -> bool:
        return row.seen_in(2) or self._journal.get(kinds.PLAN, row.folder.value) is not None

    async def _prepare(self, scope: MappedScope) -> None:
        """Note what the scope was before, once."""
        hexes, site = scope.id.hex, self._site
        place = await site.pace.run(scopes.look, site.root, hexes)
        check_marks(place, hexes, site.owner(scope))
        if self._journal.get(kinds.SCOPE, hexes.value) is None:
            await self._note(scope, place)
        # Reserving again confirms what was reserved before.
        self._refs[hexes] = await site.backend.prepare_scope(hexes, {})

    async def _note(self, scope: MappedScope, place: ScopePlace) -> None:
        hexes = scope.id.hex
        before: dict[str, int | None] | None = None
        if place.present:
            state = await self._site.backend.describe_scope(hexes)
            before = {"bytes": state.limits.bytes, "files": state.limits.files}
        self._journal.append(
            kinds.SCOPE,
            hexes.value,
            existed=place.present,
            marked=place.owner is not None,
            limits=before,
            namespace=scope.namespace,
            name=scope.name,
        )

    async def _move_all(self, scope: MappedScope) -> None:
        site, total = self._site, 0
        for row in site.mapping.folders(scope.id.hex):
            if not self._concerned(row) or self._journal.get(kinds.MOVED, row.folder.value):
                continue
            record = self._journal.get(kinds.PLAN, row.folder.value)
            if record is None:
                before = await site.fingerprint(moves.old_path(row.folder), "Measuring")
                move = await site.pace.run(moves.plan, site.root, row.folder, row.scope)
                record = self._journal.append(
                    kinds.PLAN,
                    row.folder.value,
                    scope=row.scope.value,
                    before=_dump(before),
                    **move.dump(),
                )
            move = Move.load(record)
            await site.pace.run(moves.carry, site.root, move.source, move.target, move.made)
            self._journal.append(kinds.MOVED, row.folder.value)
            total += 1
            site.tell(Progress("Moving", move.target, total))

    async def _tag(self, scope: MappedScope) -> None:
        """Let the storage do what it needs before limits can hold."""
        if self._journal.get(kinds.TAGGED, scope.id.hex.value) is None:
            await settle(self._site, self._request(scope))
            self._journal.append(kinds.TAGGED, scope.id.hex.value)

    def _request(self, scope: MappedScope) -> ScopeRequest:
        leave = Adoption(marked=False)  # whose marks count was checked before
        owner = self._site.owner(scope)
        return ScopeRequest(
            scope.id.hex,
            owner,
            Limits(),
            ref=self._refs[scope.id.hex],
            adoption=leave,
            must_exist=True,
        )

    async def _verify_all(self, scope: MappedScope) -> dict[str, str]:
        """Compare each folder with what it was; returns what differs, by folder."""
        wrong: dict[str, str] = {}
        for row in self._site.mapping.folders(scope.id.hex):
            key = row.folder.value
            record = self._journal.get(kinds.PLAN, key)
            if record is None or self._journal.get(kinds.VERIFIED, key) is not None:
                continue
            try:
                after = _dump(await self._site.fingerprint(record["target"], "Verifying"))
                difference = differences(record["before"], after)
            except (BackendError, Refused) as error:
                difference = str(error)
            if difference:
                wrong[key] = (
                    f"it is not what it was before the move: {difference}; somebody may have"
                    " written meanwhile: take the migration back with --rollback and try again"
                )
            else:
                self._journal.append(kinds.VERIFIED, key)
        return wrong

    async def _limit(self, scope: MappedScope) -> Limits:
        """Set the limits and return what the storage then shows."""
        site, hexes = self._site, scope.id.hex
        state = await site.backend.describe_scope(hexes)
        if self._journal.get(kinds.LIMITED, hexes.value) is not None:
            return state.limits
        wanted = scope.limits(state.limits)
        if scope.limits_said:
            check_usage(state, wanted)
            shown = (await site.backend.set_limits(hexes, site.owner(scope), wanted)).limits
            state = replace(state, limits=shown)
        for name, asked, shown_limit in (
            ("bytes", wanted.bytes, state.limits.bytes),
            ("files", wanted.files, state.limits.files),
        ):
            if asked is not None and shown_limit is None:
                raise Refused(
                    f"quota_{name} {asked}: this storage keeps no such limit; leave the column"
                    " empty to do without, or take the migration back"
                )
        limits = {"bytes": state.limits.bytes, "files": state.limits.files}
        self._journal.append(kinds.LIMITED, hexes.value, limits=limits)
        return state.limits

    async def _finish(self) -> None:
        site = self._site
        for record in self._journal.all(kinds.PLAN):
            for above in reversed(Move.load(record).above):
                await site.pace.run(moves.remove_empty, site.root, above.path)
        if self._write_version:
            before = await site.pace.run(files.read_small, site.root, VERSION_FILE)
            if self._journal.get(kinds.VERSION) is None:
                text = None if before is None else before.decode("utf-8", "surrogateescape")
                self._journal.append(kinds.VERSION, before=text)
            await site.pace.run(files.replace, site.root, site.root, VERSION_FILE, b"3\n", 0o644)
        self._journal.append(kinds.END, how="migrated")


def check_marks(place: ScopePlace, scope: ScopeHex, owner: Owner) -> None:
    """Raise NotOurs if a scope is marked for anybody but `owner`."""
    for holder in (place.owner, place.intent):
        if holder not in (None, owner):
            raise NotOurs(f"scope {scope} belongs to {holder}; this migration works for {owner}")


async def settle(site: Site, request: ScopeRequest) -> ScopeState:
    """Call `ensure_scope` until nothing is left to do.

    Raises:
        DeadlineExceeded: it showed no progress for too long.
    """
    last, since = -1, time.monotonic()
    while True:
        state = await site.backend.ensure_scope(request)
        if state.progress is None:
            return state
        site.tell(state.progress)
        if state.progress.done != last:
            last, since = state.progress.done, time.monotonic()
        elif time.monotonic() - since > site.stall_seconds:
            raise DeadlineExceeded(
                f"scope {request.scope}: {state.progress.message}; no progress for"
                f" {site.stall_seconds:g} s"
            )
        await asyncio.sleep(_PAUSE_SECONDS)


def check_usage(state: ScopeState, wanted: Limits) -> None:
    """Raise Refused if a limit would lie below what is used."""
    if state.usage is None:
        return
    for name, limit, used in (
        ("bytes", wanted.bytes, state.usage.bytes),
        ("files", wanted.files, state.usage.files),
    ):
        if limit is not None and used is not None and used > limit:
            raise Refused(
                f"quota_{name} {limit} is below the {used} in use; raise it in the mapping, or free"
                " some, and run this again"
            )


def differences(before: Record, after: Record) -> str:
    """Say in words what differs between two fingerprints; empty if nothing does."""
    told = [
        f"{name} {before[name]} -> {after[name]}"
        for name in ("inodes", "apparent", "owners")
        if before[name] != after[name]
    ]
    if before["digest"] != after["digest"] and not told:
        told.append("names, modes, times, links or extended attributes")
    return ", ".join(told)


def _dump(tally: Tally) -> Record:
    return {
        "allocated": tally.allocated,
        "apparent": tally.apparent,
        "inodes": tally.inodes,
        "owners": sorted([uid, gid, n] for (uid, gid), n in tally.owners.items()),
        "digest": f"{tally.digest or 0:064x}",
    }


def _tally(record: Record | None) -> Tally | None:
    if record is None:
        return None
    before = record["before"]
    return Tally(before["allocated"], before["apparent"], before["inodes"])
