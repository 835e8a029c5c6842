"""The answers of a simulated OneFS cluster that take many words."""

from typing import Any

from vfolder_backends.testing.arrays.disk import Used
from vfolder_backends.testing.arrays.onefs.state import Quota, Settings

_BLOCK = 8192


def quota(quota: Quota, path: str, used: Used) -> dict[str, Any]:
    """A quota as it is listed."""
    thresholds: dict[str, Any] = {"soft_grace": quota.soft_grace}
    for name, value in (("hard", quota.hard), ("soft", quota.soft), ("advisory", quota.advisory)):
        thresholds[name] = value
        thresholds[f"{name}_exceeded"] = value is not None and used.bytes > value
        thresholds[f"{name}_last_exceeded"] = None
    logical = used.bytes if quota.ready else 0
    return {
        "container": quota.container,
        "enforced": quota.enforced,
        "id": quota.id,
        "include_snapshots": quota.include_snapshots,
        "linked": None,
        "notifications": "default",
        "path": path,
        "persona": None,
        "ready": quota.ready,
        "thresholds": thresholds,
        "thresholds_include_overhead": quota.overhead,
        "type": "directory",
        "usage": {
            "inodes": used.files if quota.ready else 0,
            "logical": logical,
            "physical": logical * 2 + _BLOCK,
        },
    }


def config(settings: Settings) -> dict[str, Any]:
    """Name, nodes and version of the cluster."""
    devices = [
        {"devid": n, "guid": f"{n:032x}", "is_up": n > settings.down, "lnn": n} for n in (1, 2, 3)
    ]
    return {
        "description": "",
        "devices": devices,
        "encoding": "utf-8",
        "guid": "00505697" + "0" * 28,
        "has_quorum": settings.quorum,
        "is_compliance": False,
        "is_virtual": True,
        "is_vonefs": False,
        "join_mode": "manual",
        "local_devid": 1,
        "local_lnn": 1,
        "local_serial": "SV200-930073-0000",
        "name": "simulated",
        "onefs_version": {
            "build": "B_8_0_1_SIM(RELEASE)",
            "copyright": "",
            "reldate": 800010000,
            "release": "v8.0.1.2",
            "revision": "0",
            "type": "Isilon OneFS",
            "version": "Isilon OneFS v8.0.1.2",
        },
        "timezone": {"abbreviation": "UTC", "custom": "", "name": "UTC", "path": "UTC"},
        "upgrade_type": None,
    }


def pools(settings: Settings, used: int) -> dict[str, Any]:
    """Node pools and the tier that is made of them; sizes are texts."""
    numbers = range(1, len(settings.pools) + 1)
    found = [
        _pool(n, "nodepool", total, used if n == 1 else 0)
        for n, total in zip(numbers, settings.pools, strict=True)
    ]
    tier = _pool(len(found) + 1, "tier", sum(settings.pools), used)
    return {"storagepools": [tier, *found], "total": len(found) + 1}


def _pool(number: int, kind: str, total: int, used: int) -> dict[str, Any]:
    usage: dict[str, Any] = {"balanced": True, "virtual_hot_spare_bytes": "0"}
    for name, value in (
        ("avail", total - used),
        ("free", total - used),
        ("total", total),
        ("usable", total),
        ("used", used),
    ):
        usage |= {
            f"{name}_bytes": str(value),
            f"{name}_hdd_bytes": "0",
            f"{name}_ssd_bytes": str(value),
        }
    share = f"{100 * used / total:.1f}"
    usage |= {"pct_used": share, "pct_used_hdd": "0", "pct_used_ssd": share}
    return {
        "can_enable_l3": False,
        "id": number,
        "l3": False,
        "l3_status": "storage",
        "lnns": [1, 2, 3],
        "name": f"{kind}{number}",
        "type": kind,
        "usage": usage,
    }


def statistics() -> dict[str, Any]:
    """Rates of two nodes; `onefs` in MB/s."""
    one = {
        "cpu": {"idle": 90.0, "system": 5.0, "user": 5.0},
        "disk": {"iops": 90.0, "read": 60.0, "write": 30.0},
        "network": {},
        "onefs": {"in": 1.5, "out": 3.0, "total": 4.5},
        "protocol": [],
        "time": 1700000000,
    }
    return {"protocol-stats": [one, one]}


def exports(settings: Settings, zone: str) -> dict[str, Any]:
    """NFS exports of the zone System; the others have none."""
    chosen = settings.exports if zone == "System" else []
    found = [
        {
            "id": number,
            "paths": [export.path],
            "clients": list(export.clients),
            "root_clients": [],
            "all_dirs": True,
            "map_root": {"enabled": export.squash, "user": {"id": "USER:nobody"}},
            "zone": zone,
        }
        for number, export in enumerate(chosen, 1)
    ]
    return {"exports": found, "resume": None, "total": len(found)}


def job(number: int, state: str) -> dict[str, Any]:
    """A QuotaScan job."""
    return {
        "create_time": 1700000000,
        "current_phase": 1,
        "id": number,
        "impact": "Low",
        "policy": "LOW",
        "priority": 6,
        "retries_remaining": 0,
        "state": state,
        "total_phases": 2,
        "type": "QuotaScan",
    }
