"""What of a request may be logged: everything except secrets.

Which fields are secret is read from the interface definition (`csi_secret`), so a field added there
is covered by itself. Tokens of the pod's service account arrive in the volume context, which
the definition does not mark.
"""

from collections.abc import Mapping
from typing import Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from vfolder_csi._proto import csi_pb2

TOKEN_KEYS: Final = ("csi.storage.k8s.io/serviceAccount.tokens",)


def _secret_fields() -> dict[str, tuple[str, ...]]:
    """Per message, the names of its secret fields."""
    found: dict[str, tuple[str, ...]] = {}
    messages: Mapping[str, Descriptor] = csi_pb2.DESCRIPTOR.message_types_by_name
    for name, message in messages.items():
        marked = [f.name for f in message.fields if f.GetOptions().Extensions[csi_pb2.csi_secret]]
        if marked:
            found[name] = tuple(marked)
    return found


SECRET_FIELDS: Final = _secret_fields()


def secret_values(request: Message) -> list[str]:
    """Return every value in the request that must not be shown."""
    values: list[str] = []
    for name in SECRET_FIELDS.get(request.DESCRIPTOR.name, ()):
        values.extend(getattr(request, name).values())
    context = getattr(request, "volume_context", {})
    values.extend(context[key] for key in TOKEN_KEYS if key in context)
    return values


def sanitised(request: Message) -> str:
    """Print a copy of the request without its secrets as one line of JSON."""
    copy = type(request)()
    copy.CopyFrom(request)
    for name in SECRET_FIELDS.get(request.DESCRIPTOR.name, ()):
        copy.ClearField(name)
    context = getattr(copy, "volume_context", {})
    for key in TOKEN_KEYS:
        if key in context:
            del context[key]
    return json_format.MessageToJson(copy, indent=None)
