"""Isolated functions: a process each, real time-outs, and a fresh process after a crash."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from infra.twin import Twin
from infra.twin.twin import FunctionFailed
from tests.twin_world import function, write_assembly

CODE = {
    "handlers": """
        import os, time

        def work(event, context):
            if event.get("crash"):
                os._exit(7)
            time.sleep(event.get("sleep", 0))
            return {"pid": os.getpid(), "own": os.environ.get("OWN"), "left": context.get_remaining_time_in_millis(),
                    "names": sorted(name for name in os.environ if name.startswith("PYTEST"))}

        def bad(event, context):
            raise LookupError("not here")
    """
}


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    folder = tmp_path_factory.mktemp("isolated")
    resources = {
        "Work": function("handlers.work", timeout_s=2, environment={"OWN": "w"}),
        "Bad": function("handlers.bad"),
        "Gone": function("handlers.gone"),
    }
    assembly = write_assembly(folder / "cdk.out", resources, CODE)
    with Twin(data=folder / "data", assembly=assembly, isolated=True) as twin:
        yield twin


def test_a_function_keeps_its_process_and_sees_its_own_environment(twin: Twin) -> None:
    first, second = twin.invoke("Work"), twin.invoke("Work")

    assert first["pid"] == second["pid"]
    assert first["own"] == "w"
    assert 0 < first["left"] <= 2_000
    assert first["names"] == []


def test_a_time_out_kills_the_process_and_the_next_invocation_gets_a_new_one(twin: Twin) -> None:
    before = twin.invoke("Work")["pid"]
    started = time.monotonic()

    with pytest.raises(FunctionFailed, match=r"timed out after 2\.00 seconds"):
        twin.invoke("Work", {"sleep": 30})

    assert time.monotonic() - started < 10
    assert twin.invoke("Work")["pid"] != before


def test_a_crash_is_an_error_and_the_next_invocation_gets_a_new_process(twin: Twin) -> None:
    with pytest.raises(FunctionFailed, match=r"Runtime\.ExitError"):
        twin.invoke("Work", {"crash": True})

    assert twin.invoke("Work")["own"] == "w"


@pytest.mark.parametrize(("name", "error"), [("Bad", "LookupError"), ("Gone", "Runtime.HandlerNotFound")])
def test_an_error_is_aws_error_document(twin: Twin, name: str, error: str) -> None:
    with pytest.raises(FunctionFailed) as failed:
        twin.invoke(name)

    assert json.loads(str(failed.value))["errorType"] == error
