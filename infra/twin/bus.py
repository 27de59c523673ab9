"""EventBridge: which rules an event matches, and what their targets get.

Patterns are moto's; the envelope, input transformers and delivery are the twin's own, since moto's PutEvents calls its
targets itself and breaks on the templates of CDK. Delivery is asynchronous: PutEvents returns first.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from moto.events.models import EventPattern

from infra.twin.assembly import ACCOUNT
from infra.twin.courier import Courier, json_text
from infra.twin.registry import Deployment, Rule, RuleTarget

_PLACEHOLDER = re.compile(r"<([A-Za-z0-9_.\-]+)>")


class Bus:
    """Takes entries of PutEvents and posts them to the targets of the rules that match."""

    def __init__(self, deployment: Deployment, courier: Courier, now_ms: Callable[[], int]) -> None:
        self._region = deployment.region
        self._courier = courier
        self._now_ms = now_ms
        self._rules: list[tuple[Rule, EventPattern]] = [
            (rule, EventPattern(rule.pattern, json.loads(rule.pattern))) for rule in deployment.rules
        ]

    def put(self, entries: list[dict[str, Any]]) -> None:
        """Post accepted entries of a PutEvents call."""
        for entry in entries:
            bus = str(entry.get("EventBusName") or "default").rsplit("/", 1)[-1]
            event = envelope(entry, self._region, self._now_ms())
            for rule, pattern in self._rules:
                if rule.bus == bus and pattern.matches_event(event):  # pyright: ignore[reportArgumentType]
                    for target in rule.targets:
                        self._courier.post(target.target, shaped(target, event, rule), rule.arn)


def envelope(entry: Mapping[str, Any], region: str, now_ms: int) -> dict[str, Any]:
    """The event of a PutEvents entry."""
    return {
        "version": "0",
        "id": entry.get("EventId") or str(uuid.uuid4()),
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": ACCOUNT,
        "time": datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": entry.get("Resources", []),
        "detail": json.loads(entry["Detail"]),
    }


def shaped(target: RuleTarget, event: dict[str, Any], rule: Rule) -> str:
    """What a target gets of an event: all of it, a part, fixed text, or a filled template."""
    if target.text is not None:
        return target.text
    if target.path is not None:
        return json_text(_at(event, target.path))
    if target.template is None:
        return json_text(event)
    values: dict[str, Any] = {name: _at(event, path) for name, path in target.paths.items()}
    values["aws.events.event.json"] = values["aws.events.event"] = event
    values["aws.events.rule-arn"], values["aws.events.rule-name"] = rule.arn, rule.name
    values["aws.events.event.ingestion-time"] = event["time"]
    return _filled(target.template, values)


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """An unquoted ``<name>`` becomes JSON, one inside quotes bare text; unknown names stay."""

    def replace(match: re.Match[str]) -> str:
        if match[1] not in values:
            return match[0]
        value = values[match[1]]
        if not _in_quotes(template, match.start()):
            return json_text(value)
        text = value if isinstance(value, str) else "" if value is None else json_text(value)
        return json.dumps(text, ensure_ascii=False)[1:-1]

    return _PLACEHOLDER.sub(replace, template)


def _in_quotes(text: str, position: int) -> bool:
    quoted = False
    place = 0
    while place < position:
        if text[place] == "\\":
            place += 1
        elif text[place] == '"':
            quoted = not quoted
        place += 1
    return quoted


def _at(event: Any, path: str) -> Any:
    """The value at ``$.a.b`` or ``$.a[0]``; None when there is none."""
    value = event
    for name, index in re.findall(r"\.([A-Za-z0-9_\-]+)|\[(\d+)\]", path.removeprefix("$")):
        try:
            value = value[int(index)] if index else value[name]
        except (KeyError, IndexError, TypeError):
            return None
    return value
