"""What a plugin looks like whose vendor library is not installed."""

import a_vendor_library_that_is_not_installed  # noqa: F401
