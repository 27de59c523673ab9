"""Repair rows of the quarantine by a mapping, and judge again what comes out (promise 1, reliability P4). Pure.

A mapping is a JMESPath expression over the payload, whose result is the new payload (``merge(@, {event: name})``), or a
JSON Patch (RFC 6902), a list of operations on it. It is data from an operator, never code: no function of it can
reach anything but the payload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import orjson

from hoso.collect.intake import Hash
from hoso.collect.plans import Plan
from hoso.collect.replay import Opened, Replay, replay
from hoso.collect.scan import loads
from hoso.model.bad_row import BadRow
from hoso.model.errors import InvalidInput
from hoso.model.identity_config import DEFAULT, IdentityConfig

MAX_EXPRESSION = 4_000
MAX_OPERATIONS = 100
_MAX_NESTING = 40

Repair = Callable[[Any], Any]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a mapping makes of a row: payload before and after, and whether the door takes it now."""

    index: int
    message_id: str | None
    before: Any
    after: Any
    accepted: bool
    code: str = ""
    message: str = ""


def compile_map(spec: object) -> Repair:
    """The mapping that an expression (text) or a JSON Patch (list) describes; None leaves payloads as they are.

    Raises:
        InvalidInput: ``invalid_map``, it is neither, or too large.
    """
    if spec is None:
        return lambda payload: payload
    if isinstance(spec, str):
        return _expression(spec)
    if isinstance(spec, list) and spec:
        operations = cast("list[Any]", spec)
        if len(operations) > MAX_OPERATIONS:
            raise _invalid(f"a patch has at most {MAX_OPERATIONS} operations")
        for operation in operations:
            _check_operation(operation)
        return lambda payload: _patched(payload, cast("list[Json]", operations))
    raise _invalid("a mapping is a JMESPath expression or a list of JSON Patch operations")


def open_rows(entry: Mapping[str, Any]) -> list[Json]:
    """The rows of an entry that no replay has taken yet."""
    done = {index for one in entry.get("replays", []) for index in one["accepted"]}
    return [row for row in entry["rows"] if row["index"] not in done]


def repair(
    entry: Mapping[str, Any],
    mapping: Repair,
    hash_of: Hash,
    plan: Plan | None = None,
    only: Iterable[int] | None = None,
    opened: Opened = lambda payload: payload,
    identity: IdentityConfig = DEFAULT,
) -> tuple[list[Outcome], Replay]:
    """Map the open rows of an entry and judge them as at the door; nothing is sent.

    ``only`` are the indexes to look at; ``plan``, ``opened`` and ``identity`` see ``replay``. The answer's records are
    those of the rows that are good now.
    """
    wanted = None if only is None else set(only)
    rows = [row for row in open_rows(entry) if wanted is None or row["index"] in wanted]
    after: dict[int, Any] = {}
    faults: dict[int, InvalidInput] = {}
    for row in rows:
        try:
            after[row["index"]] = mapping(deepcopy(readable(row["payload"])))
        except InvalidInput as fault:
            faults[row["index"]] = fault
    # the door changes an event as it takes it in: what is shown and what is judged are two copies
    mapped = {**entry, "rows": [row for row in rows if row["index"] in after]}
    judged = replay(mapped, deepcopy(after), hash_of, plan, opened, identity)
    refused = {row.index: row for row in judged.rejected}
    outcomes: list[Outcome] = []
    for row in rows:
        index, message_id = row["index"], row["message_id"]
        problem = faults.get(index) or refused.get(index)
        if problem is None:
            outcomes.append(Outcome(index, message_id, row["payload"], after[index], accepted=True))
            continue
        text = problem.reason if isinstance(problem, BadRow) else problem.message
        shown = after.get(index)
        outcomes.append(Outcome(index, message_id, row["payload"], shown, False, problem.code, text))
    return outcomes, judged


def readable(payload: Any) -> Any:
    """The JSON value of a payload that was kept as text, where it is one; anything else as it is."""
    if not isinstance(payload, str):
        return payload
    try:
        return loads(payload.encode("utf-8", "surrogatepass"))
    except orjson.JSONDecodeError:
        return payload


