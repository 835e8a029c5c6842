"""`vfolder-csi`: the node plugin's program. It takes no arguments, only `VFOLDER_CSI_*`."""

import asyncio
import logging
import os
import sys

from vfolder_csi import app, logs
from vfolder_csi.endpoint import EndpointError
from vfolder_csi.kubeapi import ApiServer
from vfolder_csi.settings import Settings


def main() -> None:
    """Run the node plugin; exits with 0 after a signal, otherwise with 1, or 2 for bad settings."""
    try:
        settings = Settings.from_environment(os.environ)
        api = ApiServer.from_environment(os.environ)
    except ValueError as error:
        sys.exit(_complain(str(error)))
    logs.configure(settings.log_level)
    try:
        status = asyncio.run(app.run(settings, api))
    except (EndpointError, OSError) as error:
        logging.getLogger("vfolder_csi").critical("cannot serve", extra={"error": str(error)})
        status = 1
    sys.exit(status)


def _complain(message: str) -> int:
    sys.stderr.write(f"vfolder-csi: {message}\n")
    return 2


if __name__ == "__main__":
    main()
