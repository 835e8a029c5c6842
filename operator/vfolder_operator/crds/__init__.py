"""Our three kinds as pydantic models: what handlers parse, and what the CRDs are generated from."""

from vfolder_operator.crds.backend import StorageBackendSpec, StorageBackendStatus
from vfolder_operator.crds.folder import VFolderSpec, VFolderStatus
from vfolder_operator.crds.scope import QuotaScopeSpec, QuotaScopeStatus

__all__ = [
    "QuotaScopeSpec",
    "QuotaScopeStatus",
    "StorageBackendSpec",
    "StorageBackendStatus",
    "VFolderSpec",
    "VFolderStatus",
]
