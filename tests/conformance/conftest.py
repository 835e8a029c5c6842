import pytest

# The suites are shipped with the product, so pytest does not see them as test modules of its own.
pytest.register_assert_rewrite("vfolder_backends.testing")
