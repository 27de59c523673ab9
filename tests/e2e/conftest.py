"""End-to-end tests run against living twins: real templates, real handlers, real HTTP."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.cli.connection import Connection
from infra.cli.serve import open_twin


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked ``both_ways`` run on a twin with its functions in process and on one with a process per function."""
    if "hoso" in metafunc.fixturenames:
        both = metafunc.definition.get_closest_marker("both_ways") is not None
        modes = ["in-process", "isolated"] if both else ["in-process"]
        metafunc.parametrize("hoso", modes, indirect=True, scope="module")


@pytest.fixture(scope="module")
def hoso(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A fresh twin."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    with open_twin(folder, port=0, isolated=request.param == "isolated") as connection:
        yield connection
        assert_permitted(connection)


def assert_permitted(connection: Connection) -> None:
    """Every AWS call that a function made is allowed by its own role in the templates, and none of them broke.

    A night that the moved clock starts may overtake, or wait for, the one before it: that is no fault.
    """
    status = connection.call("GET", "/_twin/status")
    assert status["denied"] == []
    broken = {name: held["last_error"] for name, held in status["functions"].items() if held["errors"]}
    overtaken = ('"errorType": "StaleRun"', '"errorType": "LeaseHeld"')
    assert {name: error for name, error in broken.items() if not any(one in error for one in overtaken)} == {}


@pytest.fixture(scope="session")
def chromium() -> str:
    """The version of a Chromium that starts here; the test is skipped, with the reason, where none does."""
    script = Path(__file__).parent / "sdk" / "chromium-starts.mjs"
    tried = subprocess.run(["node", str(script)], capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no Chromium starts here: {tried.stderr.strip().splitlines()[-1:]}")
    return tried.stdout.strip()
