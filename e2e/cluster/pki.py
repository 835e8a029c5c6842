"""The certificates and kubeconfig files of one cluster, made by openssl."""

import base64
import json
from pathlib import Path

from e2e.cluster import commands

_DAYS = "3650"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "ca.crt"

    def create(self) -> None:
        """Make the folder, the authority, and the key that signs service account tokens."""
        self.folder.mkdir(mode=0o700)
        commands.run(
            *("openssl", "req", "-x509", *_NEW_KEY, "-days", _DAYS, "-subj", "/CN=vfolder-rig"),
            *("-keyout", self.key("ca"), "-out", self.certificate),
        )
        curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        tokens = self.key("service-accounts")
        commands.run("openssl", "genpkey", *curve, "-out", tokens)
        commands.run("openssl", "pkey", "-in", tokens, "-pubout", "-out", self.token_key)

    @property
    def token_key(self) -> Path:
        """The public key by which service account tokens are checked."""
        return self.folder / "service-accounts.pub"

    def key(self, name: str) -> Path:
        """The private key of `name`."""
        return self.folder / f"{name}.key"

    def cert(self, name: str) -> Path:
        """The certificate of `name`."""
        return self.folder / f"{name}.crt"

    def issue(self, name: str, subject: str, *alternative_names: str) -> None:
        """Make a key and a certificate for a client or server.

        Args:
            name: of the files.
            subject: in openssl's form, as in `/O=system:masters/CN=admin`.
            alternative_names: in openssl's form, as in `DNS:localhost` or `IP:127.0.0.1`.
        """
        extensions = [
            "keyUsage=digitalSignature,keyEncipherment",
            "extendedKeyUsage=serverAuth,clientAuth",
        ]
        if alternative_names:
            extensions.append(f"subjectAltName={','.join(alternative_names)}")
        request = self.folder / f"{name}.csr"
        extension_file = self.folder / f"{name}.ext"
        extension_file.write_text("\n".join(extensions))
        commands.run(
            *("openssl", "req", *_NEW_KEY, "-subj", subject),
            *("-keyout", self.key(name), "-out", request),
        )
        commands.run(
            *("openssl", "x509", "-req", "-in", request, "-days", _DAYS, "-CAcreateserial"),
            *("-CA", self.certificate, "-CAkey", self.key("ca"), "-extfile", extension_file),
            *("-out", self.cert(name)),
        )

    def write_kubeconfig(self, path: Path, server: str, name: str) -> None:
        """Write a kubeconfig for the client `name`; it holds its keys, so it can be copied."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "rig",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": _encoded(self.certificate),
                    },
                }
            ],
            "users": [
                {
                    "name": name,
                    "user": {
                        "client-certificate-data": _encoded(self.cert(name)),
                        "client-key-data": _encoded(self.key(name)),
                    },
                }
            ],
            "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": name}}],
            "current-context": "rig",
        }
        # JSON is YAML; the standard library writes only the former.
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1))


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
