"""An array behind the operator: who it is, who we are to it, and what people are shown of both."""

import json
import logging
import pathlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from operator_rig import Api, condition, eventually, running_over

from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest, served
from vfolder_backends.testing.arrays.certificates import issue
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.arrays.vast.simulator import make
from vfolder_backends.testing.secrecy import listening
from vfolder_operator.app import Operator
from vfolder_operator.kube import Body, Kinds

SYSTEM = "vfolder-system"
NEW_PASSWORD = "planted-and-rotated"


@pytest.fixture(autouse=True)
def capped(caplog: pytest.LogCaptureFixture) -> None:
    """As in the operator: this library prints whole answers of the API server."""
    caplog.set_level(logging.WARNING, "kubernetes_asyncio")


@pytest.fixture
def array(tmp_path: pathlib.Path) -> Iterator[ArrayUnderTest]:
    with served(
        ArrayUnderTest, make(tmp_path), {"username": "vfolder", "password": "simulated-vast"}
    ) as it:
        yield it
        assert it.array.violations == []


@asynccontextmanager
async def operated(api: Api, array: ArrayUnderTest) -> AsyncIterator[Operator]:
    """An operator over the array; in the end nothing that anybody can read holds a secret."""
    await set_credentials(api, array.config.credentials)
    try:
        with listening() as texts:
            async with running_over(api, Registry(), call_seconds=5.0) as operator:
                await api.backend(described(array))
                yield operator
                for kind in SHOWN:
                    texts.texts += [json.dumps(body) async for body in api.kube.list(kind)]
        assert any("array call" in text for text in texts.texts)
        assert texts.leaks(array.array.secrets) == []
    finally:
        await api.delete(Kinds.SECRET, "array", SYSTEM)


SHOWN = (Kinds.BACKEND, Kinds.SCOPE, Kinds.FOLDER, Kinds.CLAIM, Kinds.VOLUME, Kinds.EVENT)


def described(array: ArrayUnderTest, **tls: object) -> Body:
    config = array.config
    return {
        "type": "vast",
        "hostPath": "/mnt/scratch",
        "operatorPath": str(array.root),
        "endpoint": config.endpoint,
        "credentialsSecretRef": {"name": "array"},
        "tls": tls or {"caBundle": config.ca_bundle},
        "parameters": dict(array.parameters()),
    }


async def set_credentials(api: Api, values: object) -> None:
    body = {"stringData": dict(values)}  # type: ignore[call-overload]
    if await api.kube.find(Kinds.SECRET, "array", SYSTEM) is None:
        await api.kube.create(Kinds.SECRET, {"metadata": {"name": "array"}, **body}, SYSTEM)
    else:
        await api.kube.patch(Kinds.SECRET, "array", SYSTEM, body)


async def test_a_scope_on_an_array_and_its_limit(api: Api, array: ArrayUnderTest) -> None:
    async with operated(api, array):
        await api.scope()
        await api.folder()
        await api.until_ready(Kinds.FOLDER, "data")
        (held,) = array.held().values()
        assert held.bytes == 1 << 30
        backend = await api.until_ready(Kinds.BACKEND, "scratch")
        assert backend["status"]["link"] == {"circuit": "Closed"}
        assert condition(backend, "TLSVerified")["status"] == "True"


async def test_credentials_are_rotated_by_changing_the_secret(
    api: Api, array: ArrayUnderTest
) -> None:
    async with operated(api, array):
        await api.until_ready(Kinds.BACKEND, "scratch")
        with array.array.lock:
            array.array.tokens.rotate("vfolder", NEW_PASSWORD)
        told = await api.until_reason(Kinds.BACKEND, "scratch", "PermissionDenied")
        assert "credentials" in condition(told, "Ready")["message"]
        await set_credentials(api, {"password": NEW_PASSWORD})
        await api.until_ready(Kinds.BACKEND, "scratch", 30)
        await api.scope()
        await api.until_ready(Kinds.SCOPE, "research")


async def test_a_wrong_authority_is_refused_by_the_name_of_the_field(
    api: Api, array: ArrayUnderTest
) -> None:
    async with operated(api, array):
        await api.until_ready(Kinds.BACKEND, "scratch")
        before = sum(array.array.served.values())
        await api.backend(described(array, caBundle=issue("localhost").authority))
        told = await api.until(
            Kinds.BACKEND,
            "scratch",
            lambda b: "tls.caBundle" in condition(b, "Ready").get("message", ""),
        )
        assert condition(told, "Ready")["status"] == "False"
        assert sum(array.array.served.values()) - before < 20, "calls of the storage before it"
        await api.backend(described(array))
        await api.until_ready(Kinds.BACKEND, "scratch")


async def test_certificates_that_are_not_checked_are_warned_of(
    api: Api, array: ArrayUnderTest
) -> None:
    async with operated(api, array):
        await api.backend(described(array, insecureSkipVerify=True))
        told = await api.until_reason(Kinds.BACKEND, "scratch", "InsecureSkipVerify", "TLSVerified")
        assert condition(told, "TLSVerified")["status"] == "False"
        assert condition(told, "Ready")["status"] == "True"

        async def warned() -> bool:
            events = [e["reason"] async for e in api.kube.list(Kinds.EVENT, "default")]
            return "InsecureSkipVerify" in events

        await eventually(warned, 10, lambda: "no event")


async def test_an_array_that_is_gone_is_left_alone_and_that_is_shown(
    api: Api, array: ArrayUnderTest
) -> None:
    async with operated(api, array) as site:
        await api.until_ready(Kinds.BACKEND, "scratch")
        await api.until(Kinds.BACKEND, "scratch", lambda b: "link" in b["status"])
        text = site.probes.metrics.render().decode()
        assert 'vfolder_backend_circuit_open{backend="scratch"} 0.0' in text
        assert (
            'vfolder_storage_operations_per_second{backend="scratch",operation="read"} 120.0'
            in text
        )
        array.array.faults.arm(Fault(Kind.RESET, times=10_000))
        await api.until(
            Kinds.BACKEND,
            "scratch",
            lambda b: (
                b["status"]["link"]["circuit"] == "Open"
                and condition(b, "Ready")["status"] == "False"
            ),
            30,
        )
        text = site.probes.metrics.render().decode()
        assert 'vfolder_backend_circuit_open{backend="scratch"} 1.0' in text
        (failures,) = [
            line
            for line in text.splitlines()
            if line.startswith("vfolder_backend_call_failures_total")
        ]
        assert float(failures.split()[1]) >= 5
        array.array.calm()
        back = await api.until_ready(Kinds.BACKEND, "scratch", 60)
        assert back["status"]["link"] == {"circuit": "Closed"}


async def test_an_array_that_is_too_old_is_told_by_a_reason_of_its_own(
    api: Api, array: ArrayUnderTest
) -> None:
    array.array.settings.version = "4.6.0.1"
    async with operated(api, array):
        told = await api.until_reason(Kinds.BACKEND, "scratch", "VersionTooOld")
        assert "4.7 or newer" in condition(told, "Ready")["message"]
        await api.scope()
        await api.until_reason(Kinds.SCOPE, "research", "BackendNotReady")
        assert array.held() == {}
