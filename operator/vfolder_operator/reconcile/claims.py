"""The PersistentVolumeClaim and PersistentVolume by which pods use a folder.

Bound without waiting for the controller manager's slow client where that is safe: the claim is made
first, then the volume with the claim's uid in its claimRef. Once the controller manager has moved
the volume out of Pending it holds the volume in its cache, and only then the claim is marked as
bound; a claim marked earlier could be announced as lost. That is three writes of ours and one of
the controller manager's per folder.
"""

from dataclasses import dataclass

from vfolder_backends.ids import VolumeHandle
from vfolder_backends.sizes import format_bytes
from vfolder_operator.crds.folder import ClaimSpec, VFolderSpec
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Body, Conflict, Kinds, Kube, Refused
from vfolder_operator.names import (
    ANNOTATION_OBJECT,
    ANNOTATION_OBJECT_UID,
    DRIVER,
    LABEL_MANAGED,
)
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.store import Key, Store

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"

BINDING_QUIET = 15.0
"""Seconds of binding that are no news: the controller manager works through a queue."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A claim as it is wanted.

    Attributes:
        size: nominal size as a quantity.
        secret_namespace: where the mount Secret lies, the operator's own namespace.
    """

    folder: Key
    folder_uid: str
    spec: VFolderSpec
    handle: VolumeHandle
    size: str
    secret_namespace: str

    @property
    def claim_key(self) -> Key:
        """The claim's key."""
        return Key(Kinds.CLAIM, self.folder.namespace, claim_name(self.spec, self.folder.name))

    @property
    def volume_key(self) -> Key:
        """The volume's key; made from the folder's id, so it is the same after any crash."""
        return Key(Kinds.VOLUME, "", volume_name(self.handle))

    def ours(self, body: Body) -> bool:
        """Whether a claim or volume was made for this VFolder, or for the one it was restored from.

        A claim has to name the folder's volume, too: VFolders may ask for one claim name twice.
        """
        annotations = body["metadata"].get("annotations") or {}
        named = annotations.get(ANNOTATION_OBJECT) == f"{self.folder.namespace}/{self.folder.name}"
        if body.get("kind") == Kinds.CLAIM.value.kind or "volumeName" in body["spec"]:
            return named and body["spec"].get("volumeName") == self.volume_key.name
        return named and body["spec"].get("csi", {}).get("volumeHandle") == str(self.handle)

    def current(self, body: Body) -> bool:
        """Whether one of ours carries this very object's uid; a restored object has a new one."""
        annotations = body["metadata"].get("annotations") or {}
        return annotations.get(ANNOTATION_OBJECT_UID) == self.folder_uid

    def meta(self, name: str) -> Body:
        """Metadata that a claim and a volume share."""
        return {
            "name": name,
            "labels": {LABEL_MANAGED: "true"},
            "annotations": {
                ANNOTATION_OBJECT: f"{self.folder.namespace}/{self.folder.name}",
                ANNOTATION_OBJECT_UID: self.folder_uid,
            },
        }


def claim_name(spec: VFolderSpec, folder: str) -> str:
    """The name of a VFolder's claim."""
    return spec.claim.name or folder


def volume_name(handle: VolumeHandle) -> str:
    """The name of a folder's volume."""
    return f"vfolder-{handle.folder}"


