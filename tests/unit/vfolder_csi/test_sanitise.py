import pytest
from google.protobuf.message import Message

from vfolder_csi._proto import csi_pb2
from vfolder_csi.sanitise import SECRET_FIELDS, sanitised, secret_values

MESSAGES = [
    getattr(csi_pb2, name)
    for name, descriptor in csi_pb2.DESCRIPTOR.message_types_by_name.items()
    if "secrets" in descriptor.fields_by_name
]


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.DESCRIPTOR.name)
def test_no_secret_is_printed(kind):
    request: Message = kind(secrets={"password": "planted"})
    assert secret_values(request) == ["planted"]
    assert "planted" not in sanitised(request)
    assert dict(request.secrets) == {"password": "planted"}, "the request itself is left alone"


def test_every_message_with_secrets_is_known():
    assert len(MESSAGES) == 14
    assert {kind.DESCRIPTOR.name for kind in MESSAGES} == set(SECRET_FIELDS)


def test_tokens_in_the_volume_context():
    tokens = "csi.storage.k8s.io/serviceAccount.tokens"
    request = csi_pb2.NodePublishVolumeRequest(
        volume_id="v", volume_context={tokens: "planted", "csi.storage.k8s.io/pod.name": "pod"}
    )
    assert secret_values(request) == ["planted"]
    assert "planted" not in sanitised(request)
    assert "pod.name" in sanitised(request)
    assert tokens in request.volume_context
