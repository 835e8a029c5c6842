"""How kopf logs in: as our own client does, with an end to every credential.

kopf drops a credential after one 401 and refuses an equal one, which would end the operator after a
single spurious 401. With an expiration the next login differs, and rotated tokens are picked up.
"""

import datetime

import aiofiles
import kopf

from vfolder_operator.kube import Connection

LIFETIME = datetime.timedelta(minutes=5)


class Login:
    """A kopf login handler over the connection of our own client."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def log_in(self, **_: object) -> kopf.ConnectionInfo:
        """Return a fresh credential."""
        configuration, token = self._connection.configuration, None
        if self._connection.token_file:
            async with aiofiles.open(self._connection.token_file) as file:
                token = (await file.read()).strip()
        return kopf.ConnectionInfo(
            server=configuration.host or "",
            ca_path=configuration.ssl_ca_cert,
            scheme="Bearer" if token else None,
            token=token,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            expiration=datetime.datetime.now(datetime.UTC) + LIFETIME,
        )
