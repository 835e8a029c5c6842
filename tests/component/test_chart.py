"""The chart renders what was meant: rights, security contexts, and a clear word for bad values."""

import json
import pathlib
from typing import Any

import pytest
import yaml

from e2e.cluster import ControlPlane, RigError
from e2e.cluster.commands import run

CHART = pathlib.Path(__file__).parents[2] / "charts/vfolder"
SCRATCH = {
    "backends": {
        "scratch": {
            "operatorVolume": {"hostPath": {"path": "/mnt/scratch"}},
            "spec": {"type": "cephfs", "hostPath": "/mnt/scratch"},
        }
    }
}

Body = dict[str, Any]


def render(tmp_path: pathlib.Path, values: Body) -> list[Body]:
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps(values))
    text = run("helm", "template", "vf", CHART, "-n", "vfs", "--kube-version", "1.36.3", "-f", file)
    return [body for body in yaml.safe_load_all(text) if body]


def one(bodies: list[Body], kind: str, name: str = "") -> Body:
    (found,) = [b for b in bodies if b["kind"] == kind and name in b["metadata"]["name"]]
    return found


def test_it_lints(tmp_path: pathlib.Path) -> None:
    run("helm", "lint", CHART, "--strict", "--kube-version", "1.36.3")


def test_nobody_gets_wildcards_or_all_secrets(tmp_path: pathlib.Path) -> None:
    bodies = render(tmp_path, {**SCRATCH, "operator": {"secretNames": ["filer"]}})
    roles = [b for b in bodies if b["kind"] in ("ClusterRole", "Role")]
    assert len(roles) == 7
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
            if "secrets" in rule["resources"]:
                assert role["kind"] == "Role"
                assert rule["resourceNames"] == ["filer"]
                assert rule["verbs"] == ["get"]
            if "storagebackends" in rule["resources"] and "vf-operator" not in str(role):
                assert set(rule["verbs"]) <= {"get", "list", "watch"}
    assert not any("secrets" in str(r["rules"]) for r in map(_rules, render(tmp_path, SCRATCH)))


def _rules(body: Body) -> Body:
    return {"rules": body.get("rules", [])}


