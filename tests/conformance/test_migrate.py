import pytest

from vfolder_backends.testing.conformance.migrate_rules import MigrateRules
from vfolder_backends.testing.storages import TreeUnderTest


class TestMigrateOnVfs(MigrateRules):
    @pytest.fixture
    def storage(self, tmp_path):
        root = tmp_path / "root"
        root.mkdir()
        return TreeUnderTest(root)
