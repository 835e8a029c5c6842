"""docs/migrate.md, its commands run as they are written."""

import asyncio
import json
import pathlib
import re
import sys

import pytest
from operator_rig import Api, running_over

from e2e.cluster import commands
from vfolder_backends.registry import Registry
from vfolder_backends.testing.old_trees import OldFolder, plant, users_data, write_mapping
from vfolder_operator.kube import Kinds

ROOT = pathlib.Path(__file__).parents[3]
FOLDERS = [OldFolder.of(1, 1), OldFolder.of(1, 2), OldFolder.of(2, 1)]


def sections() -> dict[str, list[str]]:
    """The shell blocks under each heading."""
    parts = re.split(r"^## (.*)$", (ROOT / "docs/migrate.md").read_text(), flags=re.MULTILINE)
    return {
        title: re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


async def run(api: Api, cwd: pathlib.Path, script: str) -> None:
    """Run one block off the loop that the operator runs on."""
    env = commands.environment(
        {"ROOT": str(cwd / "root"), "KUBECONFIG": str(api.control_plane.kubeconfig)}
    )
    env["PATH"] = f"{pathlib.Path(sys.executable).parent}:{env['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euo",
        "pipefail",
        "-c",
        script,
        cwd=cwd,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(90):
        out, _ = await process.communicate()
    assert process.returncode == 0, f"{script}\n{out.decode()}"


@pytest.mark.timeout(240)
async def test_the_runbook_as_it_is_written(
    api: Api, other_cluster: Api, tmp_path: pathlib.Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for folder in FOLDERS:
        plant(root, folder, 2, owner=(1000, 1000))
    write_mapping(tmp_path / "folders.csv", FOLDERS)
    backend = {
        "apiVersion": "vfolder.dev/v1alpha1",
        "kind": "StorageBackend",
        "metadata": {"name": "scratch"},
        "spec": {
            "type": "vfs",
            "hostPath": "/mnt/scratch",
            "operatorPath": str(root),
            "allowedNamespaces": {},
        },
    }
    (tmp_path / "scratch.yaml").write_text(json.dumps(backend))
    before, blocks = users_data(root), sections()

    for block in blocks["What lies there"]:
        await run(api, tmp_path, block)
    assert users_data(root) == before
    for block in blocks["Layout 2 to layout 3"]:
        await run(api, tmp_path, block)
    assert all(folder.path(root, 3).is_dir() for folder in FOLDERS)
    back, again = blocks["The way back"]
    await run(api, tmp_path, back)
    assert users_data(root) == before
    await run(api, tmp_path, again)
    after = users_data(root)
    async with running_over(api, Registry()):
        for block in blocks["Adopt"]:
            await run(api, tmp_path, block)
        ready = [body async for body in api.kube.list(Kinds.FOLDER)]
        assert {body["metadata"]["name"] for body in ready} == {f.name for f in FOLDERS}
    async with running_over(other_cluster, Registry()):
        for block in blocks["After the loss of a whole cluster"]:
            await run(other_cluster, tmp_path, block)
        found = [
            body["status"]["volumeHandle"] async for body in other_cluster.kube.list(Kinds.FOLDER)
        ]
        assert sorted(found) == sorted(f"scratch/{f.scope}/{f.folder}" for f in FOLDERS)
    assert users_data(root) == after
