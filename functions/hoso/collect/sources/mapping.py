"""A mapping from a sender's JSON to calls of the tracking API, in JMESPath, bounded in what it may say and make."""

from __future__ import annotations

from collections.abc import Mapping as Members
from functools import lru_cache
from typing import Annotated, Any, Literal, cast

import jmespath
import orjson
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, Field

from hoso.collect.sources.calls import identify, person, track
from hoso.collect.sources.contract import Fact, Json, Settings
from hoso.collect.sources.reading import instant, is_zone, one_or_many, text_of
from hoso.model.errors import HosoError, InvalidInput

MAX_EXPRESSION = 400
MAX_RECORDS = 1_000
MAX_NODES = 20_000
"""Values that the results for one record may hold together."""

_MAX_BRANCHES = 3
_MAX_INTEGER = 2**63
"""JSON is written with whole numbers of 64 bits."""

_BRANCHES = frozenset({"multi_select_list", "multi_select_dict"})
_WRITING = frozenset({"join", "to_string"})
_FUNCTIONS = frozenset(
    [
        *("abs", "avg", "ceil", "contains", "ends_with", "floor", "join", "keys", "length", "max", "min", "not_null"),
        *("reverse", "sort", "starts_with", "sum", "to_array", "to_number", "to_string", "type", "values"),
    ]
)


def _expression(text: str) -> str:
    """The text, if it is an expression that stays small. Raises ``ValueError``."""
    try:
        tree = jmespath.compile(text).parsed
    except JMESPathError as error:
        raise ValueError("not a JMESPath expression") from error
    branches, writes = 0, False
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        branches += node["type"] in _BRANCHES
        if node["type"] == "function_expression":
            if node["value"] not in _FUNCTIONS:
                raise ValueError("this function is not offered here")
            writes = writes or node["value"] in _WRITING
        waiting += node["children"]
    if branches > (0 if writes else _MAX_BRANCHES):
        # each may multiply its input: many in a row make a small body huge
        raise ValueError(
            f"at most {_MAX_BRANCHES} lists or objects are built in an expression, none beside join, to_string"
        )
    return text


Expression = Annotated[str, Field(max_length=MAX_EXPRESSION), AfterValidator(_expression)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class Mapping(Settings):
    """What a body means. ``records`` leads to the record or the list of them; the other expressions are read on one.

    ``event`` is the name of the track call, or an expression for it in ``event_path``; without either the call is an
    identify call. ``key`` tells one event from every other; left out, the delivery's id or the record's content does.
    ``when`` must be true for a record to be taken. Traits, properties and ids are names with expressions.
    """

    records: Expression = "@"
    when: Expression | None = None
    key: Expression | None = None
    timestamp: Expression | None = None
    zone: Annotated[str, AfterValidator(is_zone)] = "UTC"
    type: Literal["track", "identify"] = "track"
    event: str = Field(default="", max_length=200)
    event_path: Expression | None = None
    user_id: Expression | None = None
    anonymous_id: Expression | None = None
    ids: dict[Name, Expression] = Field(default_factory=dict[Name, Expression], max_length=20)
    traits: dict[Name, Expression] = Field(default_factory=dict[Name, Expression], max_length=100)
    properties: dict[Name, Expression] = Field(default_factory=dict[Name, Expression], max_length=100)


def mapped(body: Any, mapping: Members[str, Any], delivery_id: str) -> list[Fact | HosoError]:
    """The facts of a body. ``mapping`` is a ``Mapping`` as a document; a record that does not fit is refused alone."""
    records = one_or_many(_search(mapping.get("records", "@"), body))
    if len(records) > MAX_RECORDS:
        raise InvalidInput(f"a delivery has at most {MAX_RECORDS} records", code="too_many_events")
    found: list[Fact | HosoError] = []
    for index, record in enumerate(records):
        try:
            when = mapping.get("when")
            if when is None or _search(when, record) is True:
                found += _facts(record, mapping, f"{delivery_id}|{index}" if delivery_id else "")
        except InvalidInput as error:
            found.append(error)
    return found


def _facts(record: Any, mapping: Members[str, Any], delivery_key: str) -> list[Fact]:
    """The calls of one record: identify where there are traits, track where there is a name."""

    def one(name: str) -> Any:
        expression = mapping.get(name)
        return None if expression is None else _search(expression, record)

    def several(name: str) -> Json:
        read = {key: _search(expression, record) for key, expression in mapping.get(name, {}).items()}
        return {key: value for key, value in read.items() if value is not None}

    traits, properties = several("traits"), several("properties")
    _bound([traits, properties])
    key = text_of(one("key")) or delivery_key or orjson.dumps(record, option=orjson.OPT_SORT_KEYS).decode()
    who = person(
        user_id=text_of(one("user_id")),
        anonymous_id=text_of(one("anonymous_id")),
        traits={name: text_of(traits[name]) for name in ("email", "phone") if name in traits},
        ids=[(kind, text_of(value)) for kind, value in several("ids").items()],
    )
    at = instant(one("timestamp"), mapping.get("zone", "UTC"))
    external = key if len(key) <= 200 else ""
    name = text_of(one("event_path")) or mapping.get("event", "")
    found = [Fact(identify(traits, who), f"{key}|identify", external, at)] if traits else []
    if mapping.get("type", "track") == "track":
        if not name:
            raise InvalidInput("the mapping finds no event name", code="missing_event")
        found.append(Fact(track(name, properties, who), key, external, at))
    elif not traits:
        raise InvalidInput("the mapping finds no traits", code="missing_field")
    return found


def _search(expression: str, value: Any) -> Any:
    try:
        return _compiled(expression).search(value)
    except (JMESPathError, RecursionError, OverflowError, TypeError, ValueError) as error:
        raise InvalidInput("the mapping does not fit the body", code="mapping_failed") from error


@lru_cache(maxsize=1_024)
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression)


def _bound(value: object) -> None:
    """Refuse results that hold too many values: the same part may stand in them many times."""
    count = 0
    waiting: list[object] = [value]
    while waiting:
        part = waiting.pop()
        count += 1
        if count > MAX_NODES:
            raise InvalidInput("the mapping makes too much of the body", code="mapping_too_large")
        if type(part) is int and abs(part) >= _MAX_INTEGER:
            raise InvalidInput("the mapping makes a number with too many digits", code="number_too_long")
        if type(part) is dict:
            waiting.extend(cast("Json", part).values())
        elif type(part) is list:
            waiting.extend(cast("list[object]", part))
