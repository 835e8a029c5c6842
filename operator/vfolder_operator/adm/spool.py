"""Objects on their way, in a temporary file: the StorageBackend comes first and is known last.

Written out as YAML, to standard output or into a directory, or created through the API server.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from vfolder_backends.adoption.verdicts import FolderObject, Outcome, ScopeObject, Verdict
from vfolder_operator.adm import manifests
from vfolder_operator.adm.storage import Described
from vfolder_operator.adm.world import UsageError
from vfolder_operator.kube import Body
from vfolder_operator.names import ANNOTATION_ROOT_ID

MOST_ADOPTIONS = 4096
"""As the schema of StorageBackend says."""


class Spool:
    """Collects manifests, scopes before their folders.

    Args:
        backend: the storage they are on.
        root_id: id in the root mark, empty where there is none yet.
        rebuilt: whether they come from marks of a lost cluster.
    """

    def __init__(self, backend: Described, root_id: str, *, rebuilt: bool) -> None:
        self._backend = backend
        self._root_id = root_id
        self._rebuilt = rebuilt
        self._file = tempfile.TemporaryFile(  # noqa: SIM115 - closed by `close`
            "w+", encoding="utf-8"
        )
        self._entries: list[Body] = []
        self.namespaces: set[str] = set()

    def close(self) -> None:
        """Drop them."""
        self._file.close()

    def add(self, verdict: Verdict) -> None:
        """Keep the object that a verdict leads to."""
        made = verdict.made
        if isinstance(made, ScopeObject):
            self.namespaces.add(made.namespace)
            manifest = manifests.scope_manifest(made, self._backend.name, rebuilt=self._rebuilt)
            entry = manifests.adoption_entry(made, rebuilt=self._rebuilt)
            known = [e.model_dump(by_alias=True) for e in self._backend.spec.adoptions]
            if verdict.outcome is Outcome.ADOPT and not any(
                entry.items() <= one.items() for one in known
            ):
                self._entries.append(entry)
        elif isinstance(made, FolderObject):
            manifest = manifests.folder_manifest(made, rebuilt=self._rebuilt)
        else:
            return
        self._file.write(json.dumps(manifest) + "\n")

    def objects(self) -> Iterator[Body]:
        """Yield what was kept, in order."""
        self._file.flush()
        self._file.seek(0)
        for line in self._file:
            yield json.loads(line)

    def backend(self) -> Body:
        """The StorageBackend with the entries that are needed.

        Raises:
            UsageError: more entries than a StorageBackend can have.
        """
        body = manifests.bare_backend(self._backend.body)
        entries = [*(body["spec"].get("adoptions") or []), *self._entries]
        if len(entries) > MOST_ADOPTIONS:
            raise UsageError(
                f"spec.adoptions would have {len(entries)} entries, {MOST_ADOPTIONS} may be; do it"
                " in parts with --scope, and remove entries of what is taken already"
            )
        if entries:
            body["spec"] = {**body["spec"], "adoptions": entries}
        if self._rebuilt:
            if body["spec"].get("allowedNamespaces") is None:
                allowed = manifests.only_namespaces(self.namespaces)
                body["spec"] = {**body["spec"], "allowedNamespaces": allowed}
            notes = body["metadata"].setdefault("annotations", {})
            notes[ANNOTATION_ROOT_ID] = self._root_id
        return body

    @property
    def new_entries(self) -> list[Body]:
        """The entries that the StorageBackend lacks."""
        return self._entries

    def write(self, where: str, out: TextIO, *, with_namespaces: bool) -> None:
        """Write all as YAML: `-` is `out`, all else a directory with a file per scope."""
        first = [manifests.namespace_manifest(n) for n in sorted(self.namespaces)]
        head = [self.backend(), *(first if with_namespaces else [])]
        if where == "-":
            for manifest in head:
                out.write(manifests.to_yaml(manifest))
            for manifest in self.objects():
                out.write(manifests.to_yaml(manifest))
            return
        folder = Path(where)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = "".join(map(manifests.to_yaml, head))
            (folder / "00-storagebackend.yaml").write_text(text)
            self._write_scopes(folder)
        except OSError as error:
            raise UsageError(f"--manifests {where}: cannot be written: {error}") from error

    def _write_scopes(self, folder: Path) -> None:
        file: TextIO | None = None
        try:
            for manifest in self.objects():
                if manifest["kind"] == "QuotaScope":
                    if file is not None:
                        file.close()
                    meta = manifest["metadata"]
                    file = (folder / f"10-{meta['namespace']}.{meta['name']}.yaml").open("w")
                if file is not None:
                    file.write(manifests.to_yaml(manifest))
        finally:
            if file is not None:
                file.close()