def _expression(text: str) -> Repair:
    if not text.strip() or len(text) > MAX_EXPRESSION:
        raise _invalid(f"an expression has 1 to {MAX_EXPRESSION} characters")
    if max(_depths(text), default=0) > _MAX_NESTING:
        raise _invalid(f"an expression nests at most {_MAX_NESTING} levels")
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        compiled = jmespath.compile(text)
    except JMESPathError as error:
        raise _invalid("this is no JMESPath expression") from error

    def apply(payload: Any) -> Any:
        try:
            found = compiled.search(payload)
        except (JMESPathError, RecursionError, ValueError) as error:
            raise InvalidInput("the expression does not fit this payload", code="map_failed") from error
        if found is None:
            raise InvalidInput("the expression finds nothing in this payload", code="map_failed")
        return found

    return apply


def _depths(text: str) -> Iterable[int]:
    depth = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        yield depth


def _check_operation(operation: object) -> None:
    if type(operation) is not dict:
        raise _invalid("an operation of a patch is an object")
    given = cast("Json", operation)
    needs = {"add": "value", "replace": "value", "test": "value", "remove": "path", "move": "from", "copy": "from"}
    kind = given.get("op")
    if kind not in needs or needs[kind] not in given:
        raise _invalid("an operation has op (add, replace, remove, move, copy, test), path, and value or from")
    for name in ("path", "from"):
        if name in given and (not isinstance(given[name], str) or (given[name] and not given[name].startswith("/"))):
            raise _invalid(f"{name} is a JSON pointer, such as /properties/total")
    if "path" not in given:
        raise _invalid("an operation has a path")


def _patched(payload: Any, operations: Sequence[Json]) -> Any:
    root: Json = {"": payload}
    for operation in operations:
        kind, path = operation["op"], _steps(operation["path"])
        if kind == "test":
            if _get(root, path) != operation["value"]:
                raise InvalidInput("the patch's test does not hold for this payload", code="map_failed")
        elif kind == "remove":
            _remove(root, path)
        elif kind == "replace":
            _get(root, path)
            _remove(root, path)
            _add(root, path, deepcopy(operation["value"]))
        elif kind == "add":
            _add(root, path, deepcopy(operation["value"]))
        else:
            origin = _steps(operation["from"])
            value = deepcopy(_get(root, origin))
            if kind == "move":
                _remove(root, origin)
            _add(root, path, value)
    if "" not in root:
        raise InvalidInput("the patch leaves nothing of the payload", code="map_failed")
    return root[""]


def _steps(pointer: str) -> list[str]:
    """The steps of a JSON pointer from the holder of the whole payload (RFC 6901)."""
    return [""] + [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _get(root: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        root = _child(root, step)
    return root


def _child(value: Any, step: str) -> Any:
    if isinstance(value, dict) and step in value:
        return cast("Json", value)[step]
    if isinstance(value, list):
        held = cast("list[Any]", value)
        place = _place(step, len(held) - 1)
        return held[place]
    raise _nothing()


def _remove(root: Any, steps: Sequence[str]) -> None:
    holder = _get(root, steps[:-1])
    _child(holder, steps[-1])
    if isinstance(holder, list):
        held = cast("list[Any]", holder)
        del held[_place(steps[-1], len(held) - 1)]
    else:
        del holder[steps[-1]]


def _add(root: Any, steps: Sequence[str], value: Any) -> None:
    holder = _get(root, steps[:-1])
    if isinstance(holder, dict):
        cast("Json", holder)[steps[-1]] = value
    elif isinstance(holder, list):
        held = cast("list[Any]", holder)
        held.insert(len(held) if steps[-1] == "-" else _place(steps[-1], len(held)), value)
    else:
        raise _nothing()


def _place(step: str, last: int) -> int:
    """The index of a list that a step names, 0 to ``last``."""
    if not (step.isascii() and step.isdigit() and len(step) <= 6 and (step == "0" or step[0] != "0")):
        raise _nothing()
    if int(step) > last:
        raise _nothing()
    return int(step)


def _nothing() -> InvalidInput:
    return InvalidInput("the patch names a place that this payload does not have", code="map_failed")


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, code="invalid_map", hint="see docs/repair.md")
