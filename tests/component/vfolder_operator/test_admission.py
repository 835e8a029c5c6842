"""Bad input is refused by the API server, with a message that names the field."""

from typing import Any

import pytest
from operator_rig import BACKEND, FOLDER, SCOPE, Api

from vfolder_operator.kube import Body, Kinds

LONG = "x" * 41
UUID = "6f1c5b1e-90a6-4d0e-9b57-0a3f6f2f3a11"


def manifest(kind: Kinds, spec: Body, name: str = "bad") -> Body:
    resource = kind.value
    meta = {"name": name, **({"namespace": "team-a"} if resource.namespaced else {})}
    return {
        "apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "at least 1"),
        ("0", "at least 1"),
        ("-5Gi", "at least 1"),
        (-1, "at least 1"),
        ("0.5", "at least 1"),
        ("1500m", "at least 1"),
        ("16Ei", "2^63-1"),
        ("99999999999999999999", "2^63-1"),
        ("", "quantity"),
        ("many", "quantity"),
        ("unlimited", "Unlimited"),
        (True, "bytes"),
        (None, "bytes"),
    ],
)
async def test_bad_byte_limits(api: Api, value: Any, said: str) -> None:
    message = api.refused(manifest(Kinds.SCOPE, {"backend": "b", "limits": {"bytes": value}}))
    assert "spec.limits" in message
    assert said in message


@pytest.mark.parametrize("value", ["1", 1, "500Gi", "1.5Ti", "1e12", "Unlimited"])
async def test_good_byte_limits(api: Api, value: Any) -> None:
    await api.scope({"backend": "none", "limits": {"bytes": value}})


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "spec.limits.bytes: Required value"),
        ({"byte": "5Gi"}, "spec.limits.byte"),
        ({"bytes": "1Gi", "files": 0}, "spec.limits.files"),
        ({"bytes": "1Gi", "files": -3}, "spec.limits.files"),
        ({"bytes": "1Gi", "files": 1.5}, "spec.limits.files"),
        ({"bytes": "1Gi", "files": "many"}, "spec.limits.files"),
    ],
)
async def test_bad_limits(api: Api, limits: Body, said: str) -> None:
    assert said in api.refused(manifest(Kinds.SCOPE, {"backend": "b", "limits": limits}))


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        (Kinds.SCOPE, {**SCOPE, "scopeID": "project:../../etc"}, "spec.scopeID"),
        (Kinds.SCOPE, {**SCOPE, "scopeID": f"group:{UUID}"}, "spec.scopeID"),
        (Kinds.SCOPE, {**SCOPE, "scopeID": f"user:{UUID.upper()}"}, "spec.scopeID"),
        (Kinds.SCOPE, {**SCOPE, "scopeID": UUID}, "spec.scopeID"),
        (Kinds.SCOPE, {**SCOPE, "minEnforcement": "Hard"}, '"Enforced", "Delayed"'),
        (Kinds.SCOPE, {**SCOPE, "thresholds": [101]}, "spec.thresholds[0]"),
        (Kinds.SCOPE, {**SCOPE, "backend": "A_B"}, "spec.backend"),
        (Kinds.FOLDER, {**FOLDER, "folderID": "../x"}, "spec.folderID"),
        (Kinds.FOLDER, {**FOLDER, "folderID": f"{UUID}/x"}, "spec.folderID"),
        (Kinds.FOLDER, {**FOLDER, "folderID": UUID.upper()}, "spec.folderID"),
        (Kinds.FOLDER, {**FOLDER, "mode": "999"}, "spec.mode"),
        (Kinds.FOLDER, {**FOLDER, "owner": {"uid": -1, "gid": 0}}, "spec.owner.uid"),
        (Kinds.FOLDER, {**FOLDER, "owner": {"uid": 5}}, "spec.owner.gid"),
        (Kinds.FOLDER, {**FOLDER, "claim": {"size": "0"}}, "spec.claim.size"),
        (Kinds.FOLDER, {**FOLDER, "claim": {"accessModes": ["Any"]}}, "accessModes"),
        (Kinds.FOLDER, {**FOLDER, "claim": {"accessModes": []}}, "accessModes"),
        (Kinds.FOLDER, {}, "spec.quotaScope"),
        (Kinds.FOLDER, {**FOLDER, "trashRetention": "a while"}, "spec.trashRetention"),
        (Kinds.FOLDER, {**FOLDER, "source": {}}, "spec.source.vfolder"),
        (Kinds.FOLDER, {**FOLDER, "source": {"vfolder": "../x"}}, "spec.source.vfolder"),
        (Kinds.FOLDER, {**FOLDER, "source": {"vfolder": "bad"}}, "names the VFolder itself"),
        (
            Kinds.FOLDER,
            {**FOLDER, "source": {"vfolder": "x"}, "folderID": UUID},
            "give one of the two",
        ),
        (Kinds.BACKEND, {"type": "vfs"}, "exactly one of hostPath and mount"),
        (
            Kinds.BACKEND,
            {**BACKEND, "mount": {"fsType": "nfs", "source": "a:/b"}},
            "exactly one of hostPath and mount",
        ),
        (Kinds.BACKEND, {**BACKEND, "hostPath": "mnt"}, "spec.hostPath"),
        (Kinds.BACKEND, {**BACKEND, "hostPath": "/mnt/../etc"}, "components"),
        (Kinds.BACKEND, {**BACKEND, "trash": {"retention": "soon"}}, "spec.trash.retention"),
        (Kinds.BACKEND, {**BACKEND, "trash": {"maxEntriesPerSecond": 0}}, "maxEntriesPerSecond"),
        (Kinds.BACKEND, {**BACKEND, "drift": {"auditInterval": "1w"}}, "spec.drift.auditInterval"),
        (Kinds.BACKEND, {**BACKEND, "limits": {"maxConcurrent": 0}}, "maxConcurrent"),
        (Kinds.BACKEND, {**BACKEND, "parametres": {}}, "parametres"),
        (
            Kinds.BACKEND,
            {"type": "x", "mount": {"fsType": "nfs", "source": "a:/b", "options": ["soft"]}},
            "use hard",
        ),
    ],
)
async def test_bad_specs(api: Api, kind: Kinds, spec: Body, said: str) -> None:
    assert said in api.refused(manifest(kind, spec))


