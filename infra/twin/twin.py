"""``Twin``: the laptop's AWS as one object. Start, use, stop::

with Twin(data=Path(".hoso"), port=8787) as twin:
    requests.post(twin.url + "/v1/batch", …)
    twin.drain(30)
    twin.advance(3 * 86_400_000)
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import botocore.session
from botocore.config import Config

import infra.twin.resources  # noqa: F401  declares the makers  # pyright: ignore[reportUnusedImport]
from infra.synth import assembly as synthesized
from infra.twin import calls, guards, hooks, iam, memory, moto_fixes, recorder, sandbox
from infra.twin.assembly import Assembly
from infra.twin.bus import Bus
from infra.twin.clock import Clock, Ticker
from infra.twin.control import Control
from infra.twin.courier import Courier
from infra.twin.figures import Figures
from infra.twin.front import Gateway, listen
from infra.twin.isolated import Isolated
from infra.twin.lambdas import InProcess, Runtime, Worker
from infra.twin.mail import Outbox
from infra.twin.pollers import Flow, QueuePoller, StreamPoller, failure_key
from infra.twin.provision import Site, provision
from infra.twin.registry import Function, Source
from infra.twin.serving import HOST
from infra.twin.snapshot import Saver, Store
from infra.twin.tokens import Issuer

_GC_THRESHOLD = (200_000, 50, 1_000)
_FINISH_S = 5
_LOOK_S = 0.02
_only_one = threading.Lock()
"""Moto's state is the process's."""


class FunctionFailed(Exception):
    """A function that was invoked directly answered with an error."""


class Twin:
    """A running twin inside its ``with`` block. One per process, since moto's state is the process's.

    Args:
        data: folder of the state, made if absent; None: a temporary one, gone at the end.
        stage: which templates.
        port: of the HTTP front on the loopback address; 0 takes a free one.
        isolated: one process per function, with AWS calls over HTTP.
        assembly: another cloud assembly than the project's own.
    """

    def __init__(
        self,
        data: Path | None = None,
        stage: str = "dev",
        port: int = 0,
        isolated: bool = False,
        assembly: Path | None = None,
    ) -> None:
        self._wanted_data = data
        self._stage = stage
        self._port = port
        self._isolated = isolated
        self._assembly = assembly
        self._held = ExitStack()
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> Twin:
        if not _only_one.acquire(blocking=False):
            raise RuntimeError("a twin already runs in this process")
        self._held.callback(_only_one.release)
        try:
            self._start()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def _start(self) -> None:
        held = self._held
        self._folder = synthesized(self._stage) if self._assembly is None else self._assembly
        self.data = self._wanted_data or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="twin-")))
        (self.data / "logs").mkdir(parents=True, exist_ok=True)
        os.environ["AWS_ACCOUNT_ID_ENDPOINT_MODE"] = "disabled"
        gc.set_threshold(*_GC_THRESHOLD)
        # Handlers run from the assembly that is also deployed: no byte code may be left in it.
        sys.dont_write_bytecode = True
        moto_fixes.apply()
        guards.install()
        recorder.install()
        # they look into the repaired moto, which whoever comes after this twin may not have
        for layer in ("recorder", "guards"):
            held.callback(calls.drop, layer)
        held.enter_context(hooks.mocked())
        held.enter_context(sandbox.installed())
        self.clock = Clock(self.data / "clock")
        self._build(Assembly.read(self._folder))
        self._run()

    def _build(self, assembly: Assembly) -> None:
        """Make the resources, and the parts around them."""
        self.region = assembly.region
        site = Site(assembly, self.client)
        site.injected = {"HOSO_CLOCK_FILE": str(self.clock.file.resolve()), "HOSO_OUTBOUND_HTTP": "true"}
        self.deployment = deployment = provision(site)
        self.runtime = Runtime(deployment, self._worker)
        self.figures = Figures(self.data / "logs")
        self.courier = Courier(deployment, self.runtime, self.client)
        self.outbox = Outbox(self.data / "outbox", self.clock.now_ms)
        bus = Bus(deployment, self.courier, self.clock.now_ms)
        self._held.enter_context(hooks.connected(deployment, self.runtime, self.courier, bus, self.outbox))
        self.flow = Flow()
        self.stream_pollers: list[StreamPoller] = []
        self.queue_pollers: list[QueuePoller] = []
        for source in deployment.sources:
            if ":sqs:" in source.arn:
                queue = memory.Queue(source.arn)
                self.queue_pollers.append(QueuePoller(source, queue, self.runtime, self.flow, self.region))
                continue
            for shard in memory.shards(source.arn):
                self.stream_pollers.append(StreamPoller(source, shard, self.runtime, self.flow, self._discard))
        self._store = Store(self.data / "state", deployment, self.courier, self.stream_pollers)
        self._issuer = Issuer(self.data / "issuer.pem")
        self._ticker = Ticker(self.clock, deployment.schedules, self.courier, self._sweep)

    def _run(self) -> None:
        """Take up the saved state and start everything; the stack of ``_held`` stops it in reverse."""
        held = self._held
        self._store.restore()
        gc.collect()
        gc.freeze()
        held.callback(gc.unfreeze)
        saver = Saver(self._store, self._activity)
        held.callback(saver.stop)
        saver.start()
        held.callback(self.runtime.close)
        held.callback(self.courier.stop)
        self.courier.start()
        held.callback(self._stop_pollers)
        for poller in (*self.stream_pollers, *self.queue_pollers):
            poller.start()
        held.callback(self._finish_executions)
        held.callback(self._ticker.stop)
        self._ticker.start()
        gateway = Gateway(self.deployment, self.runtime, self._issuer, self.clock.now_ms)
        self.server = listen(gateway, Control(self), self._port)
        held.callback(self.server.close)

    @property
    def url(self) -> str:
        """Address of the HTTP front."""
        return f"http://{HOST}:{self.server.port}"

    @cached_property
    def endpoint(self) -> str:
        """Address of the same AWS for other processes (``AWS_ENDPOINT_URL``); opened when it is first asked for."""
        from infra.twin.endpoint import open_endpoint

        address, close = open_endpoint()
        self._held.callback(close)
        return address

    @property
    def env(self) -> dict[str, Any]:
        """Physical names by kind and logical name, and where AWS answers."""
        names = {path.rpartition("/")[2].lower(): name for path, name in self.deployment.names.items()}
        return {
            "region": self.region,
            "aws_endpoint": self.endpoint,
            "data": str(self.data.resolve()),
            "tables": {key: name for key, name in names.items() if name in self.deployment.tables},
            "buckets": {key: name for key, name in names.items() if name in self.deployment.buckets},
            "streams": {key: name for key, name in names.items() if name in self.deployment.streams},
            "names": self.deployment.names,
            "queues": self.deployment.queues,
            "machines": self.deployment.machines,
            "functions": sorted(function.logical for function in self.deployment.functions.values()),
        }

    def client(self, service: str) -> Any:
        """The botocore client of a service; one per service."""
        if service not in self._clients:
            session = botocore.session.Session()
            session.set_credentials("twin", "twin")
            config = Config(retries={"total_max_attempts": 1})
            self._clients[service] = session.create_client(service, region_name=self.region, config=config)
        return self._clients[service]

    def admin_token(self, roles: Sequence[str] = ("admin",)) -> str:
        """A token for the admin API with these roles."""
        return self._issuer.token(next(iter(self.deployment.authorizers.values())), roles)

    def jwks(self) -> dict[str, Any]:
        """The public keys of the local issuer."""
        return self._issuer.jwks()

    def invoke(self, name: str, payload: Any = None) -> Any:
        """Run a function by its logical name and answer its result.

        Raises:
            FunctionFailed: the function raised; the text is Lambda's error document.
        """
        outcome = self.runtime.invoke(name, json.dumps(payload if payload is not None else {}).encode())
        if outcome.failed:
            raise FunctionFailed(outcome.payload.decode())
        return outcome.value

    def advance(self, step_ms: int) -> int:
        """Move the clock forwards: what waited for a time becomes due, schedules run. Answers the new time (ms)."""
        self.clock.move(step_ms)
        for arn in self.deployment.queues:
            memory.Queue(arn).advance(step_ms)
        self.courier.advance(step_ms)
        self._ticker.tick()
        self.flow.wake()
        return self.clock.now_ms()

    def drain(self, timeout_s: float = 60) -> list[str]:
        """Wait until nothing is under way; what still is after ``timeout_s``, by name."""
        deadline = time.monotonic() + timeout_s
        self.flow.flushing += 1
        self.flow.wake()
        try:
            quiet: Any = None
            while True:
                # Work hides between two looks only if something began meanwhile: two quiet looks in a row are the end.
                activity, stuck = self._activity(), self.stuck()
                if not stuck and quiet == activity:
                    return []
                quiet = None if stuck else activity
                if stuck and time.monotonic() > deadline:
                    return stuck
                time.sleep(_LOOK_S)
        finally:
            self.flow.flushing -= 1

    def stuck(self) -> list[str]:
        """What is under way, by name."""
        found = [f"{poller.lag()} records of {poller.source.key}" for poller in self.stream_pollers if poller.lag()]
        for poller in self.queue_pollers:
            if poller.lag():
                due = f", next try in {poller.queue.next_due_s():.0f} s" if not poller.queue.depth()[0] else ""
                found.append(f"{poller.lag()} messages of {poller.queue.name}{due}")
        return [*found, *self.courier.pending(), *(f"execution {name}" for name in memory.running_executions())]

    def denied(self) -> list[iam.Denied]:
        """The recorded calls of functions that their roles in the templates do not allow (in-process mode only)."""
        return iam.replay(recorder.needs(), self.deployment.policies)

    def save(self) -> None:
        """Write the state now."""
        self._store.save()

    def _activity(self) -> tuple[int, int, int, int]:
        return (self.runtime.activity, self.flow.activity, self.courier.activity, self.clock.offset_ms)

    def _worker(self, function: Function, environment: Mapping[str, str]) -> Worker:
        log = self.data / "logs" / f"{function.logical}.log"
        if self._isolated:
            return Isolated(function, environment, log, self.endpoint)
        return InProcess(function, environment, log)

    def _discard(self, source: Source, shard_id: str, document: bytes) -> None:
        destination = source.on_failure or ""
        if destination.startswith("arn:aws:s3:"):
            bucket = destination.removeprefix("arn:aws:s3:::").partition("/")[0]
            self.client("s3").put_object(Bucket=bucket, Key=failure_key(source, shard_id), Body=document)
        else:
            memory.Queue(destination).send(document.decode())

    def _sweep(self, now_ms: int) -> None:
        """Delete expired items, as DynamoDB does some time after their TTL."""
        self._folder.touch()  # assemblies that nobody used for a day are removed
        for table, attribute in self.deployment.tables.items():
            if attribute is not None:
                for key in memory.expired(self.region, table, attribute, now_ms // 1000):
                    self.client("dynamodb").delete_item(TableName=table, Key=key)

    def _finish_executions(self) -> None:
        """Let state machines come to their end: a step that is cut off leaves its engine's memory behind.

        One that still waits for its next try is stopped: its thread would go on in the next twin of the process.
        """
        memory.end_executions(_FINISH_S)

    def _stop_pollers(self) -> None:
        self.flow.open = False
        self.flow.wake()
        for poller in (*self.stream_pollers, *self.queue_pollers):
            poller.join()
