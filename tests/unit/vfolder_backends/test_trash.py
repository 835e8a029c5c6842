import pytest

from vfolder_backends.ids import FolderHex
from vfolder_backends.trash import PurgePolicy

ONE, OTHER = FolderHex("1" * 32), FolderHex("2" * 32)


@pytest.mark.parametrize(
    ("policy", "folder", "since", "expires", "due"),
    [
        (PurgePolicy(before=100), ONE, 99, None, True),
        (PurgePolicy(before=100), ONE, 100, None, False),
        (PurgePolicy(before=100, now=500), ONE, 99, 501, False),
        (PurgePolicy(before=0, now=500), ONE, 499, 500, True),
        (PurgePolicy(before=100), ONE, 1, 2, False),  # who does not tell the time removes nothing
        (PurgePolicy(before=100, only=ONE), ONE, 99, 10_000, True),
        (PurgePolicy(before=100, only=ONE), ONE, 100, None, False),
        (PurgePolicy(before=100, now=10_000, only=ONE), OTHER, 1, 2, False),
    ],
)
def test_what_is_due(policy, folder, since, expires, due):
    assert policy.due(folder, since, expires) is due
