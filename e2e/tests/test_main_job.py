"""The main job: a budget, a folder, pods on two nodes, and the storage that says stop."""

import json

import pytest

from e2e.world import World, condition, folder, scope

pytestmark = pytest.mark.timeout(300)

NODE1, NODE2 = ({"spec": {"nodeName": f"node{n}"}} for n in (1, 2))

FILL = (
    "i=0; while [ $i -lt 64 ]; do"
    " head -c 1048576 /dev/zero > /data/$i || exit 3; sync /data/$i || exit 3; i=$((i+1)); done"
)


def ready_folder(site: World, team: str, limit: str = "64Mi", **spec: object) -> dict[str, object]:
    site.apply(scope(team, "research", limit), folder(team, "data", "research", **spec))
    return site.until_ready(team, "vfolder", "data")


def test_pods_on_both_nodes_read_each_others_writes(site: World, team: str) -> None:
    ready_folder(site, team)
    site.run_pod(team, "one", "data", "echo from one > /data/one; sleep 600", wait=False, **NODE1)
    site.run_pod(team, "two", "data", "echo from two > /data/two; sleep 600", wait=False, **NODE2)
    assert site.exec(team, "two", "cat /data/one").strip() == "from one"
    assert site.exec(team, "one", "cat /data/two").strip() == "from two"
    uid = site.get("-n", team, "pod", "one")["metadata"]["uid"]
    (mounted,) = [line for line in site.mounts_of("node1") if uid in line and "fuse" in line]
    assert "nosuid" in mounted
    assert "nodev" in mounted


def test_the_limit_stops_a_pod_until_it_is_raised_or_removed(site: World, team: str) -> None:
    ready_folder(site, team, "4Mi")
    site.run_pod(team, "writer", "data", "sleep 600", wait=False)
    said = site.exec(team, "writer", f"({FILL}) 2>&1 || echo stopped")
    assert "Disk quota exceeded" in said
    assert said.strip().endswith("stopped")
    site.apply(scope(team, "research", "12Mi"))
    site.until_ready(team, "quotascope", "research")
    site.exec(team, "writer", "head -c 2097152 /dev/zero > /data/more && sync /data/more")
    site.apply(scope(team, "research", "Unlimited"))
    body = site.until_ready(team, "quotascope", "research")
    assert body["status"]["limits"] == {}
    site.exec(team, "writer", "head -c 33554432 /dev/zero > /data/much && sync /data/much")


def test_a_file_limit_stops_a_pod(site: World, team: str) -> None:
    site.apply(scope(team, "research", "64Mi", files=12), folder(team, "data", "research"))
    site.until_ready(team, "vfolder", "data")
    log = site.run_pod(
        team,
        "maker",
        "data",
        "cd /data; for i in $(seq 40); do touch f$i || break; done 2>&1; ls | wc -l",
    )
    assert "Disk quota exceeded" in log
    assert int(log.split()[-1]) < 40


def test_owner_and_mode_let_a_user_in(site: World, team: str) -> None:
    ready_folder(site, team, owner={"uid": 1000, "gid": 2000}, mode="2770")
    user = {"spec": {"securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}}
    log = site.run_pod(
        team, "user", "data", "stat -c '%u %g %a' /data; echo x > /data/f; id", **user
    )
    assert log.startswith("1000 2000 2770")
    stranger = {"spec": {"securityContext": {"runAsUser": 4000, "runAsGroup": 4000}}}
    log = site.run_pod(team, "stranger", "data", "ls /data 2>&1 || echo refused", **stranger)
    assert "refused" in log


def test_sub_paths_and_read_only(site: World, team: str) -> None:
    ready_folder(site, team)
    site.run_pod(team, "whole", "data", "mkdir -p /data/a/b; echo deep > /data/a/b/f")
    log = site.run_pod(team, "part", "data", "cat /data/b/f", mount={"subPath": "a"})
    assert log.strip() == "deep"
    for how in ({"mount": {"readOnly": True}}, {"claim_source": {"readOnly": True}}):
        name = f"reader-{next(iter(how)).replace('_', '-')}"
        log = site.run_pod(
            team, name, "data", "cat /data/a/b/f; echo x > /data/x || echo ro", **how
        )
        assert log.split("\n")[0] == "deep"
        assert "ro" in log
        assert "Read-only file system" in site.cluster.kubectl("logs", "-n", team, name)


def test_kubectl_get_tells_the_truth(site: World, team: str) -> None:
    ready_folder(site, team, "8Mi")
    site.run_pod(team, "writer", "data", "head -c 4194304 /dev/zero > /data/f; sync /data/f")
    site.until(
        lambda: (
            (site.get("-n", team, "qs", "research")["status"].get("usage") or {}).get("percent")
            == 50
        ),
        "usage is told",
    )
    row = site.cluster.kubectl("get", "qs", "-n", team, "--no-headers").split()
    assert row[:5] == ["research", "scratch", "4Mi", "8Mi", "50"]
    assert "Cooperative" in row
    site.until(
        lambda: "4Mi" in site.cluster.kubectl("get", "vf", "-n", team, "--no-headers"),
        "the folder's usage is told",
    )


def test_the_wrong_order_is_only_a_matter_of_waiting(site: World, team: str) -> None:
    site.apply(folder(team, "data", "research"))
    site.until_reason(team, "vfolder", "data", "ScopeNotFound")
    late = scope(team, "research", "8Mi")
    late["spec"]["backend"] = "late"
    site.apply(late)
    site.until_reason(team, "quotascope", "research", "BackendNotFound")
    spec = site.get("sb", "scratch")["spec"]
    site.apply(
        {
            "apiVersion": "vfolder.dev/v1alpha1",
            "kind": "StorageBackend",
            "metadata": {"name": "late"},
            "spec": spec,
        }
    )
    site.until_ready(team, "vfolder", "data", seconds=20)
    assert site.run_pod(team, "reader", "data", "touch /data/x && echo fine").strip() == "fine"
    site.cluster.kubectl("delete", "pod,vf,qs", "--all", "-n", team)
    site.cluster.kubectl("delete", "sb", "late", "--timeout=30s")


def test_a_namespace_that_is_not_allowed(site: World) -> None:
    site.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "stranger"}})
    site.apply(scope("stranger", "research", "8Mi"))
    body = site.until_reason("stranger", "quotascope", "research", "NamespaceNotAllowed")
    assert "'stranger'" in condition(body, "Ready")["message"]
    site.cluster.kubectl("delete", "namespace", "stranger", "--timeout=60s", timeout=70)


