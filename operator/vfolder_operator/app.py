"""The composition root: which part knows which, and in what order they start and stop."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial

import kopf

from vfolder_backends.errors import BackendError
from vfolder_backends.registry import Registry
from vfolder_operator import logs
from vfolder_operator.declared import apply_declared
from vfolder_operator.fleet import Fleet
from vfolder_operator.handlers.watch import WATCHED, Feed, register
from vfolder_operator.kopf_settings import configure
from vfolder_operator.kube import Kinds, Kube, KubeError, NotFound
from vfolder_operator.lease import Lease, LeaseTimes
from vfolder_operator.ledger import ConfigMapLedger
from vfolder_operator.login import Login
from vfolder_operator.metrics import Metrics
from vfolder_operator.names import LABEL_MANAGED
from vfolder_operator.probes import Probes
from vfolder_operator.reconcile.audit import Auditor
from vfolder_operator.reconcile.audit_book import AuditBook
from vfolder_operator.reconcile.backend import BackendReconciler
from vfolder_operator.reconcile.backend_config import BackendConfigs
from vfolder_operator.reconcile.chores import Chore, Work
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.folder import FolderReconciler
from vfolder_operator.reconcile.scope import ScopeReconciler
from vfolder_operator.reconcile.sweep import Sweep
from vfolder_operator.reconcile.trash import TrashKeeper
from vfolder_operator.reconcile.trash_book import TrashBook
from vfolder_operator.reconcile.user_namespaces import UserNamespaces
from vfolder_operator.recorder import Recorder
from vfolder_operator.settings import Settings
from vfolder_operator.store import Key, Store, key_of
from vfolder_operator.workqueue import Retry, WorkQueue

log = logging.getLogger(__name__)

RESYNC_SECONDS = 600.0
"""How often the store is compared with the API server: a watch can miss a deletion."""

DRAIN_SECONDS = 10.0
"""How long running reconciles may go on after SIGTERM."""


class Operator:
    """One replica: stands by, leads, and ends when it can no longer prove that it leads."""

    def __init__(
        self,
        settings: Settings,
        kube: Kube,
        registry: Registry,
        lease_times: LeaseTimes | None = None,
    ) -> None:
        self._settings = settings
        self._kube = kube
        self._metrics = Metrics()
        self._lease = Lease(
            kube, settings.namespace, settings.lease, settings.identity, lease_times
        )
        self._store = Store()
        self._fleet = Fleet(registry)
        self._metrics.read_links(self._fleet.links)
        self._recorder = Recorder(kube, settings.identity)
        self._queue: WorkQueue[Key] = WorkQueue(
            self._work, self._lane, settings.workers, max(4, settings.workers // 4)
        )
        self._chores: WorkQueue[Chore] = WorkQueue(self._do, str, settings.workers, 1)
        self._keeper: TrashKeeper | None = None
        self._auditor: Auditor | None = None
        self._feed = Feed(self._store, self._queue.add, partial(self._queue.add, first=True))
        self._stop = asyncio.Event()
        self._reconcilers: dict[Kinds, Callable[[Key], Awaitable[float | None]]] = {}
        self._leading = False
        self._watching = asyncio.Event()
        self.probes = Probes(self._metrics, self._not_ready)

    def stop(self) -> None:
        """End `run` in good order."""
        self._stop.set()

    async def run(self) -> None:
        """Run until SIGTERM, SIGINT or `stop`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        await self.probes.start(self._settings.port)
        try:
            await self._check_kinds()
            if await self._until_stopped(self._lease.acquire()):
                return
            self._leading = True
            self._metrics.leader.set(1)
            await self._lead()
        finally:
            await self._lease.release()
            await self._fleet.close()
            await self.probes.stop()

    async def _lead(self) -> None:
        context = Context(
            settings=self._settings,
            kube=self._kube,
            store=self._store,
            fleet=self._fleet,
            recorder=self._recorder,
            metrics=self._metrics,
            cluster=await self._cluster(),
            ids=ConfigMapLedger(self._kube, self._settings.namespace, self._settings.ledger),
            enqueue=self._queue.add,
            chore=self._chores.add,
            trash=TrashBook(),
            audits=AuditBook(),
        )
        scopes, folders = ScopeReconciler(context), FolderReconciler(context)
        sweep = Sweep(context, scopes, folders)
        keeper, self._auditor = TrashKeeper(context), Auditor(context)
        self._keeper = keeper
        configs = BackendConfigs(context, UserNamespaces(self._kube, self._settings))
        self._reconcilers = {
            Kinds.BACKEND: BackendReconciler(context, sweep, keeper, configs),
            Kinds.SCOPE: scopes,
            Kinds.FOLDER: folders,
        }
        tasks = {asyncio.create_task(self._hold_lease())}
        stop = asyncio.create_task(self._stop.wait())
        try:
            await apply_declared(self._kube, self._settings.backends_dir)
            await self._resync()
            parts = (
                self._watch(),
                self._recorder.run(),
                self._resync_forever(),
                self._queue.run(),
                self._chores.run(),
            )
            tasks |= {asyncio.create_task(part) for part in parts}
            done, _ = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stop}:
                task.result()  # raises what ended it
        finally:
            log.info("stopping")
            await asyncio.gather(
                self._queue.drain(DRAIN_SECONDS), self._chores.drain(DRAIN_SECONDS)
            )
            for task in (stop, *tasks):
                task.cancel()
            await asyncio.wait({stop, *tasks}, timeout=DRAIN_SECONDS)

    async def _hold_lease(self) -> None:
        await self._lease.hold()
        # Nothing may be written any more, also not by what is in flight: no clean-up here.
        logging.shutdown()
        os._exit(1)

    async def _until_stopped(self, waiting: Coroutine[None, None, None]) -> bool:
        """Await something, or SIGTERM; True for the latter."""
        task = asyncio.create_task(waiting)
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        for one in (task, stop):
            if not one.done():
                one.cancel()
        if task.done() and not task.cancelled():
            task.result()
        return self._stop.is_set()

    async def _watch(self) -> None:
        registry = kopf.OperatorRegistry()
        register(registry, self._feed)
        kopf.on.login(id="login", registry=registry)(Login(self._kube.connection).log_in)
        kopf.on.startup(id="started", registry=registry)(self._kopf_started)
        await kopf.operator(
            registry=registry,
            settings=configure(kopf.OperatorSettings()),
            clusterwide=True,
            standalone=True,
        )
        self._stop.set()

    async def _kopf_started(self, **_: object) -> None:
        self._watching.set()

    async def _cluster(self) -> str:
        namespace = await self._kube.get(Kinds.NAMESPACE, "kube-system")
        return str(namespace["metadata"]["uid"])

    async def _check_kinds(self) -> None:
        """Fail at start, in words, if the CRDs are not there; kopf would only wait."""
        for kind in (Kinds.BACKEND, Kinds.SCOPE, Kinds.FOLDER):
            try:
                async for _ in self._kube.list(kind):
                    break
            except NotFound as error:
                raise SystemExit(
                    f"the kind {kind.value.kind} is not installed: apply the CRDs first"
                ) from error

    async def _resync(self) -> None:
        """Make the store equal to the API server, and look at everything that differs."""
        for kind in WATCHED:
            selector = f"{LABEL_MANAGED}=true" if kind in (Kinds.CLAIM, Kinds.VOLUME) else ""
            found = set()
            async for item in self._kube.list(kind, labels=selector):
                found.add(key_of(kind, item))
                self._feed.seen(kind, item)
            for key in set(self._store.keys(kind)) - found:
                # Listed page by page: what was made meanwhile is not gone.
                if await self._kube.find(kind, key.name, key.namespace) is None:
                    body = self._store.get(key)
                    if body is not None:
                        self._feed.gone(kind, body)

    async def _resync_forever(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_SECONDS)
            try:
                await self._resync()
            except KubeError as error:
                log.warning("resync failed, trying again later", extra={"error": str(error)})

    async def _work(self, key: Key) -> float | None:
        """Reconcile one object, with its name in every log line."""
        body = self._store.get(key)
        started, kind, outcome = time.monotonic(), key.kind.value.kind, "ok"
        generation = body["metadata"].get("generation", 0) if body is not None else 0
        with logs.context(object=str(key), generation=generation):
            try:
                return await self._reconcilers[key.kind](key)
            except Retry as retry:
                outcome = str(retry) or "retry"
                raise
            except KubeError as error:
                outcome = error.reason
                log.warning("API server refused", extra={"error": str(error)})
                raise Retry(error.reason) from error
            except BaseException:
                outcome = "error"
                raise
            finally:
                self._metrics.reconciled(kind, outcome, started)
                self._metrics.queue.set(self._queue.depth)
                if body is None:
                    self._queue.forget(key)

    async def _do(self, chore: Chore) -> float | None:
        """Do one piece of background work on a storage."""
        worker = self._keeper if chore.work is Work.TRASH else self._auditor
        if worker is None:
            return None
        with logs.context(object=str(chore)):
            try:
                return await worker.work(chore.backend)
            except (BackendError, KubeError) as error:
                log.warning("chore failed, trying again later", extra={"error": str(error)})
                raise Retry(error.reason) from error

    def _lane(self, key: Key) -> str:
        """The storage that an object is on; what hangs there holds up nothing else."""
        if key.kind is Kinds.BACKEND:
            return f"backend {key.name}"
        body = self._store.get(key)
        if body is not None and key.kind is Kinds.FOLDER:
            body = self._store.get(Key(Kinds.SCOPE, key.namespace, str(body["spec"]["quotaScope"])))
        return str(body["spec"]["backend"]) if body is not None else ""

    def _not_ready(self) -> str:
        if self._leading and not self._watching.is_set():
            return "leading, not watching yet"
        return ""
