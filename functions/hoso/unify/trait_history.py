"""What was written to a trait before, and by whom: the evidence for merge policies and for "where is this from" (pure).

Of all writes of a trait the *notable* ones are kept: of each value its newest write (the eight newest values), of each
source its newest (eight sources), the first, the largest and the smallest number. Each of these choices gives the same
writes whatever came first, and chosen from a choice it gives the same again: so the kept writes are a function of the
set of writes, and those of several fragments can be thrown together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from hoso.segment.values import number
from hoso.unify.traits import rank

MAX_NAMES = 40
"""Traits with a history; the reserved ones first, then by text, as for the traits themselves."""
MAX_VALUE_BYTES = 100
"""Longer values have no history: only the present one is known."""
VALUES = 8
SOURCES = 8
ID_LENGTH = 64

Json = dict[str, Any]
Order = tuple[int, str, str, bytes]


class Write(NamedTuple):
    """One write of a trait: when, by which event of which source, and what."""

    ts: int
    message_id: str
    source: str
    value: Any

    @property
    def order(self) -> Order:
        """What decides between two writes: the later one, then the greater message id."""
        return self.ts, self.message_id, self.source, _raw(self.value)


History = dict[str, list[Write]]
"""Per trait its notable writes, oldest first."""


def put(history: History, overflow: Json, name: str, write: Write) -> bool:
    """Fold one write in, in place. Answers whether anything changed."""
    key = rank(name)
    if not name or key >= overflow.get("cut", "~") or len(_raw(write.value)) > MAX_VALUE_BYTES:
        overflow["history"] = overflow.get("history", 0) + 1
        return True
    write = write._replace(message_id=write.message_id[:ID_LENGTH])
    held = history.get(name)
    if held is None:
        history[name] = [write]
        if len(history) > MAX_NAMES:
            last = max(history, key=rank)
            overflow["cut"] = rank(last)
            del history[last]
        return True
    fresh = _repeated(held, write) or notable([*held, write])
    if fresh == held:
        return False
    history[name] = fresh
    return True


def _repeated(held: list[Write], write: Write) -> list[Write] | None:
    """The notable writes after one more that says, later, what the newest said: the common case, without the work of
    choosing. None where it is another case. Numbers are left out: the first one of a value may be an extreme."""
    last = held[-1]
    value = write.value
    if (
        type(value) is not str
        or type(last.value) is not str
        or value != last.value
        or write.source != last.source
        or (write.ts, write.message_id) <= (last.ts, last.message_id)
        or number(value) is not None
    ):
        return None
    first = next(one for one in held if one.value is not None)
    return [*held, write] if first is last else [*held[:-1], write]


def notable(writes: Iterable[Write]) -> list[Write]:
    """The writes worth keeping, oldest first."""
    found = {write.order: write for write in writes}
    if len(found) < 2:
        return list(found.values())
    every = [found[order] for order in sorted(found)]
    kept = {
        *_newest_per(every, lambda write: _raw(write.value), VALUES),
        *_newest_per(every, lambda write: write.source.encode("utf-8", "surrogatepass"), SOURCES),
    }
    said = [write for write in every if write.value is not None]
    kept.update(write.order for write in said[:1])
    sized = [(size, write.order) for write in said if (size := number(write.value)) is not None]
    if sized:
        kept.add(min(sized)[1])
        kept.add(max(sized, key=itemgetter(0))[1])
    return [write for write in every if write.order in kept]


def _newest_per(every: list[Write], of: Callable[[Write], bytes], most: int) -> list[Order]:
    """The newest write of each value of ``of``, of the ``most`` values that were written last."""
    newest = {of(write): write.order for write in every}
    return sorted(newest.values())[-most:]


def wire(history: History) -> Json:
    """The history as JSON; strings that repeat cost little once compressed."""
    return {name: [list(write) for write in writes] for name, writes in history.items()}


def of_wire(state: Json) -> History:
    """The history in such JSON."""
    return {name: [Write(*entry[:4]) for entry in entries] for name, entries in state.items()}


def _raw(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
