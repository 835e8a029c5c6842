"""Prometheus metrics of the operator, in a registry of our own."""

import contextlib
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from vfolder_backends.port import ScopeState
from vfolder_operator.crds.backend import TrashStatus
from vfolder_operator.store import Key


class Metrics:
    """All metrics; names and units follow Prometheus' conventions."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leader = Gauge("vfolder_leader", "Whether this replica leads.", registry=self.registry)
        self.queue = Gauge(
            "vfolder_queue_depth", "Objects that wait to be looked at.", registry=self.registry
        )
        self.reconciles = Counter(
            "vfolder_reconciles_total",
            "Reconciles by kind and outcome.",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "vfolder_reconcile_seconds",
            "Duration of reconciles.",
            ["kind"],
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
            registry=self.registry,
        )
        self.backend_ready = Gauge(
            "vfolder_backend_ready",
            "Whether a storage can be worked on.",
            ["backend"],
            registry=self.registry,
        )
        self.orphans = Gauge(
            "vfolder_backend_orphans",
            "Marked scopes and folders that no object stands for.",
            ["backend"],
            registry=self.registry,
        )
        labels = ["backend", "namespace", "scope"]
        self.used = Gauge(
            "vfolder_scope_used_bytes", "Bytes in use.", labels, registry=self.registry
        )
        self.limit = Gauge(
            "vfolder_scope_limit_bytes",
            "Byte limit on the storage.",
            labels,
            registry=self.registry,
        )
        self.observed = Gauge(
            "vfolder_scope_usage_timestamp_seconds",
            "When the usage was read.",
            labels,
            registry=self.registry,
        )

        self.escaped = Gauge(
            "vfolder_scope_escaped_entries",
            "Entries that the last audit found charged to no scope, or to another one.",
            labels,
            registry=self.registry,
        )
        self.trash_folders = Gauge(
            "vfolder_trash_folders",
            "Folders in the trash.",
            ["backend"],
            registry=self.registry,
        )
        self.trash_bytes = Gauge(
            "vfolder_trash_bytes", "Their bytes.", ["backend"], registry=self.registry
        )
        self.trash_removing = Gauge(
            "vfolder_trash_removing_folders",
            "Folders that are being removed and cannot come back.",
            ["backend"],
            registry=self.registry,
        )
        self.trash_removed_folders = Counter(
            "vfolder_trash_removed_folders_total",
            "Folders removed for good.",
            ["backend"],
            registry=self.registry,
        )
        self.trash_removed_entries = Counter(
            "vfolder_trash_removed_entries_total",
            "Entries removed for good.",
            ["backend"],
            registry=self.registry,
        )

    def audited(self, backend: str, key: Key, escaped: int) -> None:
        """Take over what a walk over a scope found."""
        self.escaped.labels(backend, key.namespace, key.name).set(escaped)

    def trash(self, backend: str, status: TrashStatus | None) -> None:
        """Take over what lies in the trash of a storage."""
        if status is None:
            return
        self.trash_folders.labels(backend).set(status.folders)
        self.trash_removing.labels(backend).set(status.removing)
        if status.bytes is not None:
            self.trash_bytes.labels(backend).set(status.bytes)

    def purged(self, backend: str, folders: int, entries: int) -> None:
        """Count what a purge removed."""
        self.trash_removed_folders.labels(backend).inc(folders)
        self.trash_removed_entries.labels(backend).inc(entries)

    def scope(self, backend: str, key: Key, state: ScopeState) -> None:
        """Take over what a bulk read saw of a scope."""
        labels = (backend, key.namespace, key.name)
        if state.usage is not None and state.usage.bytes is not None:
            self.used.labels(*labels).set(state.usage.bytes)
            self.observed.labels(*labels).set(state.usage.observed_at)
        if state.limits.bytes is not None:
            self.limit.labels(*labels).set(state.limits.bytes)

    def scope_gone(self, backend: str, key: Key) -> None:
        """Forget a scope whose object is gone."""
        for gauge in (self.used, self.limit, self.observed, self.escaped):
            with contextlib.suppress(KeyError):
                gauge.remove(backend, key.namespace, key.name)

    def backend(self, name: str, *, ready: bool, orphans: int | None) -> None:
        """Take over what is known of a storage."""
        self.backend_ready.labels(name).set(ready)
        if orphans is not None:
            self.orphans.labels(name).set(orphans)

    def backend_gone(self, name: str) -> None:
        """Forget a storage whose object is gone."""
        gauges = (
            self.backend_ready,
            self.orphans,
            self.trash_folders,
            self.trash_bytes,
            self.trash_removing,
        )
        for gauge in gauges:
            with contextlib.suppress(KeyError):
                gauge.remove(name)

    def reconciled(self, kind: str, outcome: str, started: float) -> None:
        """Count one reconcile that began at `started` on the monotonic clock."""
        self.reconciles.labels(kind, outcome).inc()
        self.seconds.labels(kind).observe(time.monotonic() - started)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)
