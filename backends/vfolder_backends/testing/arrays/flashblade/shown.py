"""The answers of a simulated FlashBlade that take many words."""

from typing import Any

from vfolder_backends.testing.arrays.flashblade.state import FileSystem, Settings

_DAY = 86400000
_NOW = 1700000000000
_REDUCTION = 2


def file_system(found: FileSystem) -> dict[str, Any]:
    """A file system as it is listed."""
    physical = found.virtual // _REDUCTION
    return {
        "id": found.id,
        "name": found.name,
        "created": _NOW,
        "provisioned": "" if found.provisioned is None else found.provisioned,
        "hard_limit_enabled": found.hard,
        "destroyed": found.destroyed,
        "time_remaining": _DAY if found.destroyed else None,
        "fast_remove_directory_enabled": found.fast_remove,
        "snapshot_directory_enabled": found.snapshots,
        "writable": True,
        "promotion_status": "promoted",
        "nfs": {"rules": found.rules, "v3_enabled": found.v3, "v4_1_enabled": found.v4},
        "space": {
            "data_reduction": float(_REDUCTION),
            "snapshots": 0,
            "total_physical": physical,
            "total_used": physical,
            "unique": physical,
            "virtual": found.virtual,
        },
    }


def array(settings: Settings) -> dict[str, Any]:
    """The array itself."""
    one = {
        "id": "4b1f3a52-6c5d-4a5e-8a3d-2f1d0c9b8a77",
        "name": "simulated",
        "os": settings.os,
        "version": "4.6.5",
        "revision": "2026.01.01_0",
        "idle_timeout": int(settings.idle_seconds * 1000),
        "product_type": "FlashBlade//S",
    }
    return {"items": [one], "total_item_count": 1}


def space(settings: Settings, used: int) -> dict[str, Any]:
    """Capacity of the array."""
    physical = used // _REDUCTION
    one = {
        "id": "4b1f3a52-6c5d-4a5e-8a3d-2f1d0c9b8a77",
        "name": "simulated",
        "capacity": settings.capacity,
        "parity": settings.parity,
        "space": {"total_used": physical, "total_physical": physical, "virtual": used},
        "time": _NOW,
    }
    return {"items": [one], "total_item_count": 1}


def performance() -> dict[str, Any]:
    """Rates of the array."""
    one = {
        "id": "4b1f3a52-6c5d-4a5e-8a3d-2f1d0c9b8a77",
        "name": "simulated",
        "reads_per_sec": 120.0,
        "writes_per_sec": 60.0,
        "others_per_sec": 20.0,
        "read_bytes_per_sec": 3145728.0,
        "write_bytes_per_sec": 1048576.0,
        "usec_per_read_op": 250.0,
        "usec_per_write_op": 500.0,
        "usec_per_other_op": 100.0,
        "bytes_per_op": 23301.0,
        "time": _NOW,
    }
    return {"items": [one], "total_item_count": 1}


def alerts(settings: Settings) -> dict[str, Any]:
    """Open alerts."""
    items = [
        {
            "id": f"{n}",
            "name": f"{n}",
            "severity": "critical",
            "state": "open",
            "summary": "a blade failed",
        }
        for n in range(settings.alerts)
    ]
    return {"items": items, "total_item_count": len(items)}
