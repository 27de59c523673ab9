"""``hoso identity``: try identity rules on recorded evidence, through the production resolver and its store."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from hoso.model.errors import InvalidInput
from hoso.platform.aws import client
from hoso.unify.try_scenarios import Scenario, parse_scenario
from infra.cli import identity_rules, identity_switch, show
from infra.cli.cases import read_cases
from infra.cli.connection import CommandError, JsonOption
from infra.cli.identity_trial import ORDERS, TABLES, run_scenario

app = typer.Typer(no_args_is_help=True)


app.add_typer(identity_rules.app, name="rules", help="Show, compare and apply identity rules.")
app.add_typer(identity_switch.app, name="switch", help="Switch identity rules: rebuild, compare, confirm, take over.")
app.command("preview")(identity_rules.preview)


@app.callback()
def identity() -> None:
    """Try identity rules on recorded evidence."""


@app.command("try")
def try_file(
    file: Annotated[Path, typer.Argument(help="JSON: a list of scenarios, or one.", exists=True, dir_okay=False)],
    order: Annotated[
        str, typer.Option(help="given, shuffled or shuffled-repeats; where order may not matter.")
    ] = "given",
    workers: Annotated[int, typer.Option(min=1, max=32, help="Workers whose table calls are interleaved by lot.")] = 1,
    seed: Annotated[int, typer.Option(help="Makes shuffling and interleaving repeatable.")] = 0,
    json_: JsonOption = False,
) -> None:
    """Run scenarios and print, per id, who ends up as one person. Exit 1 where a scenario's ``expect`` differs."""
    if order not in ORDERS:
        raise CommandError(f"--order is one of {', '.join(ORDERS)}")
    outcomes: dict[str, Any] = {}
    wrong: list[str] = []
    scenarios = _read(file)
    with _tables() as dynamo:
        for scenario, expect in track(scenarios, "scenarios", console=show.errors, disable=json_, transient=True):
            _empty(dynamo)
            found = run_scenario(dynamo, scenario, expect, order, workers, seed)
            outcomes[scenario.id] = found
            if expect and not _agrees(found, expect, in_order=order == "given"):
                wrong.append(scenario.id)
    if json_:
        show.value(outcomes)
    else:
        show.rows(
            (
                {
                    "id": name,
                    "people": found["profiles"],
                    "unowned": found["unowned"],
                    "ok": "no" if name in wrong else "",
                }
                for name, found in outcomes.items()
            ),
            ["id", "people", "unowned", "ok"],
            as_json=False,
        )
        show.console.print(f"{len(outcomes)} scenarios, {len(wrong)} differ from their expectation")
    if wrong:
        raise typer.Exit(1)


def _read(file: Path) -> list[tuple[Scenario, dict[str, Any]]]:
    """The scenarios of a file, each with its expectation. Raises ``CommandError``, before anything runs."""
    found: dict[str, tuple[Scenario, dict[str, Any]]] = {}
    for place, document in enumerate(read_cases(file, "scenarios"), 1):
        name = document.get("id") or f"number {place}"
        try:
            scenario = parse_scenario({**document, "id": name})
        except InvalidInput as error:
            raise CommandError(f"scenario {name}: {error.message}") from error
        if scenario.id in found:
            raise CommandError(f"two scenarios are called {scenario.id}")
        found[scenario.id] = scenario, document.get("expect") or {}
    return list(found.values())


def _agrees(found: dict[str, Any], expect: dict[str, Any], *, in_order: bool) -> bool:
    """Whether an outcome is the expected one, compared as sets. Which profile id an event got on arrival is a
    question of the given order only."""
    history = not in_order or found.get("same_profile_history", []) == expect.get("same_profile_history", [])
    return history and _as_sets(found) == _as_sets(expect)


def _as_sets(outcome: dict[str, Any]) -> tuple[Any, ...]:
    profiles = {(frozenset(one["ids"]), frozenset(one["events"])) for one in outcome.get("profiles", [])}
    return profiles, set(outcome.get("unowned", [])), set(outcome.get("unresolved_events", []))


@contextmanager
def _tables() -> Generator[Any, None, None]:
    """A DynamoDB in memory."""
    from moto import mock_aws

    from infra.twin import moto_fixes

    moto_fixes.apply()
    for name, value in (("AWS_ACCESS_KEY_ID", "try"), ("AWS_SECRET_ACCESS_KEY", "try")):
        os.environ.setdefault(name, value)
    os.environ.setdefault("AWS_DEFAULT_REGION", "ap-southeast-1")
    with mock_aws():
        client.cache_clear()
        yield client("dynamodb")
    client.cache_clear()


def _empty(dynamo: Any) -> None:
    """Fresh tables."""
    there = set(dynamo.list_tables()["TableNames"])
    for name in TABLES.values():
        if name in there:
            dynamo.delete_table(TableName=name)
        dynamo.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
