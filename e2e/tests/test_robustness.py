"""Restarts, kills and lost mounts under running pods; upgrade and uninstall at the end."""

import pytest

from e2e.cluster import RigError
from e2e.cluster.ceph import OPERATOR
from e2e.world import RELEASE, SYSTEM, World, condition, folder, pod, scope

pytestmark = pytest.mark.timeout(300)

STEADY = (
    "n=0; while :; do n=$((n+1)); echo $n > /data/count || echo FAILED >> /tmp/errors;"
    " cat /data/count > /dev/null || echo FAILED >> /tmp/errors; sleep 0.05; done"
)


def steady_writer(site: World, team: str) -> None:
    """A pod that writes and reads all the time, and notes every error."""
    site.apply(scope(team, "research", "64Mi"), folder(team, "data", "research"))
    site.until_ready(team, "vfolder", "data")
    site.run_pod(team, "steady", "data", STEADY, wait=False)
    until_counts(site, team)


def until_counts(site: World, team: str) -> None:
    """The writer goes on, and met no error."""
    counts: list[int] = []

    def goes_on() -> bool:
        try:
            said = site.exec(team, "steady", "cat /data/count")
        except RigError:
            return False  # kubelet is not back yet; the pod itself notes what it meets
        counts.append(int(said.strip() or 0))
        return counts[-1] > counts[0] + 5

    site.until(goes_on, "the pod goes on writing")
    assert site.exec(team, "steady", "cat /tmp/errors 2>/dev/null; true") == ""


def pods_of(site: World, component: str) -> list[str]:
    selector = f"app.kubernetes.io/component={component}"
    items = site.get("pods", "-n", SYSTEM, "-l", selector)["items"]
    return [item["metadata"]["name"] for item in items]


def until_running(site: World, component: str, count: int, but: list[str]) -> None:
    def running() -> bool:
        selector = f"app.kubernetes.io/component={component}"
        items = site.get("pods", "-n", SYSTEM, "-l", selector)["items"]
        fresh = [i for i in items if i["metadata"]["name"] not in but]
        return len(fresh) == count and all(
            condition(i, "Ready").get("status") == "True" for i in fresh
        )

    site.until(running, f"{count} fresh {component} pods", 90)


def test_the_node_plugin_may_die_under_a_writing_pod(site: World, team: str) -> None:
    steady_writer(site, team)
    old = pods_of(site, "node")
    site.cluster.kubectl("delete", "pod", *old, "-n", SYSTEM, "--grace-period=0", "--force")
    until_counts(site, team)
    until_running(site, "node", 2, but=old)
    until_counts(site, team)
    assert site.run_pod(team, "next", "data", "cat /data/count").strip().isdigit()
    site.cluster.kubectl("delete", "pod", "steady", "next", "-n", team)
    left = [
        line
        for node in site.cluster.nodes
        for line in site.mounts_of(node.name)
        if f"/{team}" in line or "csi.vfolder.dev/mount" in line
    ]
    assert left == []


def test_kubelet_may_restart_under_a_writing_pod(site: World, team: str) -> None:
    steady_writer(site, team)
    node = site.get("-n", team, "pod", "steady")["spec"]["nodeName"]
    kubelet = site.cluster.process(node, "kubelet")
    site.cluster.supervisor.stop(kubelet)
    site.cluster.supervisor.start(kubelet)
    site.until(
        lambda: condition(site.get("node", node), "Ready").get("status") == "True", "node Ready"
    )
    until_counts(site, team)
    fixed = {"spec": {"nodeName": node}}
    assert site.run_pod(team, "next", "data", "echo up", **fixed).strip() == "up"


def test_the_operator_may_die_in_the_middle_of_fifty_folders(site: World, team: str) -> None:
    site.apply(scope(team, "research", "64Mi"))
    site.until_ready(team, "quotascope", "research")
    names = [f"f{n}" for n in range(50)]
    site.apply(*(folder(team, name, "research") for name in names))
    site.until(lambda: ready_count(site, team) >= 5, "the first are Ready")
    old = pods_of(site, "operator")
    site.cluster.kubectl("delete", "pod", *old, "-n", SYSTEM, "--grace-period=0", "--force")
    site.until(lambda: ready_count(site, team) == 50, "all are Ready", 120)
    body = site.get("-n", team, "qs", "research")
    on_storage = list(
        (site.ceph.operator_mount / body["status"]["path"]).glob("[0-9a-f][0-9a-f]/*/*")
    )
    assert len(on_storage) == 50, "a folder was doubled or lost"
    assert not list((site.ceph.operator_mount / body["status"]["path"]).glob("*/*/.new-*"))
    volumes = [v for v in site.get("pv")["items"] if v["spec"]["claimRef"]["namespace"] == team]
    assert len(volumes) == 50
    until_running(site, "operator", 2, but=old)


def ready_count(site: World, team: str) -> int:
    items = site.get("-n", team, "vf")["items"]
    return sum(condition(item, "Ready").get("status") == "True" for item in items)


