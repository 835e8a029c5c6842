"""What a simulated Storage Scale cluster shows of its objects."""

from typing import Any

from vfolder_backends.testing.arrays.disk import Used
from vfolder_backends.testing.arrays.gpfs.state import Fileset, Settings


def file_system(settings: Settings) -> dict[str, Any]:
    """The one there is."""
    return {
        "name": settings.name,
        "uuid": "0A0B0C0D:5F3C1E42",
        "mount": {
            "mountPoint": settings.mount_point,
            "status": settings.mount_status,
            "nodesMountedReadWrite": ["node1", "node2"],
        },
        "block": {"blockSize": 4 << 20},
        "quota": {
            "quotasAccountingEnabled": "user;group;fileset",
            "quotasEnforced": settings.enforced,
            "defaultQuotasEnabled": "none",
            "perfilesetQuotas": settings.per_fileset,
            "filesetdfEnabled": settings.fileset_df,
        },
    }


def pools(settings: Settings, used: int) -> list[dict[str, Any]]:
    """A pool for both, and one for data alone."""
    half = settings.total_kib // 2
    return [
        {
            "storagePoolName": "system",
            "totalDataInKB": half,
            "freeDataInKB": half - used,
            "totalMetaInKB": half,
            "freeMetaInKB": half,
        },
        {"storagePoolName": "data", "totalDataInKB": half, "freeDataInKB": half},
    ]


def fileset(found: Fileset, path: str, settings: Settings) -> dict[str, Any]:
    """A fileset; unlinked ones have no path."""
    config = {
        "filesetName": found.name,
        "filesystemName": settings.name,
        "path": path if found.linked else "--",
        "inodeSpace": found.number if found.independent else 0,
        "isInodeSpaceOwner": found.independent,
        "maxNumInodes": found.max_inodes,
        "id": found.number,
        "parentId": 0,
        "rootInode": found.inode,
        "status": "Linked" if found.linked else "Unlinked",
        "comment": found.comment,
        "created": "2026-11-02 09:00:00,000",
    }
    return {"filesetName": found.name, "filesystemName": settings.name, "config": config}


def quota(found: Fileset, used: Used | None, settings: Settings) -> dict[str, Any]:
    """A line of mmrepquota, sizes in KiB."""
    return {
        "quotaId": found.number,
        "quotaType": "FILESET",
        "filesystemName": settings.name,
        "filesetName": "",
        "objectName": found.name,
        "objectId": found.number,
        "blockUsage": used.bytes // 1024 if used else 0,
        "blockQuota": 0,
        "blockLimit": found.limit,
        "blockInDoubt": found.in_doubt,
        "blockGrace": "none",
        "filesUsage": used.files if used else 0,
        "filesQuota": 0,
        "filesLimit": found.files_limit,
        "filesInDoubt": 0,
        "filesGrace": "none",
        "isDefaultQuota": False,
    }


def other_quota(kind: str, found: Fileset, settings: Settings) -> dict[str, Any]:
    """A quota of a user or a group whose name is the fileset's, with figures of its own."""
    line = quota(found, None, settings)
    return {**line, "quotaType": kind, "blockUsage": 77, "blockLimit": 99, "filesLimit": 9}