def test_the_operator_is_root_only_where_it_works_on_a_tree(tmp_path: pathlib.Path) -> None:
    pod = one(render(tmp_path, {}), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    pod = one(render(tmp_path, SCRATCH), "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsUser"] == 0
    assert set(container["securityContext"]["capabilities"]["add"]) == {
        "CHOWN", "FOWNER", "FSETID", "DAC_OVERRIDE",
    }  # fmt: skip
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    mount = {m["name"]: m for m in container["volumeMounts"]}["backend-scratch"]
    assert mount["mountPath"] == "/backends/scratch"
    assert mount["mountPropagation"] == "HostToContainer"


def test_only_project_quotas_cost_the_operator_more(tmp_path: pathlib.Path) -> None:
    for kind, wanted in (("cephfs", False), ("vfs", False), ("xfs", True), ("ext4", True)):
        spec = {**SCRATCH["backends"]["scratch"]["spec"], "type": kind}
        values = {"backends": {"scratch": {**SCRATCH["backends"]["scratch"], "spec": spec}}}
        pod = one(render(tmp_path, values), "Deployment")["spec"]["template"]["spec"]
        added = pod["containers"][0]["securityContext"]["capabilities"]["add"]
        assert ("SYS_ADMIN" in added) is wanted, kind


def test_the_ledger_is_the_only_config_map_that_is_written(tmp_path: pathlib.Path) -> None:
    bodies = render(tmp_path, SCRATCH)
    rules = [
        (role["kind"], rule)
        for role in bodies
        for rule in role.get("rules", [])
        if "configmaps" in rule["resources"]
    ]
    assert [(kind, rule.get("resourceNames"), rule["verbs"]) for kind, rule in rules] == [
        ("Role", None, ["create"]),
        ("Role", ["vf-operator-ledger"], ["get", "update"]),
    ]
    container = one(bodies, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    environment = {e["name"]: e.get("value") for e in container["env"]}
    assert environment["VFOLDER_OPERATOR_LEDGER"] == "vf-operator-ledger"


def test_user_namespaces_are_required_only_where_the_site_says_so(tmp_path: pathlib.Path) -> None:
    policies = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for asked in (False, True):
        bodies = render(tmp_path, {**SCRATCH, "requireUserNamespaces": asked})
        assert (policies <= {b["kind"] for b in bodies}) is asked
        rights = [
            (rule["resources"], rule["verbs"], rule.get("resourceNames"))
            for b in bodies
            if b["metadata"]["name"] in ("vf-node", "vf-operator")
            for rule in b.get("rules", [])
        ]
        assert ((["pods"], ["get"], None) in rights) is asked
        named = [names for kinds, _, names in rights if "validatingadmissionpolicies" in kinds]
        assert named == ([["vf-user-namespaces"]] if asked else [])
        for kind, name in (("Deployment", "OPERATOR"), ("DaemonSet", "CSI")):
            container = one(bodies, kind)["spec"]["template"]["spec"]["containers"][0]
            environment = {e["name"]: e.get("value") for e in container["env"]}
            said = environment[f"VFOLDER_{name}_REQUIRE_USER_NAMESPACES"]
            assert said == ("true" if asked else "false")


def test_the_node_plugin_sees_the_kubelet_and_the_host_roots(tmp_path: pathlib.Path) -> None:
    values = {"node": {"kubeletDir": "/data/kubelet", "hostRoots": ["/mnt", "/gpfs"]}}
    pod = one(render(tmp_path, values), "DaemonSet")["spec"]["template"]["spec"]
    assert pod["hostNetwork"] is True
    mounts = {
        m["mountPath"]: m.get("mountPropagation") for m in pod["containers"][0]["volumeMounts"]
    }
    assert mounts["/data/kubelet"] == "Bidirectional"
    assert mounts["/mnt"] == mounts["/gpfs"] == "HostToContainer"
    assert len(pod["containers"]) == 1, "a sidecar"
    driver = one(render(tmp_path, {}), "CSIDriver")["spec"]
    assert driver == {
        "attachRequired": False,
        "podInfoOnMount": True,
        "fsGroupPolicy": "None",
        "volumeLifecycleModes": ["Persistent"],
    }


def test_crds_are_kept_or_left_out_as_asked(tmp_path: pathlib.Path) -> None:
    crds = [b for b in render(tmp_path, {}) if b["kind"] == "CustomResourceDefinition"]
    assert len(crds) == 3
    assert all(c["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for c in crds)
    crds = [
        b
        for b in render(tmp_path, {"crds": {"keep": False}})
        if b["kind"] == "CustomResourceDefinition"
    ]
    assert not any("annotations" in c["metadata"] for c in crds)
    assert "CustomResourceDefinition" not in str(render(tmp_path, {"crds": {"enabled": False}}))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"oprator": {}}, "oprator"),
        ({"operator": {"replica": 1}}, "replica"),
        ({"node": {"hostRoots": ["mnt"]}}, "hostRoots"),
        ({"node": {"hostRoots": []}}, "hostRoots"),
        ({"backends": {"Bad_Name": {"spec": {"type": "vfs"}}}}, "Bad_Name"),
        ({"backends": {"a": {"spec": {}}}}, "type"),
        ({"requireUserNamespaces": "no"}, "requireUserNamespaces"),
        ({"backends": {"a": {"spec": {"type": "vfs"}, "volume": {}}}}, "volume"),
    ],
)
def test_bad_values_are_refused_by_name(tmp_path: pathlib.Path, values: Body, said: str) -> None:
    with pytest.raises(RigError, match=said):
        render(tmp_path, values)


def test_the_api_server_takes_all_of_it(
    control_plane: ControlPlane, tmp_path: pathlib.Path
) -> None:
    values = {**SCRATCH, "requireUserNamespaces": True}
    bodies = [b for b in render(tmp_path, values) if b["kind"] != "CustomResourceDefinition"]
    control_plane.kubectl("create", "namespace", "vfs")
    try:
        listed = {"apiVersion": "v1", "kind": "List", "items": bodies}
        control_plane.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(listed))
    finally:
        control_plane.kubectl("delete", "namespace", "vfs", "--wait=false")


def test_a_backend_for_which_the_chart_is_right_is_applied_by_the_operator(
    tmp_path: pathlib.Path,
) -> None:
    data = one(render(tmp_path, SCRATCH), "ConfigMap")["data"]
    assert json.loads(data["scratch.json"]) == SCRATCH["backends"]["scratch"]["spec"]