def test_a_storage_that_is_not_mounted_is_not_an_empty_one(site: World, team: str) -> None:
    site.apply(scope(team, "research", "64Mi"), folder(team, "data", "research"))
    body = site.until_ready(team, "vfolder", "data")
    place = site.ceph.operator_mount / body["status"]["path"]
    site.ceph.unmount(site.ceph.operator_mount)
    try:
        site.until_reason("default", "storagebackend", "scratch", "RootLost")
        site.apply(folder(team, "more", "research"))
        site.until_reason(team, "vfolder", "more", "ScopeNotReady")
        site.cluster.kubectl("delete", "vf", "data", "-n", team, "--wait=false")
        site.until_reason(team, "vfolder", "data", "RootLost", "Deleting")
        assert list(site.ceph.operator_mount.iterdir()) == [], "something was made below the mount"
    finally:
        site.ceph.mount(OPERATOR, site.ceph.operator_mount)
    site.until(lambda: site.find("-n", team, "vf", "data") is None, "the deletion goes on", 90)
    site.until_ready(team, "vfolder", "more", 90)
    assert list(place.parent.glob(f".trash-{place.name}-*")), "it went to the trash"


def test_pods_do_not_start_on_a_node_whose_storage_is_gone(site: World, team: str) -> None:
    spec = site.get("sb", "scratch")["spec"]
    elsewhere = f"{site.ceph.node_mount.parent}/elsewhere"
    moved = {
        "apiVersion": "vfolder.dev/v1alpha1",
        "kind": "StorageBackend",
        "metadata": {"name": "moved"},
        "spec": {**spec, "hostPath": elsewhere, "operatorPath": spec["operatorPath"]},
    }
    site.apply(
        moved, scope(team, "research", "64Mi", backend="moved"), folder(team, "data", "research")
    )
    site.until_ready(team, "vfolder", "data")
    site.apply(pod(team, "early", "data", "true"))
    site.until(
        lambda: elsewhere in site.cluster.kubectl("describe", "pod", "early", "-n", team),
        "the pod is told why it does not start",
        90,
    )
    assert site.phase(team, "early") == "Pending"
    moved["spec"]["hostPath"] = spec["hostPath"]
    site.apply(moved)
    site.until(lambda: site.phase(team, "early") == "Succeeded", "the pod starts", 180)
    site.cluster.kubectl("delete", "pod,vf,qs", "--all", "-n", team)
    site.cluster.kubectl("delete", "sb", "moved", "--timeout=60s", timeout=70)


def test_a_namespace_with_everything_in_it_goes_away(site: World, team: str) -> None:
    steady_writer(site, team)
    site.cluster.kubectl("delete", "namespace", team, "--timeout=90s", timeout=100)
    volumes = [v for v in site.get("pv")["items"] if v["spec"]["claimRef"]["namespace"] == team]
    assert volumes == []


def test_a_namespace_with_trash_in_a_full_scope_goes_away_and_its_storage_is_freed(
    site: World, team: str
) -> None:
    site.apply(scope(team, "research", "16Mi", files=40, reclaimPolicy="Delete"))
    for name in ("data", "trashed"):
        site.apply(folder(team, name, "research", trashRetention="5s"))
        site.until_ready(team, "vfolder", name)
    fill = "dd if=/dev/zero of=/data/big bs=1M count=32; for n in $(seq 99); do : > /data/$n; done"
    site.run_pod(team, "filler", "trashed", f"{fill}; true")
    site.run_pod(team, "steady", "data", STEADY, wait=False)
    place = site.ceph.operator_mount / site.get("-n", team, "qs", "research")["status"]["path"]
    site.cluster.kubectl("delete", "pod", "filler", "-n", team)
    site.cluster.kubectl("delete", "vf", "trashed", "-n", team, "--timeout=60s", timeout=70)
    site.cluster.kubectl("delete", "namespace", team, "--timeout=90s", timeout=100)
    site.until(lambda: not place.exists(), "the scope goes after its trash", 120)


def test_a_deleted_folder_comes_back_with_its_data(site: World, team: str) -> None:
    site.apply(scope(team, "research", "64Mi"), folder(team, "data", "research"))
    made = site.until_ready(team, "vfolder", "data")
    site.run_pod(team, "writer", "data", "echo precious > /data/file")
    site.cluster.kubectl("delete", "pod", "writer", "-n", team)
    site.cluster.kubectl("delete", "vf", "data", "-n", team, "--timeout=60s", timeout=70)
    again = folder(team, "data", "research")
    again["metadata"]["annotations"] = {"vfolder.dev/restore": made["status"]["folderID"]}
    site.apply(again)
    back = site.until_ready(team, "vfolder", "data")
    assert back["status"]["volumeHandle"] == made["status"]["volumeHandle"]
    assert site.run_pod(team, "reader", "data", "cat /data/file").strip() == "precious"


def test_an_upgrade_with_changed_values_leaves_pods_alone(site: World, team: str) -> None:
    steady_writer(site, team)
    old = [*pods_of(site, "operator"), *pods_of(site, "node")]
    site.install({"operator": {"logLevel": "DEBUG"}, "node": {"logLevel": "DEBUG"}})
    until_running(site, "operator", 2, but=old)
    until_running(site, "node", 2, but=old)
    until_counts(site, team)
    site.apply(folder(team, "after", "research"))
    site.until_ready(team, "vfolder", "after")


def test_uninstalling_leaves_data_and_pods_and_says_so(site: World, team: str) -> None:
    """The last one: it takes VFolder away, and brings it back."""
    steady_writer(site, team)
    said = site.cluster.run("helm", "uninstall", RELEASE, "-n", SYSTEM, "--wait")
    assert "vfolders.vfolder.dev" in said, "helm tells what is kept"
    until_counts(site, team)
    assert site.get("-n", team, "vf", "data")["status"]["phase"] == "Ready"
    said = site.install()
    assert "Uninstalling alone leaves all data" in said
    site.until_ready("default", "storagebackend", "scratch")
    site.apply(folder(team, "again", "research"))
    site.until_ready(team, "vfolder", "again")
    until_counts(site, team)
