"""A delivery that waits in the quarantine, read once more by the module of its sender as it is now (promise 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from hoso.collect.sources import kind_of
from hoso.collect.sources.calls import stamp
from hoso.collect.sources.contract import Delivery, Fact, HookSource, Json
from hoso.model.errors import InvalidInput


def is_delivery(payload: object) -> bool:
    """Whether a quarantined payload is a delivery (written by ``reception``)."""
    return type(payload) is dict and {"hook", "method", "headers", "query", "body"} <= cast("Json", payload).keys()


def read_again(payload: Mapping[str, Any], workspace: str, source: str, settings: Mapping[str, Any], at: int) -> Json:
    """The batch of calls that a kept delivery means. It was genuine when it was kept, so nothing is verified.

    ``at`` is when it came. What was stored of it then has the same message ids and changes nothing.

    Raises:
        InvalidInput: it still cannot be read, or not all of it.
    """
    kind = kind_of(str(payload["hook"]))
    if kind is None:
        raise InvalidInput("the kind of this delivery is not known here", code="unknown_kind")
    delivery = Delivery(
        source=HookSource(workspace, source, kind.name, settings),
        method=str(payload["method"]),
        headers=payload["headers"],
        query=str(payload["query"]),
        body=str(payload["body"]).encode("utf-8", "surrogatepass"),
        now=at,
    )
    try:
        facts = kind.facts(delivery)
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput("the delivery cannot be read", code="unreadable") from error
    calls: list[Json] = []
    for fact in facts:
        if not isinstance(fact, Fact):
            raise InvalidInput(fact.message, code=fact.code)
        calls.append(stamp(fact, kind.name, source))
    return {"batch": calls}
