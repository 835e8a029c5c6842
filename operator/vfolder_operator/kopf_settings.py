"""Every kopf setting that we change, with the reason."""

import kopf

from vfolder_operator.names import FINALIZER, GROUP, LABEL_MANAGED


def configure(settings: kopf.OperatorSettings) -> kopf.OperatorSettings:
    """Set what the defaults get wrong for us."""
    # Bounded lists: smaller answers for the API server.
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 630
    # Without it a connection attempt may take five minutes.
    settings.watching.connect_timeout = 10
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30
    # A server that answers 410 at once would otherwise be asked ten times a second.
    settings.watching.reconnect_backoff = 1.0
    # Only our own claims and volumes are watched, never the whole cluster's.
    managed = f"{LABEL_MANAGED}=true"
    settings.watching.label_selectors["v1", "persistentvolumeclaims"] = managed
    settings.watching.label_selectors["v1", "persistentvolumes"] = managed
    # Handlers only fill our queue, so a worker has no reason to linger.
    settings.queueing.idle_timeout = 0.2
    settings.queueing.exit_timeout = 5
    # We end the process ourselves, and may be letting work finish for longer than kopf expects.
    settings.process.ultimate_exiting_timeout = None
    # Events are posted by our own recorder.
    settings.posting.enabled = False
    # No handler of ours needs kopf's finalizer or annotations; another operator's must not be met.
    settings.persistence.finalizer = f"{GROUP}/unused-by-kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP, v1=False)
    # Our kinds are checked at start; lists of all CRDs and namespaces would need wide rights.
    settings.scanning.disabled = True
    # A foreign object named "default" must not pause us.
    settings.peering.standalone = True
    assert settings.persistence.finalizer != FINALIZER  # noqa: S101 - kopf strips its own
    return settings
