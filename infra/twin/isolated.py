"""Isolated execution environments: one process per function with AWS's own runtime client.

``awslambdaric`` asks a Runtime API (``/2018-06-01/runtime/invocation/…``) for work, as on Lambda. The process sees only
its own environment; its AWS calls go over HTTP to the twin's endpoint. A process that overruns its time-out is killed.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from infra.twin.lambdas import PAYLOAD_BYTES, Outcome, error_outcome
from infra.twin.registry import Function
from infra.twin.serving import Handler, Server

_API = "/2018-06-01/runtime/"
_STOP_S = 5


class Isolated:
    """An execution environment in a process of its own, started at the first invocation and after a crash."""

    def __init__(self, function: Function, environment: Mapping[str, str], log: Path, endpoint: str) -> None:
        self._function = function
        self._log = log
        self._work: queue.Queue[tuple[bytes, str] | None] = queue.Queue()
        self._done: queue.Queue[Outcome] = queue.Queue()
        self._process: subprocess.Popen[bytes] | None = None
        self._server = Server(self._api())
        self._environment = {
            **environment,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.port}",
            "_HANDLER": function.handler,
            "PYTHONPATH": os.pathsep.join([str(function.folder), *filter(None, sys.path)]),
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, payload: bytes, request_id: str) -> Outcome:
        """Hand the event to the process and wait for its answer, at most for the function's time-out."""
        if self._process is None or self._process.poll() is not None:
            self._kill()
            self._start()
        self._work.put((payload, request_id))
        deadline = time.monotonic() + self._function.timeout_s
        while time.monotonic() < deadline:
            try:
                return self._done.get(timeout=0.2)
            except queue.Empty:
                if self._process is None or self._process.poll() is not None:
                    self._kill()
                    return error_outcome(RuntimeError("Runtime.ExitError: the function's process ended"))
        self._kill()
        return error_outcome(TimeoutError(f"{request_id} Task timed out after {self._function.timeout_s:.2f} seconds"))

    def close(self) -> None:
        """End the process."""
        self._kill()
        self._server.close()

    def _start(self) -> None:
        # What an ended process left behind must not reach the next one.
        self._work, self._done = queue.Queue(), queue.Queue()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  the handler's name comes from the template
                [sys.executable, "-B", "-m", "awslambdaric", self._function.handler],
                env=self._environment,
                cwd=self._function.folder,
                stdout=log,
                stderr=log,
            )

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_S)
            self._process = None
            self._work.put(None)

    def _api(self) -> type[Handler]:
        environment = self

        class RuntimeApi(Handler):
            timeout = None

            def do_GET(self) -> None:  # noqa: N802  the name is http.server's
                """The next invocation."""
                work = environment._work.get()
                if work is None:
                    self.close_connection = True
                    return
                payload, request_id = work
                function = environment._function
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": request_id,
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + function.timeout_s) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": function.arn,
                    "Content-Type": "application/json",
                }
                self.reply(200, payload, headers)

            def do_POST(self) -> None:  # noqa: N802
                """The answer of an invocation, or an error."""
                body = self.body(PAYLOAD_BYTES * 2)
                kind = self.path.removeprefix(_API)
                environment._done.put(Outcome(body, failed=kind.endswith("/error")))
                self.reply(202, json.dumps({"status": "OK"}).encode(), {"Content-Type": "application/json"})

        return RuntimeApi
