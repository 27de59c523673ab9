"""Functions side by side in one process see only what is their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra.twin import Twin
from infra.twin.twin import FunctionFailed
from tests.twin_world import function, write_assembly

CODE = {
    "own/__init__": "",
    "own/state": """
        import os

        loaded_for = os.environ["WHO"]
        seen = []
    """,
    "own/lazy": "value = 1",
    "handlers": """
        import importlib, json, logging, os, sys, threading
        from concurrent.futures import ThreadPoolExecutor
        from own import state

        def in_thread(_):
            from own import state
            return [os.environ["WHO"], state.loaded_for]

        def look(event, context):
            from own import lazy  # imported at the first call
            from own.state import seen
            assert importlib.import_module("own.state") is state
            seen.append(event["n"])
            with ThreadPoolExecutor(2) as pool:
                in_threads = list(pool.map(in_thread, range(2)))
            print("printed by", os.environ["WHO"])
            return {"who": os.environ["WHO"], "loaded_for": state.loaded_for, "seen": seen, "threads": in_threads,
                    "home": os.environ.get("HOME"), "hoso": "own" in sys.modules}

        def odd(event, context):
            if event["kind"] == "exit":
                sys.exit(3)
            return {"object": {1}, "nan": float("nan")}[event["kind"]]

        def slow(event, context):
            import time
            time.sleep(1.2)
    """,
}


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    folder = tmp_path_factory.mktemp("sandbox")
    resources = {
        "First": function("handlers.look", environment={"WHO": "first"}),
        "Second": function("handlers.look", environment={"WHO": "second"}),
        "Odd": function("handlers.odd", environment={"WHO": "odd"}),
        "Slow": function("handlers.slow", timeout_s=1, environment={"WHO": "slow"}),
    }
    with Twin(data=folder / "data", assembly=write_assembly(folder / "cdk.out", resources, CODE)) as twin:
        yield twin


def test_environment_modules_and_threads_are_a_functions_own(twin: Twin) -> None:
    answers = [twin.invoke(name, {"n": n}) for n, name in enumerate(["First", "Second", "First"])]

    assert [answer["seen"] for answer in answers] == [[0], [1], [0, 2]]
    for answer, who in zip(answers, ["first", "second", "first"], strict=True):
        assert (answer["who"], answer["loaded_for"]) == (who, who)
        assert answer["threads"] == [[who, who]] * 2
        assert answer["home"] is None
        assert answer["hoso"] is False


def test_what_a_function_prints_is_in_its_log(twin: Twin) -> None:
    twin.invoke("Second", {"n": 9})

    assert "printed by second" in (twin.data / "logs" / "Second.log").read_text()


@pytest.mark.parametrize(("kind", "error"), [("object", "TypeError"), ("nan", "ValueError"), ("exit", "SystemExit")])
def test_an_answer_that_is_no_json_is_an_error(twin: Twin, kind: str, error: str) -> None:
    with pytest.raises(FunctionFailed) as failed:
        twin.invoke("Odd", {"kind": kind})

    assert json.loads(str(failed.value))["errorType"] == error


def test_a_time_out_is_reported(twin: Twin) -> None:
    twin.invoke("Slow")

    figures: Any = twin.runtime.figures()["Slow"]
    assert (figures.invocations, figures.timeouts) == (1, 1)
