"""Which certificates an array may show."""

import ssl

from vfolder_backends.errors import Misconfigured


def context(ca_bundle: str, insecure_skip_verify: bool) -> ssl.SSLContext:
    """Return the settings for connections to one array.

    Args:
        ca_bundle: PEM certificates to trust in place of the system's; empty trusts the system's.
        insecure_skip_verify: accept any certificate.

    Raises:
        Misconfigured: the bundle holds no certificate that can be read.
    """
    try:
        made = ssl.create_default_context(cadata=ca_bundle or None)
    except (ssl.SSLError, ValueError) as error:
        raise Misconfigured(
            f"tls.caBundle: not certificates in PEM form ({error}); each begins with"
            " '-----BEGIN CERTIFICATE-----'"
        ) from error
    if insecure_skip_verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made
