"""Whether every pod that gets a folder runs in a user namespace of its own.

Where the owner of a file could change its project id, a limit holds only if that owner is nobody on
the node: in a user namespace other than the node's the kernel does not let him. The chart installs
an admission policy that asks for `hostUsers: false`; what it is worth is looked up, not believed.
"""

from typing import Any

from vfolder_operator.kube import Body, Kinds, Kube, Refused
from vfolder_operator.names import LABEL_MANAGED
from vfolder_operator.settings import Settings


class UserNamespaces:
    """Looks whether the policy and its binding are there, and deny."""

    def __init__(self, kube: Kube, settings: Settings) -> None:
        self._kube = kube
        self._settings = settings

    async def missing(self) -> str:
        """What is missing, in words; empty if nothing is, or if nobody asked for it.

        Raises:
            KubeError: the API server did not answer; nothing is known then.
        """
        if not self._settings.require_user_namespaces:
            return ""
        name = self._settings.user_namespace_policy
        try:
            policy = await self._kube.find(Kinds.POLICY, name)
            binding = await self._kube.find(Kinds.POLICY_BINDING, name)
        except Refused as error:
            return (
                f"requireUserNamespaces: the policy {name!r} may not be read ({error.message}); "
                "limits count as Cooperative"
            )
        fault = policy_fault(policy) or binding_fault(binding, name)
        return fault and (
            f"requireUserNamespaces: {fault}; until the chart's objects are back, limits that need "
            "it count as Cooperative"
        )


def policy_fault(policy: Body | None) -> str:
    """What keeps the policy from refusing pods, in words; empty for nothing."""
    if policy is None:
        return "the ValidatingAdmissionPolicy is not there"
    spec = policy["spec"]
    rules = _dig(spec, "matchConstraints", "resourceRules") or []
    covers = any(
        "pods" in (rule.get("resources") or []) and "CREATE" in (rule.get("operations") or [])
        for rule in rules
    )
    if not covers:
        return "the ValidatingAdmissionPolicy does not look at pods that are created"
    if _narrowed(spec.get("matchConstraints")) or spec.get("matchConditions"):
        return "the ValidatingAdmissionPolicy leaves some pods out"
    if spec.get("failurePolicy", "Fail") != "Fail":
        return "the ValidatingAdmissionPolicy lets pass what it cannot decide"
    if not any("hostUsers" in v.get("expression", "") for v in spec.get("validations") or []):
        return "the ValidatingAdmissionPolicy does not ask for hostUsers: false"
    return ""


def binding_fault(binding: Body | None, policy: str) -> str:
    """What keeps the policy of that name from being in force everywhere, in words."""
    if binding is None:
        return "the ValidatingAdmissionPolicyBinding is not there"
    spec = binding["spec"]
    if spec.get("policyName") != policy:
        return "the ValidatingAdmissionPolicyBinding is one of another policy"
    if "Deny" not in (spec.get("validationActions") or []):
        return "the ValidatingAdmissionPolicyBinding does not deny"
    if _narrowed(spec.get("matchResources")):
        return "the ValidatingAdmissionPolicyBinding leaves some pods out"
    if _dig(spec, "paramRef", "selector", "matchLabels") != {LABEL_MANAGED: "true"}:
        return "the ValidatingAdmissionPolicyBinding does not look at our claims"
    return ""


def _narrowed(match: Body | None) -> bool:
    match = match or {}
    selectors = (match.get("namespaceSelector"), match.get("objectSelector"))
    return any(selectors) or bool(match.get("excludeResourceRules"))


def _dig(body: Body, *path: str) -> Any:
    for part in path:
        body = (body or {}).get(part) or {}
    return body or None
