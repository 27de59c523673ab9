"""Under which identifier an event stands by other identity rules than those that it came under (pure).

The door chooses the best-ranked identifier of an event as its hub (R5). What it found then is stored with the event; by
other rules some of it may be no identifier any more, the ranks may differ, and the event's body may hold others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from hoso.model.identifiers import Identifier, IdentityConfig, extract, ranked
from hoso.unify.archive_range import Copies, Stored

Json = dict[str, Any]
RulesAt = Callable[[int], IdentityConfig | None]
"""By which rules an event of this receipt (UTC ms) is placed; None: it stands where it came."""


def identifiers_under(
    hub: tuple[str, str], others: Sequence[Sequence[str]], body: Json, config: IdentityConfig
) -> list[Identifier]:
    """The identifiers of a stored event by these rules, its hub first.

    Of a type of which a person has one value the first counts: two of them in one event prove nothing (R4), and the
    door refuses such an event, but what is stored stays somebody's. An event of which nothing identifies any more
    stays where it is.
    """
    stored = [Identifier(*hub), *(Identifier(kind, value) for kind, value in others)]
    known = [one for one in stored if not config.retired(one.type, one.value)]
    found: list[Identifier] = []
    for one in ranked([*known, *extract(body, config)], config):
        if one.type in config.unique_types and any(other.type == one.type for other in found):
            continue
        found.append(one)
    return found or stored[:1]


def stored_under(stored: Stored, rules_at: RulesAt) -> Stored:
    """An event of the archive as it would have come by the rules that place it."""
    config = rules_at(stored.received_at)
    if config is None:
        return stored
    hub = (stored.hub_type, stored.hub_value)
    first, *rest = identifiers_under(hub, orjson.loads(stored.ids), orjson.loads(stored.body), config)
    ids = orjson.dumps([list(one) for one in rest]).decode()
    return stored._replace(hub_type=first.type, hub_value=first.value, ids=ids)


def copies_under(found: Sequence[Copies], rules_at: RulesAt) -> list[Copies]:
    """Messages that came under several identifiers, as the rules place their copies (told with ``bodies``); copies
    that come under the identifier of the event itself are none."""
    answer: list[Copies] = []
    for message in found:
        first, *others = [_copy_under(copy, rules_at) for copy in message.found]
        place = first["type"], first["value"]
        apart = {(copy["type"], copy["value"]): copy for copy in others if (copy["type"], copy["value"]) != place}
        if apart:
            answer.append(message._replace(found=[first, *apart.values()]))
    return answer


def _copy_under(copy: Json, rules_at: RulesAt) -> Json:
    config = rules_at(copy["received_at"])
    if config is None:
        return copy
    hub = (copy["type"], copy["value"])
    first = identifiers_under(hub, orjson.loads(copy["ids"]), orjson.loads(copy["body"]), config)[0]
    return {**copy, "type": first.type, "value": first.value}
