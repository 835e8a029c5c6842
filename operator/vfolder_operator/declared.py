"""The storages that the chart declares, applied when an operator begins to lead.

Helm cannot render objects of a kind whose CRD the same release installs, so the chart hands us the
specs as files. A storage that is no longer declared is left alone: data hangs on it.
"""

import json
import logging
import pathlib

import aiofiles
import aiofiles.os

from vfolder_operator.kube import Kinds, Kube, KubeError

log = logging.getLogger(__name__)

DECLARED_LABEL = "vfolder.dev/declared-by-chart"


async def apply_declared(kube: Kube, directory: str) -> None:
    """Apply every `<name>.json` of the directory; a refused one is logged and holds up no other."""
    if not directory:
        return
    for name in sorted(await aiofiles.os.listdir(directory)):
        if not name.endswith(".json"):
            continue
        async with aiofiles.open(pathlib.Path(directory, name)) as file:
            spec = json.loads(await file.read())
        body = {
            "metadata": {"name": name.removesuffix(".json"), "labels": {DECLARED_LABEL: "true"}},
            "spec": spec,
        }
        try:
            await kube.apply(Kinds.BACKEND, body)
        except KubeError as error:
            if not error.status:
                raise  # no answer is no refusal
            log.error("declared backend refused", extra={"file": name, "error": error.message})