class Claims:
    """Makes, keeps and removes claims and their volumes."""

    def __init__(self, kube: Kube, store: Store) -> None:
        self._kube = kube
        self._store = store

    async def ensure(self, request: ClaimRequest, backend: Attached) -> None:
        """Return once the claim is bound to the folder's volume.

        Raises:
            Hold: it is not yet, or cannot be; nobody else's claim is ever touched.
        """
        claim = await self._claim(request)
        volume = await self._volume(request, claim, backend)
        phase = volume.get("status", {}).get("phase", "Pending")
        if claim.get("status", {}).get("phase") == "Bound" and phase == "Bound":
            return
        if phase != "Bound":
            raise _binding(request)
        await self._mark_bound(request, claim)

    async def _claim(self, request: ClaimRequest) -> Body:
        key = request.claim_key
        claim = self._store.get(key)
        if claim is None:
            claim = await self._create_claim(request)
        if not request.ours(claim):
            raise Hold(
                "ClaimConflict",
                f"a PersistentVolumeClaim {key.name} that is not ours exists; remove it, or "
                "make a VFolder with another spec.claim.name",
            )
        if not request.current(claim):
            claim = await self._take_over(Kinds.CLAIM, key, request)
        if claim["metadata"].get("deletionTimestamp"):
            raise Hold(
                "ClaimTerminating",
                f"PersistentVolumeClaim {key.name} is being deleted; it is made again afterwards",
            )
        return claim

    async def _create_claim(self, request: ClaimRequest) -> Body:
        key, spec = request.claim_key, request.spec.claim
        body: Body = {
            "metadata": request.meta(key.name),
            "spec": {
                "storageClassName": "",
                "volumeName": request.volume_key.name,
                "accessModes": list(spec.access_modes),
                "resources": {"requests": {"storage": request.size}},
            },
        }
        try:
            claim = await self._kube.create(Kinds.CLAIM, body, key.namespace)
        except Refused as error:
            raise Hold(
                "ClaimRefused", f"PersistentVolumeClaim {key.name}: {error.message}"
            ) from error
        except Conflict:
            return await self._kube.get(Kinds.CLAIM, key.name, key.namespace)
        self._store.put(Kinds.CLAIM, claim)
        return claim

    async def _take_over(self, kind: Kinds, key: Key, request: ClaimRequest) -> Body:
        """Let what was made for the object we were restored from be ours."""
        patch = {"metadata": {"annotations": request.meta("")["annotations"]}}
        body = await self._kube.patch(kind, key.name, key.namespace, patch)
        self._store.put(kind, body)
        return body

    async def _volume(self, request: ClaimRequest, claim: Body, backend: Attached) -> Body:
        key = request.volume_key
        volume = self._store.get(key)
        if volume is None:
            body = volume_body(request, claim, backend)
            try:
                volume = await self._kube.create(Kinds.VOLUME, body)
            except Conflict:
                volume = await self._kube.get(Kinds.VOLUME, key.name)
            self._store.put(Kinds.VOLUME, volume)
        if not request.ours(volume):
            raise Hold(
                "VolumeConflict",
                f"PersistentVolume {key.name} exists and is not for {request.handle}",
            )
        if volume["metadata"].get("deletionTimestamp"):
            raise Hold(
                "VolumeTerminating",
                f"somebody deleted PersistentVolume {key.name}; it goes when its claim goes: "
                f"delete PersistentVolumeClaim {request.claim_key.name}, and both are made again",
            )
        if not request.current(volume):
            volume = await self._take_over(Kinds.VOLUME, key, request)
        if volume["spec"].get("claimRef", {}).get("uid") != claim["metadata"]["uid"]:
            volume = await self._rebind(request, volume, claim)
        return volume

    async def _rebind(self, request: ClaimRequest, volume: Body, claim: Body) -> Body:
        """Point the volume at a claim that was made again, once it was let go of by the old one."""
        if volume.get("status", {}).get("phase") != "Released":
            raise _binding(request)
        name = request.volume_key.name
        patch = {"spec": {"claimRef": _claim_ref(claim)}}
        volume = await self._kube.patch(Kinds.VOLUME, name, "", patch)
        self._store.put(Kinds.VOLUME, volume)
        # Its phase is still that of before: only what the binder says of the new claim counts.
        raise _binding(request)

    async def _mark_bound(self, request: ClaimRequest, claim: Body) -> None:
        """Say that the claim is bound: annotation and status in one write.

        In two, the controller manager would use its few writes a second to fill the gap.
        """
        key = request.claim_key
        patch = {
            "metadata": {"uid": claim["metadata"]["uid"], "annotations": {BIND_COMPLETED: "yes"}},
            "status": {
                "phase": "Bound",
                "accessModes": list(request.spec.claim.access_modes),
                "capacity": {"storage": request.size},
            },
        }
        claim = await self._kube.patch(
            Kinds.CLAIM, key.name, key.namespace, patch, subresource="status"
        )
        self._store.put(Kinds.CLAIM, claim)

    async def remove(self, request: ClaimRequest) -> None:
        """Remove claim and volume, in this order; returns once both are gone.

        Raises:
            Hold: one is still there; names the pods that hold the claim.
        """
        key = request.claim_key
        if await self._delete(Kinds.CLAIM, key, request):
            pods = [
                f"{pod['metadata']['name']} ({pod.get('status', {}).get('phase', 'Unknown')})"
                async for pod in self._kube.list(Kinds.POD, key.namespace)
                if _uses(pod, key.name)
            ]
            shown = ", ".join(sorted(pods)[:10])
            holders = f"pods hold it: {shown}" if pods else "it is going"
            raise Hold("ClaimInUse", f"PersistentVolumeClaim {key.name} is not gone yet; {holders}")
        if await self._delete(Kinds.VOLUME, request.volume_key, request):
            name = request.volume_key.name
            raise Hold("VolumeGoing", f"PersistentVolume {name} is not gone yet", quiet=5.0)

    async def _delete(self, kind: Kinds, key: Key, request: ClaimRequest) -> bool:
        """Delete what is ours, by uid; returns whether it is still there."""
        for attempt in range(2):
            body = await self._kube.find(kind, key.name, key.namespace)
            if body is None or not request.ours(body):
                return False
            if attempt or body["metadata"].get("deletionTimestamp"):
                return True
            uid = body["metadata"]["uid"]
            await self._kube.delete(kind, key.name, key.namespace, uid=uid)
        return True


