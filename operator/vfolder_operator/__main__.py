"""The operator's command."""

import asyncio
import os
import sys

from pydantic import ValidationError

from vfolder_backends.registry import Registry
from vfolder_operator import logs
from vfolder_operator.app import Operator
from vfolder_operator.kube import Kube
from vfolder_operator.settings import Settings


async def _run(settings: Settings) -> None:
    kube = await Kube.connect(settings.kubeconfig)
    try:
        await Operator(settings, kube, Registry()).run()
    finally:
        await kube.close()


def main() -> None:
    """Read the settings and run until SIGTERM."""
    try:
        settings = Settings.from_environment(os.environ)
    except ValidationError as error:
        sys.exit(f"settings: {error}")
    logs.set_up(settings.log_level)
    asyncio.run(_run(settings))


if __name__ == "__main__":
    main()
