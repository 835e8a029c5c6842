"""Pods with our claims run in user namespaces where the site says so: on a real API server."""

import json
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml
from operator_rig import NAMESPACE, Api, condition, eventually, running_operator

from e2e.cluster import RigError
from e2e.cluster.commands import run
from vfolder_backends.testing.memory import MemoryFactory, MemoryStorage
from vfolder_operator.kube import Body, Kinds

CHART = pathlib.Path(__file__).parents[2] / "charts/vfolder"
POLICY = "vf-user-namespaces"
KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


@pytest.fixture
async def policy(api: Api, tmp_path: pathlib.Path) -> AsyncIterator[list[Body]]:
    """What the chart renders for it, installed."""
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps({"requireUserNamespaces": True}))
    text = run("helm", "template", "vf", CHART, "-n", "vfs", "--kube-version", "1.36.3", "-f", file)
    bodies = [b for b in yaml.safe_load_all(text) if b and b["kind"] in KINDS]
    assert len(bodies) == 2
    try:
        apply(api, *bodies)
        yield bodies
    finally:
        for kind in KINDS:
            await api.kubectl("delete", kind, POLICY, "--ignore-not-found")


def apply(api: Api, *bodies: Body) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(bodies)}
    api.control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(listed))


async def claim(api: Api, name: str, labels: dict[str, str] | None = None) -> None:
    spec = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    await api.apply(Kinds.CLAIM, name, spec, labels=labels or {})


def pod(*claims: str, **spec: Any) -> Body:
    return {
        "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "none"}],
        "volumes": [
            {"name": f"v{n}", "persistentVolumeClaim": {"claimName": name}}
            for n, name in enumerate(claims)
        ],
        **spec,
    }


async def refusal(api: Api, spec: Body) -> str:
    """What the API server says against a pod; empty if it takes it."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "p-", "namespace": NAMESPACE},
        "spec": spec,
    }
    try:
        api.control_plane.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    except RigError as error:
        return str(error)
    return ""


async def test_only_pods_with_our_claims_have_to_run_in_user_namespaces(
    api: Api, policy: list[Body]
) -> None:
    await claim(api, "data", {"vfolder.dev/managed": "true"})
    await claim(api, "more", {"vfolder.dev/managed": "true"})
    await claim(api, "theirs")
    said = ""

    async def in_force() -> bool:
        nonlocal said
        said = await refusal(api, pod("data"))
        return bool(said)

    await eventually(in_force, 30, lambda: "the policy is never in force")
    assert "claim data is a VFolder" in said
    assert "hostUsers: false" in said
    assert "more" in await refusal(api, pod("theirs", "more"))
    assert await refusal(api, pod("data", hostUsers=True))
    for spec in (
        pod("data", "more", hostUsers=False),
        pod("theirs"),
        pod("not-made-yet"),
        pod(),
        {k: v for k, v in pod().items() if k != "volumes"},
        {**pod(), "volumes": [{"name": "e", "emptyDir": {}}]},
    ):
        assert await refusal(api, spec) == ""


async def test_in_a_namespace_without_our_claims_nothing_is_asked(
    api: Api, policy: list[Body]
) -> None:
    await claim(api, "data", {"vfolder.dev/managed": "true"})

    async def in_force() -> bool:
        return bool(await refusal(api, pod("data")))

    await eventually(in_force, 30, lambda: "the policy is never in force")
    # A claim of that name in another namespace is somebody else's.
    await api.apply(Kinds.POD, "other", pod("data"), namespace="team-b")


async def test_what_is_promised_to_a_storage_is_looked_up(api: Api, policy: list[Body]) -> None:
    storage, factory = MemoryStorage(), MemoryFactory()
    settings = {"require_user_namespaces": True, "user_namespace_policy": POLICY}
    async with running_operator(api, storage, factory=factory, **settings):
        await api.backend()
        await api.until_ready(Kinds.BACKEND, "scratch")
        assert factory.built[-1].user_namespaces is True
        rendered, binding = policy
        weak = {**binding, "spec": {**binding["spec"], "validationActions": ["Warn"]}}
        apply(api, weak)
        told = await api.until_reason(Kinds.BACKEND, "scratch", "Warnings", "Healthy")
        assert "does not deny" in condition(told, "Healthy")["message"]
        assert condition(told, "Ready")["status"] == "True"
        assert factory.built[-1].user_namespaces is False
        apply(api, binding)
        await api.until_reason(Kinds.BACKEND, "scratch", "Healthy", "Healthy")
        assert factory.built[-1].user_namespaces is True
        await api.kubectl("delete", "ValidatingAdmissionPolicy", POLICY)
        told = await api.until_reason(Kinds.BACKEND, "scratch", "Warnings", "Healthy")
        assert "is not there" in condition(told, "Healthy")["message"]
        assert factory.built[-1].user_namespaces is False
        assert rendered["kind"] == "ValidatingAdmissionPolicy"


async def test_nobody_who_did_not_ask_is_promised_anything(api: Api, policy: list[Body]) -> None:
    factory = MemoryFactory()
    async with running_operator(api, MemoryStorage(), factory=factory):
        await api.backend()
        told = await api.until_ready(Kinds.BACKEND, "scratch")
        assert condition(told, "Healthy")["reason"] == "Healthy"
        assert factory.built[-1].user_namespaces is False
