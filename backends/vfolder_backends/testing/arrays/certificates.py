"""Certificates for simulators: a private authority, and a server certificate that it signed."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server shows, and what its clients have to trust (PEM)."""

    context: ssl.SSLContext
    authority: str


def issue(*names: str) -> Certificate:
    """Return a certificate for host names and addresses, from an authority made for it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return Certificate(context, authority.cert_pem.bytes().decode())


def load(certificate: Path, key: Path) -> Certificate:
    """Return a certificate kept in files; the chain in it is what clients trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return Certificate(context, certificate.read_text())
