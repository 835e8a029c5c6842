"""What a StorageBackend of type `flashblade` says in `parameters`."""

import ipaddress
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from vfolder_backends.config import Options

_NAME: Final = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9.-]*")  # of a host or, with @, a netgroup


def _clients(text: str) -> str:
    """Check a list of export clients: addresses, networks, host names, netgroups; never all."""
    found = text.split()
    if not found:
        raise ValueError("must name at least one client")
    for client in found:
        try:
            network = ipaddress.ip_network(client)
        except ValueError:
            if not _NAME.fullmatch(client) or re.fullmatch(r"[0-9./]+", client):
                raise ValueError(
                    f"{client!r} is neither an address, a network, a host name nor a @netgroup;"
                    " wildcards are refused"
                ) from None
            continue
        if network.prefixlen == 0:
            raise ValueError(f"{client!r} is everybody: name the networks that need it")
    return " ".join(found)


class FlashBladeOptions(Options):
    """How scopes are exported, and how the operator sees them.

    FlashBlade limits file systems, not directories, so each scope is a file system of its own,
    named by the scope's id.
    """

    operator_clients: Annotated[
        str,
        AfterValidator(_clients),
        Field(
            alias="operatorClients",
            description="Whence the operator's node mounts file systems: addresses, networks, hosts"
            " or @netgroups, separated by spaces; exported to them with rw,no_root_squash.",
        ),
    ]
    node_clients: Annotated[
        str,
        AfterValidator(_clients),
        Field(
            alias="nodeClients",
            description="The same for the nodes of pods, with rw,root_squash.",
        ),
    ]
    protocol: Annotated[
        Literal["NFSv3", "NFSv4.1"], Field(description="By which file systems are exported.")
    ] = "NFSv4.1"
    view: Annotated[
        Literal["Automount", "Directories"],
        Field(
            description="How operatorPath shows each file system under its name. Automount: it is"
            " an autofs map, the only thing of which it is sure that it shows nothing in place of"
            " what is not mounted. Directories: something else sees to that; for the simulator."
        ),
    ] = "Automount"
    eradicate: Annotated[
        bool,
        Field(
            description="Eradicate the file system of a deleted scope at once, in place of leaving"
            " it, destroyed and recoverable, to the array's eradication delay."
        ),
    ] = False

    @property
    def rules(self) -> str:
        """The export rules of each file system."""
        inside = [f"{client}(rw,no_root_squash)" for client in self.operator_clients.split()]
        return " ".join(
            [*inside, *(f"{client}(rw,root_squash)" for client in self.node_clients.split())]
        )
