"""Names that appear in the cluster, each in one place."""

from typing import Final

GROUP: Final = "vfolder.dev"
VERSION: Final = "v1alpha1"
DRIVER: Final = "csi.vfolder.dev"
CONTROLLER: Final = "vfolder.dev/operator"
FINALIZER: Final = "vfolder.dev/data-protection"

ANNOTATION_ID: Final = "vfolder.dev/id"
"""The id of a scope or folder on the storage; lets a restored object find its data again."""

ANNOTATION_ROOT_ID: Final = "vfolder.dev/root-id"
"""On a StorageBackend: the id in the root mark."""

ANNOTATION_START_EMPTY: Final = "vfolder.dev/start-empty"
"""Set by people to the id that is given up, to start empty in its place."""

ANNOTATION_RESTORE: Final = "vfolder.dev/restore"
"""Set by people to the uuid of a deleted folder that shall come back under this VFolder."""

ANNOTATION_FORGET: Final = "vfolder.dev/forget"
"""Set by people to "true", to let an object go though its data could not be looked after."""

ANNOTATION_OBJECT: Final = "vfolder.dev/vfolder"
"""On a PersistentVolumeClaim or PersistentVolume of ours: namespace/name of its VFolder."""

ANNOTATION_OBJECT_UID: Final = "vfolder.dev/vfolder-uid"
"""On the same: the uid of that VFolder."""

LABEL_MANAGED: Final = "vfolder.dev/managed"
"""On PersistentVolumeClaims and PersistentVolumes of ours; what the operator watches by."""