def test_deleting_waits_for_the_pod_and_keeps_the_data_for_a_while(site: World, team: str) -> None:
    body = ready_folder(site, team)
    site.run_pod(team, "holder", "data", "echo precious > /data/f; sleep 600", wait=False)
    site.cluster.kubectl("delete", "vf", "data", "-n", team, "--wait=false")
    told = site.until_reason(team, "vfolder", "data", "ClaimInUse", "Deleting")
    assert "holder (Running)" in condition(told, "Deleting")["message"]
    assert site.exec(team, "holder", "cat /data/f").strip() == "precious"
    site.cluster.kubectl("delete", "pod", "holder", "-n", team)
    site.until(lambda: site.find("-n", team, "vf", "data") is None, "the folder goes")
    status = body["status"]
    assert isinstance(status, dict)
    place = site.ceph.operator_mount / str(status["path"])
    assert not place.exists()
    (trash,) = place.parent.glob(f".trash-{place.name}-*")
    assert (trash / "f").read_text() == "precious\n"


def test_a_restored_object_finds_its_data_and_a_forged_one_does_not(site: World, team: str) -> None:
    first = ready_folder(site, team, reclaimPolicy="Retain")
    site.run_pod(team, "writer", "data", "echo kept > /data/f")
    site.cluster.kubectl("delete", "pod", "--all", "-n", team)
    site.cluster.kubectl("delete", "vf", "data", "-n", team, "--timeout=60s")
    status = first["status"]
    assert isinstance(status, dict)
    annotations = {"vfolder.dev/id": status["folderID"]}
    forged = folder(team, "forged", "research")
    forged["metadata"]["annotations"] = annotations
    site.apply(forged)
    site.until_reason(team, "vfolder", "forged", "NotOurs")
    restored = folder(team, "data", "research", reclaimPolicy="Retain")
    restored["metadata"]["annotations"] = annotations
    site.apply(restored)
    site.until_ready(team, "vfolder", "data")
    assert site.run_pod(team, "reader", "data", "cat /data/f").strip() == "kept"


def test_a_scope_that_its_storage_cannot_enforce_is_refused(site: World, team: str) -> None:
    site.apply(scope(team, "strict", "8Mi", minEnforcement="Enforced"))
    body = site.until_reason(team, "quotascope", "strict", "EnforcementTooWeak")
    assert "allowed here: Cooperative" in condition(body, "Ready")["message"]
    assert "scopeID" not in json.dumps(body["status"])


def test_a_storage_that_the_operator_does_not_see_says_which_value_to_set(site: World) -> None:
    site.apply(
        {
            "apiVersion": "vfolder.dev/v1alpha1",
            "kind": "StorageBackend",
            "metadata": {"name": "unseen"},
            "spec": {"type": "vfs", "hostPath": "/mnt/unseen"},
        }
    )
    body = site.until_reason("default", "storagebackend", "unseen", "RootMissing")
    assert "backends.unseen.operatorVolume" in condition(body, "Ready")["message"]
    site.cluster.kubectl("delete", "sb", "unseen", "--timeout=30s")
