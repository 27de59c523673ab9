"""When schedules are due, and what bus targets get."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.twin.assembly import AssemblyError
from infra.twin.bus import envelope, shaped
from infra.twin.clock import due_function, filled
from infra.twin.registry import Rule, RuleTarget, Schedule, Target

TARGET = Target("t", "arn:aws:lambda:r:1:function:f", 0, 60)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def schedule(expression: str, zone: str = "UTC", payload: str = "{}") -> Schedule:
    return Schedule("s", "arn:s", expression, zone, TARGET, payload)


@pytest.mark.parametrize(
    ("expression", "zone", "after", "until", "due"),
    [
        ("rate(1 minute)", "UTC", "2026-01-01T00:00:30", "2026-01-01T00:00:59", None),
        ("rate(1 minute)", "UTC", "2026-01-01T00:00:30", "2026-01-01T00:01:00", "2026-01-01T00:01:00"),
        ("rate(1 minute)", "UTC", "2026-01-01T00:00:30", "2026-01-04T05:06:07", "2026-01-04T05:06:00"),
        ("rate(5 minutes)", "UTC", "2026-01-01T00:04:00", "2026-01-01T00:06:00", "2026-01-01T00:05:00"),
        ("cron(0 19 * * ? *)", "UTC", "2026-01-01T18:59:59", "2026-01-01T19:00:01", "2026-01-01T19:00:00"),
        ("cron(0 19 * * ? *)", "UTC", "2026-01-01T19:00:00", "2026-01-02T18:59:00", None),
        ("cron(0 19 * * ? *)", "UTC", "2026-01-01T18:00:00", "2026-01-09T20:00:00", "2026-01-09T19:00:00"),
        ("cron(30 2 * * ? *)", "Asia/Ho_Chi_Minh", "2026-01-01T19:00:00", "2026-01-01T19:30:00", "2026-01-01T19:30:00"),
        (
            "cron(0/15 8-10 ? * MON-FRI 2026)",
            "UTC",
            "2026-01-02T10:40:00",
            "2026-01-05T07:00:00",
            "2026-01-02T10:45:00",
        ),
        ("cron(0 0 1 JAN,JUL ? *)", "UTC", "2026-01-01T00:00:00", "2026-08-01T00:00:00", "2026-07-01T00:00:00"),
        ("cron(0 12 ? * SUN *)", "UTC", "2026-01-01T00:00:00", "2026-01-06T00:00:00", "2026-01-04T12:00:00"),
    ],
)
def test_a_schedule_is_due_at_its_last_time_in_the_span(
    expression: str, zone: str, after: str, until: str, due: str | None
) -> None:
    answer = due_function(schedule(expression, zone))(at(after), at(until))

    assert answer == (None if due is None else at(due))


@pytest.mark.parametrize("expression", ["every minute", "cron(0 19 * *)", "at(2026-01-01T00:00:00)"])
def test_an_expression_that_is_not_understood_is_refused(expression: str) -> None:
    with pytest.raises(AssemblyError, match="not understood"):
        due_function(schedule(expression))


def test_the_scheduled_time_is_filled_in() -> None:
    payload = filled(
        schedule("rate(1 day)", payload='{"as_of":"<aws.scheduler.scheduled-time>"}'), at("2026-01-01T19:00:00")
    )

    assert json.loads(payload) == {"as_of": "2026-01-01T19:00:00Z"}


RULE = Rule("r", "arn:rule", "bus", "{}", ())
ENTRY = {"DetailType": "d", "Source": "hoso", "Detail": json.dumps({"name": 'A "b"', "n": 1, "list": [{"x": None}]})}
PATHS = {"name": "$.detail.name", "n": "$.detail.n", "first": "$.detail.list[0]", "gone": "$.detail.gone.deeper"}


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ('{"name": <name>, "n": <n>}', {"name": 'A "b"', "n": 1}),
        ('{"text": "Dear <name>, <n> of <first>"}', {"text": 'Dear A "b", 1 of {"x":null}'}),
        ('{"first": <first>, "gone": <gone>, "t": "<gone>"}', {"first": {"x": None}, "gone": None, "t": ""}),
        ('{"rule": "<aws.events.rule-name>", "all": <aws.events.event.json>}', None),
        ('"a <b> c"', "a <b> c"),
    ],
)
def test_an_input_transformer_is_filled(template: str, wanted: Any) -> None:
    event = envelope(ENTRY, "r", 0)

    body = json.loads(shaped(RuleTarget(TARGET, template=template, paths=PATHS), event, RULE))

    assert body == (wanted if wanted is not None else {"rule": "r", "all": event})


def test_a_target_without_transformer_gets_the_event() -> None:
    event = envelope(ENTRY, "ap-southeast-1", at("2026-01-01T00:00:00"))

    assert json.loads(shaped(RuleTarget(TARGET), event, RULE)) == event
    assert event["time"] == "2026-01-01T00:00:00Z"
    assert json.loads(shaped(RuleTarget(TARGET, path="$.detail.n"), event, RULE)) == 1
    assert shaped(RuleTarget(TARGET, text='{"fixed":1}'), event, RULE) == '{"fixed":1}'
