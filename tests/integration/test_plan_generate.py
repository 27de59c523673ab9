"""``hoso plan generate``: the declarations compile in their languages and hold senders to the plan."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.main import app

NODE = Path("node_modules/.bin").resolve()
SHOP = Path("tests/fixtures/plans/shop.json")
ODD = {
    "name": "Odd */ names\nof two lines",
    "events": {
        "list": {"schema": {"properties": {"def": {"type": "array", "items": True}, "__x": {"type": "null"}}}},
        "def": {"schema": {"properties": {"a b": {"enum": [1, "x", None, True]}, "c": {"enum": [1.5]}}}},
        "Any": {"schema": {"properties": {"inner": {"properties": {"x": {"const": "quote\" ' \\"}}}}}},
        "Any Call": {"schema": {"required": ["only"]}},
        "2 steps": {"description": "*/ alert(1) /*\n'''\n\"\"\""},
        "Đặt hàng": {},
        "TrackEvents": {"schema": {"properties": {"n": {"type": ["integer", "array"], "items": {"type": "number"}}}}},
        "$group": {"schema": {"properties": {"plan": {"oneOf": [{"type": "string"}, {"type": "object"}]}}}},
    },
}
PYTHON_USE = """
from plan import order_completed, product_viewed
product_viewed({"product_id": "p-1", "price": 3})["event"]
order_completed({"order_id": "o", "revenue": 1, "currency": "VND", "products": [{"product_id": "p"}]})
"""
PYTHON_MISUSE = PYTHON_USE.replace('"VND"', '"EUR"')
TYPESCRIPT_USE = """
import type {{ PlannedAnalytics }} from "./plan";
declare const analytics: PlannedAnalytics;
analytics.track("Product Viewed", {{ product_id: {value} }});
analytics.identify("u-1", {{ email: "an@example.vn" }});
"""


def generate(plan: Path, language: str, out: Path) -> str:
    done = CliRunner().invoke(app, ["plan", "generate", str(plan), "--language", language, "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out.read_text()


def pyright(folder: Path, **files: str) -> str:
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict", "pythonVersion": "3.11"}))
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return subprocess.run([NODE / "pyright", "-p", folder], capture_output=True, text=True, check=False).stdout


def tsc(*files: Path) -> str:
    command = [NODE / "tsc", "--strict", "--noEmit", "--noUnusedLocals", *files]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    file = tmp_path / "odd.json"
    file.write_text(json.dumps(ODD))
    return file


def test_generated_python_passes_strict_types_and_catches_a_wrong_value(tmp_path: Path, odd: Path) -> None:
    generate(SHOP, "python", tmp_path / "plan.py")
    generate(odd, "python", tmp_path / "odd_plan.py")

    told = pyright(tmp_path, use=PYTHON_USE, misuse=PYTHON_MISUSE)

    assert "1 error," in told, told
    assert "misuse.py" in told
    assert "EUR" in told


def test_generated_python_runs_and_gives_the_arguments_of_a_call(tmp_path: Path, odd: Path) -> None:
    scope: dict[str, Any] = {"__name__": "plan"}
    exec(generate(SHOP, "python", tmp_path / "plan.py"), scope)
    exec(generate(odd, "python", tmp_path / "odd_plan.py"), {"__name__": "odd"})

    assert scope["product_viewed"]({"product_id": "p"}) == {
        "event": "Product Viewed",
        "properties": {"product_id": "p"},
    }
    assert scope["identify"]({"age": 3}) == {"traits": {"age": 3}}


def test_generated_typescript_compiles_and_catches_a_wrong_type(tmp_path: Path, odd: Path) -> None:
    generate(SHOP, "typescript", tmp_path / "plan.ts")
    generate(odd, "typescript", tmp_path / "odd_plan.ts")
    good, bad = tmp_path / "good.ts", tmp_path / "bad.ts"
    good.write_text(TYPESCRIPT_USE.format(value='"p-1"'))
    bad.write_text(TYPESCRIPT_USE.format(value="3"))

    told = tsc(good, bad, tmp_path / "odd_plan.ts")

    assert told.count("error TS") == 1, told
    assert "bad.ts" in told


def test_the_same_plan_makes_the_same_text_and_a_bad_one_is_named(tmp_path: Path) -> None:
    assert generate(SHOP, "python", tmp_path / "a") == generate(SHOP, "python", tmp_path / "b")
    file = tmp_path / "bad.json"
    file.write_text('{"name": "P", "events": {"A": {"schema": {"requierd": []}}}}')

    done = CliRunner().invoke(app, ["plan", "generate", str(file), "--language", "python"])

    assert done.exit_code != 0
    assert "requierd" in str(done.exception)
