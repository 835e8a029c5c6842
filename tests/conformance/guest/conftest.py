"""Tests for a kernel with project quotas; `python -m e2e.tiers conformance` has guests for them.

Elsewhere they are not collected; those that somebody names by hand are skipped, and say why.
"""

import pytest

from e2e.guest import inside

collect_ignore_glob = [] if inside() else ["test_*.py"]


@pytest.fixture(scope="session")
def site():
    """A file server and its exports; one per guest."""
    from nfs_site import Site

    site = Site()
    yield site
    site.server.stop()


def pytest_collection_modifyitems(items):
    here = __file__.rpartition("/")[0]
    reason = "needs a guest: python -m e2e.guest run -- pytest ..."
    for item in items:
        if not inside() and str(item.path).startswith(here):
            item.add_marker(pytest.mark.skip(reason=reason))
