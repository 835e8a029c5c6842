"""The suite on a simulated WEKA cluster over HTTPS, and what only WEKA does."""

import pytest

from vfolder_backends.testing.array_storage import ArrayUnderTest, served
from vfolder_backends.testing.arrays.weka.simulator import make
from vfolder_backends.testing.conformance import ArrayConformance


class WekaUnderTest(ArrayUnderTest):
    async def tamper(self, scope, limits):
        with self.array.lock:
            for quota in self.array.state.quotas.values():
                if quota.hint.endswith(scope.value):
                    quota.hard = limits.bytes or 0


class TestWeka(ArrayConformance):
    @pytest.fixture
    def storage(self, tmp_path):
        credentials = {"username": "vfolder", "password": "simulated-weka"}
        with served(WekaUnderTest, make(tmp_path), credentials, {"fileSystem": "default"}) as made:
            yield made
