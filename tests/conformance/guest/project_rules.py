"""What XFS and ext4 share: the suite on a real file system, and what only project quotas do."""

from pathlib import Path
from uuid import uuid4

import pytest

from tests.conformance.guest.project_ids import IdRules
from tests.conformance.guest.project_limits import LimitRules
from tests.conformance.guest.project_tagging import TaggingRules
from tests.conformance.guest.projects import (
    ProjectsUnderTest,
    project_of,
    scopes_in,
)
from vfolder_backends.testing.conformance import TreeConformance


class ProjectConformance(LimitRules, IdRules, TaggingRules, TreeConformance):
    """The suite, bound by `disk` (where it is mounted), `kind` and `refusal` (at a limit)."""

    kind = ""
    refusal = ""
    disk = Path()

    @pytest.fixture
    def storage(self):
        root = self.disk / uuid4().hex
        root.mkdir()
        yield ProjectsUnderTest(root, self.kind)
        if root.is_dir():
            ids = [project_of(place).id for place in scopes_in(root)]
            assert len(set(ids)) == len(ids), "one id for two scopes"
