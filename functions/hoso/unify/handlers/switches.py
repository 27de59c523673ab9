"""Switches of the identity rules, beside the replays that they are made of: ``handler`` answers the admin API of both,
``step`` is the task of the replay machine for both (input and output: ``hoso.unify.handlers.rewind``)."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from typing import Any

import orjson
from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict, Field

from hoso.collect.quarantine import quarantine
from hoso.model.bad_row import BadRow
from hoso.model.errors import NotFound
from hoso.model.identity_rules import config_in
from hoso.model.time import SECOND_MS
from hoso.platform.audit import audit_entry
from hoso.platform.aws import client
from hoso.platform.dynamo import Item, Table
from hoso.platform.metrics import meter, metered
from hoso.platform.settings import Settings
from hoso.platform.web import Answer, Request, Router, answer, encode_cursor
from hoso.unify import switch_commit
from hoso.unify.adoption import Adopter
from hoso.unify.handlers import rewind
from hoso.unify.handlers.rewind import MAX_RATE, objects, parts, rewinder, rewinds, shadow_parts
from hoso.unify.mover import Mover
from hoso.unify.rewind import STEP_S, most_a_step
from hoso.unify.switch import Switcher, switch_shown
from hoso.unify.veil import rule_preview

_MAY_CHANGE = ("engineer", "admin")
_MAY_READ = (*_MAY_CHANGE, "analyst")
_LONGEST_WAIT_S = 60
_CONSUMING_S = 120
"""How long a process may go on with what it read before: the consumer's time-out."""


class SwitchRequest(BaseModel):
    """The rules to switch to, and how many events of the archive are folded a second at most."""

    model_config = ConfigDict(extra="forbid")

    document: dict[str, Any]
    rate: int = Field(default=5_000, ge=1, le=MAX_RATE)


class CommitRequest(BaseModel):
    """``confirm``: also when many people change. ``silent``: nobody is told of what the switch changes. ``lag_s``: how
    long events take from the door to the archive at most."""

    model_config = ConfigDict(extra="forbid")

    confirm: bool = False
    silent: bool = False
    lag_s: int = Field(default=180, ge=0, le=3_600)