def _binding(request: ClaimRequest) -> Hold:
    return Hold(
        "ClaimBinding",
        f"the controller manager has yet to bind PersistentVolume {request.volume_key.name}",
        retry=False,
        quiet=BINDING_QUIET,
        warn=False,
    )


def volume_body(request: ClaimRequest, claim: Body, backend: Attached) -> Body:
    """The PersistentVolume of a folder. Its path is in the handle and nowhere else."""
    csi: Body = {"driver": DRIVER, "volumeHandle": str(request.handle)}
    mount = backend.spec.mount
    if mount is not None and mount.secret_ref is not None:
        secret = {"name": mount.secret_ref.name, "namespace": request.secret_namespace}
        # Publish gets it, too: it has to stage again by itself when a stage was lost.
        csi |= {"nodeStageSecretRef": secret, "nodePublishSecretRef": secret}
    spec: Body = {
        "accessModes": list(request.spec.claim.access_modes),
        "capacity": {"storage": request.size},
        "claimRef": _claim_ref(claim),
        "csi": csi,
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "volumeMode": "Filesystem",
    }
    if backend.spec.node_selector:
        spec["nodeAffinity"] = {
            "required": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            {"key": k, "operator": "In", "values": [v]}
                            for k, v in sorted(backend.spec.node_selector.items())
                        ]
                    }
                ]
            }
        }
    return {"metadata": request.meta(request.volume_key.name), "spec": spec}


def nominal_size(spec: ClaimSpec, limit: int | None) -> str:
    """The size a claim shows: what it asks for, else the scope's limit, else 1Gi."""
    return spec.size or (format_bytes(limit) if limit else "1Gi")


def _claim_ref(claim: Body) -> Body:
    meta = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
        "resourceVersion": None,
    }


def _uses(pod: Body, claim: str) -> bool:
    return any(
        (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim
        for volume in pod["spec"].get("volumes") or []
    )
