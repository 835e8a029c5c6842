"""Each array, simulated in the cluster: its page's example, a pod that it stops, drift, and keys."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from e2e.arrays import SHOWN, SimulatedArray, page, simulated
from e2e.world import SYSTEM, Body, World, condition, folder, scope

pytestmark = pytest.mark.timeout(300)

MIB = 1 << 20
GOES = {"reclaimPolicy": "Delete"}
FILL = (
    "i=0; while [ $i -lt 64 ]; do"
    " head -c 1048576 /dev/zero > /data/$i || exit 3; sync /data/$i || exit 3; i=$((i+1)); done"
)


@pytest.fixture(scope="module")
def keyed(site: World) -> World:
    """The site, with an operator that may read the Secrets of all arrays."""
    secrets = [secret for kind in SHOWN for secret in page(kind)[:-1]]
    names = [secret["metadata"]["name"] for secret in secrets]
    site.install({"operator": {"secretNames": names}})
    return site


@pytest.fixture
def array(keyed: World, request: pytest.FixtureRequest) -> Iterator[SimulatedArray]:
    """An array of the test's kind; nobody said a wrong word to it, and no secret came out."""
    with simulated(keyed, request.param) as running:
        yield running
        violations, secrets = running.report()
        assert violations == []
        shown = everything(keyed)
        assert not [secret for secret in secrets if secret in shown]


def everything(site: World) -> str:
    """All that people without rights to Secrets may come to see."""
    kinds = "storagebackends,quotascopes,vfolders,persistentvolumes,persistentvolumeclaims,events"
    texts = [site.cluster.kubectl("get", kinds, "-A", "-o", "json")]
    for part in ("operator", "node"):
        selector = f"app.kubernetes.io/component={part}"
        texts.append(
            site.cluster.kubectl("logs", "-n", SYSTEM, "-l", selector, "--tail=-1", "--prefix")
        )
    ours = [words for words in command_lines() if "/opt/vfolder/bin/" in words]
    assert len(ours) >= 3, "two operators and a node plugin at least"
    return "".join([*texts, *ours])


def command_lines() -> Iterator[str]:
    """The arguments of all processes, those in containers too."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended
            yield place.read_text(errors="replace")


def limited(name: str, backend: str, limit: str) -> Body:
    body = scope(name, "research", limit)
    body["spec"] |= {"backend": backend, "reclaimPolicy": "Delete"}
    return body


@pytest.mark.parametrize("array", sorted(SHOWN), indirect=True)
def test_a_pod_is_stopped_by_the_array_and_drift_is_repaired(
    keyed: World, array: SimulatedArray, team: str
) -> None:
    site, (*secrets, backend) = keyed, array.manifests()
    name = backend["metadata"]["name"]
    site.apply(*secrets, backend)
    site.until_ready("default", "storagebackend", name)
    try:
        site.apply(limited(team, name, "4Mi"), folder(team, "data", "research", **GOES))
        site.until_ready(team, "vfolder", "data")
        ready = site.until_ready(team, "quotascope", "research")
        hexes = ready["status"]["scopeID"].partition(":")[2].replace("-", "")
        assert array.limit(hexes) == 4 * MIB

        site.run_pod(team, "writer", "data", "sleep 600", wait=False)
        said = site.exec(team, "writer", f"({FILL}) 2>&1 || echo stopped")
        assert "Disk quota exceeded" in said
        site.apply(limited(team, name, "12Mi"))
        site.until_ready(team, "quotascope", "research")
        site.exec(team, "writer", "head -c 2097152 /dev/zero > /data/more && sync /data/more")

        array.tamper(hexes, 1 << 30)
        site.until(lambda: array.limit(hexes) == 12 * MIB, "drift on the array is repaired", 60)
        reasons = site.cluster.kubectl("get", "events", "-n", team, "-o", "jsonpath={..reason}")
        assert "DriftRepaired" in reasons
        take_away(site, array, team, hexes)
    finally:
        site.cluster.kubectl("delete", "storagebackend", name, "--wait=false")


def take_away(site: World, array: SimulatedArray, team: str, hexes: str) -> None:
    """Folder and scope go by their objects, and from the array after them."""
    site.cluster.kubectl("delete", "pod", "-n", team, "writer", "--grace-period=0", "--force")
    for kind, name in (("vfolder", "data"), ("quotascope", "research")):
        site.cluster.kubectl("delete", kind, "-n", team, name, "--timeout=60s", timeout=90)
    site.until(lambda: array.limit(hexes) is None, "the scope goes from the array", 60)


@pytest.mark.parametrize("array", ["vast"], indirect=True)
def test_keys_are_rotated_and_a_wrong_authority_is_refused(
    keyed: World, array: SimulatedArray, team: str
) -> None:
    site, (secret, backend) = keyed, array.manifests()
    name = backend["metadata"]["name"]
    site.apply(secret, backend)
    site.until_ready("default", "storagebackend", name)
    try:
        array.ask("PUT", "/password", account="vfolder", password="rotated-by-hand")
        site.until_reason("default", "storagebackend", name, "PermissionDenied")
        secret["stringData"]["password"] = "rotated-by-hand"
        site.apply(secret)
        site.until_ready("default", "storagebackend", name)

        other = {**backend["spec"], "tls": {"caBundle": foreign_authority(site)}}
        site.apply({**backend, "spec": other})
        site.until(
            lambda: "tls.caBundle" in ready_message(site, name), "the wrong authority is told"
        )
        site.apply(backend)
        site.until_ready("default", "storagebackend", name)
        site.apply(limited(team, name, "4Mi"))
        site.until_ready(team, "quotascope", "research")
    finally:
        site.cluster.kubectl("delete", "quotascope", "-n", team, "--all", "--wait=false")
        site.cluster.kubectl("delete", "storagebackend", name, "--wait=false")


def ready_message(site: World, name: str) -> str:
    body = site.get("storagebackend", name)
    ready = condition(body, "Ready")
    return str(ready.get("message", "")) if ready.get("status") == "False" else ""


def foreign_authority(site: World) -> str:
    """The cluster's own: a certificate that is one, and has nothing to do with the array."""
    found = site.get("-n", "kube-system", "configmap", "kube-root-ca.crt")
    return str(found["data"]["ca.crt"])
