"""Prometheus metrics of the operator, in a registry of our own."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vfolder_backends.facts import Circuit, Link, PerformanceMetrics
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

        rates = ["backend", "operation"]
        self.storage_operations = Gauge(
            "vfolder_storage_operations_per_second",
            "Rate of the whole storage, as it reports it.",
            rates,
            registry=self.registry,
        )
        self.storage_bytes = Gauge(
            "vfolder_storage_bytes_per_second",
            "Throughput of the whole storage, as it reports it.",
            rates,
            registry=self.registry,
        )
        self.storage_seconds = Gauge(
            "vfolder_storage_seconds_per_operation",
            "Mean latency of the whole storage, as it reports it.",
            rates,
            registry=self.registry,
        )

    def read_links(self, links: Callable[[], Iterable[tuple[str, Link]]]) -> None:
        """Show the connections to management interfaces, as they are when somebody asks."""
        self.registry.register(_Links(links))

    def performance(self, backend: str, seen: PerformanceMetrics | None) -> None:
        """Take over the rates of a whole storage; what it does not tell is not shown."""
        seen = seen or PerformanceMetrics()
        rows = (
            (self.storage_operations, "read", seen.read_ops_per_second),
            (self.storage_operations, "write", seen.write_ops_per_second),
            (self.storage_bytes, "read", seen.read_bytes_per_second),
            (self.storage_bytes, "write", seen.write_bytes_per_second),
            (self.storage_seconds, "read", seen.read_seconds_per_op),
            (self.storage_seconds, "write", seen.write_seconds_per_op),
        )
        for gauge, operation, value in rows:
            if value is not None:
                gauge.labels(backend, operation).set(value)
            else:
                with contextlib.suppress(KeyError):
                    gauge.remove(backend, operation)

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
        self.performance(name, None)

    def reconciled(self, kind: str, outcome: str, started: float) -> None:
        """Count one reconcile that began at `started` on the monotonic clock."""
        self.reconciles.labels(kind, outcome).inc()
        self.seconds.labels(kind).observe(time.monotonic() - started)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)


class _Links(Collector):
    """Reads the connections at each scrape; nothing of a storage that is detached stays behind."""

    def __init__(self, links: Callable[[], Iterable[tuple[str, Link]]]) -> None:
        self._links = links

    def collect(self) -> Iterator[Metric]:
        """The families, with a sample of each storage that has a management interface."""
        calls = CounterMetricFamily(
            "vfolder_backend_calls",
            "Calls to a storage's management interface, repeated ones too.",
            labels=["backend"],
        )
        failures = CounterMetricFamily(
            "vfolder_backend_call_failures",
            "Those without an answer, or with one that says that it cannot work now.",
            labels=["backend"],
        )
        in_flight = GaugeMetricFamily(
            "vfolder_backend_calls_in_flight", "Calls under way.", labels=["backend"]
        )
        circuit = GaugeMetricFamily(
            "vfolder_backend_circuit_open",
            "Whether a storage's management interface is left alone for now.",
            labels=["backend"],
        )
        for name, link in self._links():
            calls.add_metric([name], link.calls)
            failures.add_metric([name], link.failures)
            in_flight.add_metric([name], link.in_flight)
            circuit.add_metric([name], link.circuit is not Circuit.CLOSED)
        yield from (calls, failures, in_flight, circuit)