class SettleRequest(BaseModel):
    """Nothing is to be said."""

    model_config = ConfigDict(extra="forbid")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One admin API request."""
    return answer(event, context, ROUTES)


@metered
def step(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The next piece of a replay or switch; a failure is tried again by the machine."""
    workspace, replay = event["workspace"], event["replay"]
    if "error" in event or rewinds(workspace).get(replay)["into"] != "switch":
        return rewind.step(event, context)
    began = time.monotonic()
    before = rewinds(workspace).get(replay)
    ended = switcher(workspace, before).step(replay, context.get_remaining_time_in_millis)
    after = rewinds(workspace).get(replay)
    filled = after["events"] - before["events"]
    meter().add("replayed", filled)
    wait_s = max(0, STEP_S - int(time.monotonic() - began)) if filled >= most_a_step(before) and not ended else 0
    if after["status"] == "waiting":
        left_s = -((parts().clock() - after["wake"]) // SECOND_MS)
        wait_s = max(1, min(left_s, _LONGEST_WAIT_S))
    return {"workspace": workspace, "replay": replay, "done": ended, "wait_s": wait_s}


def start(request: Request) -> Answer:
    """Start a switch: a rebuild under these rules, and a comparison. Nothing of the live state changes."""
    actor, order = request.require(*_MAY_CHANGE), request.parse(SwitchRequest)
    workspace, now = _settings().workspace, parts().clock()
    replay = f"{now:013d}-{secrets.token_hex(4)}"
    held = switch_commit.start(
        rewinds(workspace), parts().control, workspace, order.document, replay, now, actor.subject, order.rate
    )
    _audit(actor.subject, "identity.switch", replay)
    _run(held)
    return Answer(202, switch_shown(held))


def listed(request: Request) -> dict[str, Any]:
    """Switches among the replays, newest first; pages may be short."""
    request.require(*_MAY_READ)
    found, following = rewinds(_settings().workspace).page(request.limit(), request.cursor)
    items = [switch_shown(held) for held in found if held["into"] == "switch"]
    for one in items:
        del one["report"], one["check"]
    return {"items": items, "next": encode_cursor(following) if following else None}


def show(request: Request) -> dict[str, Any]:
    """One switch: its progress, its report, and, at its end, the check."""
    actor, shown = request.require(*_MAY_READ), switch_shown(_switch(request))
    if shown["report"] and not actor.sees_persons:
        shown["report"] = rule_preview(shown["report"])
    return shown


def commit(request: Request) -> Answer:
    """Put the rules of a compared switch in force, and let the people follow."""
    actor, order = request.require(*_MAY_CHANGE), request.parse(CommitRequest)
    held, settings, now = _switch(request), _settings(), parts().clock()
    entry = audit_entry(_control(), settings.workspace, now, actor.subject, "identity.switch.commit", held["sk"])
    held = switch_commit.commit(
        rewinds(settings.workspace),
        parts().control,
        settings.workspace,
        held["sk"],
        now,
        confirmed=order.confirm,
        silent=order.silent,
        wait_s=2 * settings.config_ttl_ms // SECOND_MS + min(order.lag_s, _CONSUMING_S),
        lag_s=order.lag_s,
        audit=[entry],
    )
    _run(held)
    return Answer(202, switch_shown(held))


def settle(request: Request) -> Answer:
    """Let a confirmed switch settle once more: what the check found, or a process that died, is made good."""
    actor, _ = request.require(*_MAY_CHANGE), request.parse(SettleRequest)
    workspace = _settings().workspace
    held = switch_commit.settle_again(
        rewinds(workspace), parts().control, workspace, _switch(request)["sk"], parts().clock()
    )
    _audit(actor.subject, "identity.switch.settle", held["sk"])
    _run(held)
    return Answer(202, switch_shown(held))


def stop(request: Request) -> dict[str, Any]:
    """Stop a switch at its next step. Rules that are in force stay; settle goes on."""
    request.require(*_MAY_CHANGE)
    return switch_shown(rewinds(_settings().workspace).stop(_switch(request)["sk"]))


ROUTES = Router(
    {
        **rewind.ROUTES.routes,
        "POST /v1/identity/switches": start,
        "GET /v1/identity/switches": listed,
        "GET /v1/identity/switches/{id}": show,
        "POST /v1/identity/switches/{id}/commit": commit,
        "POST /v1/identity/switches/{id}/settle": settle,
        "POST /v1/identity/switches/{id}/stop": stop,
    }
)


def switcher(workspace: str, held: Item) -> Switcher:
    """The worker of a switch."""
    settings, live = _settings(), parts()
    config = config_in(orjson.loads(held["rules"]))
    shadow = shadow_parts(config)
    adopter = Adopter(
        live.profiles,
        live.outbox,
        live.store.delivery,
        client("dynamodb"),
        shadow.profiles,
        shadow.identities(workspace).keys,
        config,
        live.clock,
        has_sides=lambda: any(live.control.all(workspace, kind) for kind in ("segment", "activation")),
    )

    def keep(_workspace: str, stage: str, source: str, at: int, rows: Sequence[BadRow]) -> None:
        quarantine(objects(), workspace, stage, source, at, rows)

    mover = Mover(live.store, live.people, keep, live.clock, settings.timeline_days)
    return Switcher(rewinds(workspace), rewinder(workspace, config), objects(), live, shadow, adopter, mover, workspace)


def _switch(request: Request) -> Item:
    held = rewinds(_settings().workspace).get(request.path["id"])
    if held["into"] != "switch":
        raise NotFound("no such switch")
    return held


def _run(held: Item) -> None:
    """Set the machine going; where it goes already, that is enough."""
    settings = _settings()
    try:
        client("stepfunctions").start_execution(
            stateMachineArn=settings.machine,
            name=f"switch-{held['sk']}-{held['v']}",
            input=orjson.dumps({"workspace": settings.workspace, "replay": held["sk"]}).decode(),
        )
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "ExecutionAlreadyExists":
            raise


def _audit(actor: str, action: str, subject: str) -> None:
    entry = audit_entry(_control(), _settings().workspace, parts().clock(), actor, action, subject)
    entry.table.put(entry.item, entry.condition)


def _control() -> Table:
    return Table(_settings().control_table, client("dynamodb"))


def _settings() -> Settings:
    return Settings.from_env(os.environ)
