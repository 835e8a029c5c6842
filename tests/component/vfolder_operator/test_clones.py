"""A folder that is a copy of another one, from the object to the bytes on a real tree."""

import asyncio
import pathlib

from operator_rig import Api, running_over

from vfolder_backends.registry import Registry
from vfolder_backends.testing.conformance.clone_operations import differences, plant
from vfolder_operator.kube import Kinds


async def test_a_clone_has_the_bytes_of_its_source_and_a_life_of_its_own(
    api: Api, tmp_path: pathlib.Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    async with running_over(api, Registry()):
        await api.backend({"type": "vfs", "operatorPath": str(root)})
        await api.scope({"minEnforcement": "None"})
        await api.folder()
        source = root / (await api.until_ready(Kinds.FOLDER, "data"))["status"]["path"]
        await asyncio.to_thread(plant, source, 50)
        await api.folder({"source": {"vfolder": "data"}}, name="copy")
        told = await api.until_ready(Kinds.FOLDER, "copy", 30)
        copy = root / told["status"]["path"]
        assert copy != source
        assert await asyncio.to_thread(differences, source, copy) == []
        claim = await api.get(Kinds.CLAIM, "copy")
        assert claim["status"]["phase"] == "Bound"
        (copy / "dir" / "file-0").write_text("a pod's")
        await api.delete(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.FOLDER, "data")
        await api.until_ready(Kinds.FOLDER, "copy")
        assert (copy / "dir" / "file-0").read_text() == "a pod's"
        assert (copy / "same").read_text() == "a pod's"
    noted = root / ".vfolder" / "clones"
    assert [path.name for path in noted.iterdir()] == ["lock"]
