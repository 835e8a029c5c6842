"""The way back: folders of a migration to where they were, limits, marks and directories undone.

It works from the journal alone, scope by scope, and may be killed and run again. Once an operator
has taken a folder, the way back is closed: the objects stand for where it is now.
"""

import os
from collections.abc import AsyncIterator

from vfolder_backends.adoption import journal as kinds
from vfolder_backends.adoption import moves, results
from vfolder_backends.adoption.failures import Refused
from vfolder_backends.adoption.journal import Record
from vfolder_backends.adoption.migration import Site, check_marks
from vfolder_backends.adoption.moves import Move
from vfolder_backends.adoption.results import Result
from vfolder_backends.adoption.scan import VERSION_FILE
from vfolder_backends.errors import BackendError
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import SCOPE_MARK
from vfolder_backends.port import Limits, Owner, Progress
from vfolder_backends.tree import files, marks, names, scopes
from vfolder_backends.tree.names import Kind


class Rollback:
    """One run back; the mapping is not needed."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._journal = site.journal
        self._failed = 0

    async def run(self) -> AsyncIterator[Result]:
        """Take back what was done, and yield a row for each folder.

        Raises:
            Refused: there is nothing to take back.
        """
        begin = self._journal.get(kinds.BEGIN)
        if begin is None:
            raise Refused(f"journal {self._journal.path} tells of no migration")
        end = self._journal.get(kinds.END)
        if end is not None and end["how"] == "returned":
            raise Refused(f"the run of journal {self._journal.path} was taken back before")
        if self._journal.get(kinds.ROLLBACK) is None:
            self._journal.append(kinds.ROLLBACK)
        for scope in self._journal.all(kinds.SCOPE):
            async for result in self._scope(scope, str(begin["cluster"])):
                self._failed += result.result == results.FAILED
                yield result
        if not self._failed:
            await self._restore_version()
            self._journal.append(kinds.END, how="returned")

    def _moves(self, scope: ScopeHex) -> list[Record]:
        return list(self._journal.all(kinds.PLAN, scope.value))

    async def _scope(self, record: Record, cluster: str) -> AsyncIterator[Result]:
        site, scope = self._site, ScopeHex(record["id"])
        owner = Owner(cluster, record["namespace"], record["name"])
        planned, problem = self._moves(scope), ""
        try:
            await self._check_ours(scope, owner)
            await self._unlimit(scope, owner, record)
            for move in planned:
                if self._journal.get(kinds.RETURNED, move["id"]) is None:
                    await self._move_back(move)
            await self._remove(scope, owner, record, [Move.load(move) for move in planned])
        except (BackendError, Refused) as error:
            problem = str(error)
        for move in planned:
            before = move["before"]
            yield Result(
                FolderHex(move["id"]).uuid,
                scope.uuid,
                before["allocated"],
                None,
                move["source"],
                move["target"],
                results.FAILED if problem else results.RETURNED,
                before["inodes"],
                None,
                problem,
            )
        site.tell(Progress("Returning", scope.value, len(planned)))

    async def _check_ours(self, scope: ScopeHex, owner: Owner) -> None:
        site = self._site
        check_marks(await site.pace.run(scopes.look, site.root, scope), scope, owner)
        taken = await site.pace.run(marks.folders, site.root, scope)
        if taken:
            raise Refused(
                f"scope {scope}: {len(taken)} of its folders were adopted since; delete their"
                " VFolders (with reclaimPolicy Retain) and take their marks off first"
            )

    async def _unlimit(self, scope: ScopeHex, owner: Owner, record: Record) -> None:
        """Give a scope that was there before its old limits back.

        The limits of any other go with it; they may not even be there yet, where a run was killed
        while the storage tagged.
        """
        site = self._site
        if not record["existed"] or self._journal.get(kinds.TAGGED, scope.value) is None:
            return
        place = await site.pace.run(scopes.look, site.root, scope)
        if place.present and place.owner == owner:
            before = record["limits"] or {}
            limits = Limits(before.get("bytes"), before.get("files"))
            await site.backend.set_limits(scope, owner, limits)

    async def _move_back(self, record: Record) -> None:
        site, move = self._site, Move.load(record)
        await site.pace.run(moves.carry, site.root, move.target, move.source, move.above)
        self._journal.append(kinds.RETURNED, record["id"])

    async def _remove(
        self, scope: ScopeHex, owner: Owner, record: Record, planned: list[Move]
    ) -> None:
        """Remove the empty directories and marks that the migration made."""
        site = self._site
        made = sorted({d.path for move in planned for d in move.made}, key=len, reverse=True)
        place = await site.pace.run(scopes.look, site.root, scope)
        if not record["existed"] and place.owner == owner:
            await site.backend.delete_scope(scope, owner)
            return
        for path in made:
            await site.pace.run(moves.remove_empty, site.root, path)
        if not record["existed"]:
            # Never marked, and gone now: what was reserved for it goes, too.
            await site.backend.delete_scope(scope, owner)
        if not record["marked"]:
            await site.pace.run(_unmark, site.root, scope, owner)

    async def _restore_version(self) -> None:
        record, site = self._journal.get(kinds.VERSION), self._site
        if record is None:
            return
        if record["before"] is None:
            await site.pace.run(_remove_version, site.root)
        else:
            text = record["before"].encode("utf-8", "surrogateescape")
            await site.pace.run(files.replace, site.root, site.root, VERSION_FILE, text, 0o644)


def _unmark(root: int, scope: ScopeHex, owner: Owner) -> None:
    scopes.drop_intent(root, scope)
    marks.remove(root, scope, SCOPE_MARK)
    names.forget(root, Kind.SCOPES, owner, scope.value)
    if scope in marks.scopes(root):
        marks.remove_directory(root, scope)


def _remove_version(root: int) -> None:
    try:
        os.unlink(VERSION_FILE, dir_fd=root)
    except FileNotFoundError:
        return