async def test_a_backend_name_must_fit_into_a_volume_handle(api: Api) -> None:
    assert "at most 40" in api.refused(manifest(Kinds.BACKEND, BACKEND, name=LONG))
    assert "at most 40" in api.refused(manifest(Kinds.BACKEND, BACKEND, name="a.b"))


@pytest.mark.parametrize(
    ("kind", "before", "after", "said"),
    [
        (Kinds.SCOPE, SCOPE, {**SCOPE, "backend": "other"}, "backend is immutable"),
        (Kinds.SCOPE, SCOPE, {**SCOPE, "scopeID": f"user:{UUID}"}, "scopeID is immutable"),
        (Kinds.FOLDER, FOLDER, {**FOLDER, "quotaScope": "x"}, "quotaScope is immutable"),
        (Kinds.FOLDER, FOLDER, {**FOLDER, "folderID": UUID}, "folderID is immutable"),
        (Kinds.FOLDER, FOLDER, {**FOLDER, "claim": {"name": "x"}}, "claim is immutable"),
        (Kinds.FOLDER, FOLDER, {**FOLDER, "source": {"vfolder": "x"}}, "source is immutable"),
        (
            Kinds.FOLDER,
            {**FOLDER, "source": {"vfolder": "x"}},
            {**FOLDER, "source": {"vfolder": "y"}},
            "source is immutable",
        ),
        (Kinds.BACKEND, BACKEND, {**BACKEND, "type": "other"}, "type is immutable"),
    ],
)
async def test_what_is_immutable(
    api: Api, kind: Kinds, before: Body, after: Body, said: str
) -> None:
    body = await api.apply(kind, "fixed", before)
    meta = body["metadata"]
    with pytest.raises(Exception, match=said):
        await api.kube.replace(kind, "fixed", meta.get("namespace", ""), {**body, "spec": after})


async def test_every_field_is_explained(api: Api) -> None:
    for kind in ("storagebackend", "quotascope", "vfolder"):
        text = await api.kubectl("explain", f"{kind}.spec", "--recursive")
        assert "limits" in text or "quotaScope" in text
        text = await api.kubectl("explain", f"{kind}.spec")
        assert "<no description>" not in text
        assert "<no description>" not in await api.kubectl("explain", f"{kind}.status")
