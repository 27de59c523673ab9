"""What senders only name, fetched from their APIs: apart from the door, from a queue, tried for three days.

The answer becomes facts like those of a delivery, so whatever is fetched twice is stored once. What the sender refuses
to tell waits in the quarantine, stage ``lookup``; a replay asks once more (promise 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from hoso.collect.quarantine import quarantine
from hoso.collect.sources import kind_of
from hoso.collect.sources.contract import TOKEN, Delivery, Details, HookKind, HookSource, Json, Lookup, Question
from hoso.collect.sources.directory import HookSources
from hoso.collect.sources.storing import FactStore
from hoso.model.bad_row import BadRow
from hoso.model.errors import HosoError, InvalidInput
from hoso.platform.clock import Clock
from hoso.platform.http import NoAnswer, Outbound, Reply
from hoso.platform.log import logger
from hoso.platform.metrics import meter
from hoso.platform.objects import Objects
from hoso.platform.retry import LOOK_UP, Meaning, delay_ms, is_over, meaning, retry_after_ms

STAGE = "lookup"
PER_MESSAGE = 10
MAX_ANSWER_BYTES = 1024 * 1024
_PASSING = frozenset({Meaning.RETRY, Meaning.THROTTLED, Meaning.UNAUTHORISED})


@dataclass(frozen=True, slots=True)
class Order:
    """A message of the queue. ``first`` (UTC ms) is when the delivery came that named these."""

    workspace: str
    source: str
    first: int
    wanted: Sequence[Lookup]

    def body(self) -> str:
        """The message."""
        wanted = [[lookup.id, lookup.told] for lookup in self.wanted]
        told = {"workspace": self.workspace, "source": self.source, "first": self.first, "wanted": wanted}
        return orjson.dumps(told).decode()


def read_order(body: str) -> Order:
    """The order of a message. Raises ``InvalidInput``."""
    try:
        told = orjson.loads(body)
        wanted = [Lookup(name, known) for name, known in told["wanted"]]
        return Order(told["workspace"], told["source"], told["first"], wanted)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput("the message is no order for look-ups", code="bad_message") from error


def orders_of(kind: HookKind, delivery: Delivery) -> list[str]:
    """The messages for what a delivery only names; none without a secret for the sender's API."""
    source = delivery.source
    if kind.details is None or not source.secrets.get(TOKEN):
        return []
    return list(_messages(source.workspace, source.key, delivery.now, kind.details, kind.details.wanted(delivery)))


def orders_again(workspace: str, source: str, at: int, payloads: Sequence[Any]) -> list[str]:
    """The messages for look-ups that wait in the quarantine. Raises ``InvalidInput`` for what is none."""
    wanted: list[Lookup] = []
    details = None
    for payload in payloads:
        if not is_lookup(payload):
            raise InvalidInput("the payload is no look-up", code="bad_message")
        kind = kind_of(payload["lookup"])
        details = kind.details if kind is not None else None
        wanted.append(Lookup(payload["id"], payload["told"]))
    return [] if details is None else list(_messages(workspace, source, at, details, wanted))


def is_lookup(payload: object) -> bool:
    """Whether a quarantined payload is a look-up."""
    return type(payload) is dict and cast("Json", payload).keys() == {"lookup", "id", "told"}


def _messages(workspace: str, source: str, at: int, details: Details, wanted: Sequence[Lookup]) -> Iterator[str]:
    size = max(details.most, PER_MESSAGE)
    for start in range(0, len(wanted), size):
        yield Order(workspace, source, at, wanted[start : start + size]).body()


@dataclass(frozen=True, slots=True)
class LookupDesk:
    """Works off look-ups. ``uniform`` draws between two bounds."""

    sources: HookSources
    store: FactStore
    objects: Objects
    outbound: Outbound
    clock: Clock
    uniform: Callable[[float, float], float]

    def work(self, order: Order, tries: int) -> int | None:
        """Ask, and store what is told: ms until the order has to come again, None when it is done with.

        Raises:
            Transient: a table, the stream or the bucket does not answer.
        """
        source = self.sources.named(order.workspace, order.source)
        kind = kind_of(source.kind) if source is not None else None
        details = kind.details if kind is not None else None
        if source is None or details is None or not source.secrets.get(TOKEN):
            kept = source.kind if source is not None else ""
            fault = InvalidInput("the source is switched off, or has no secret for its API", code="no_access")
            self._keep(order, kept, order.wanted, fault)
            return None
        for start in range(0, len(order.wanted), details.most):
            some = order.wanted[start : start + details.most]
            wait = self._some(order, source, details, some, tries)
            if wait is not None:
                return wait
        return None

    def _some(
        self, order: Order, source: HookSource, details: Details, some: Sequence[Lookup], tries: int
    ) -> int | None:
        """One question; the answer as ``work`` gives it."""
        now = self.clock()
        try:
            reply = self._ask(source, details, some)
        except NoAnswer as error:
            return self._again(order, source, some, error, tries, None)
        except HosoError as error:  # the address may not be called, or the token cannot stand in a header
            self._keep(order, source.kind, some, error)
            return None
        answer, found = _json(reply.body), meaning(reply.status)
        if found in _PASSING or (found is not Meaning.DELIVERED and details.passing(answer)):
            fault = InvalidInput(f"the sender's API answers {reply.status}", code=found.value)
            return self._again(order, source, some, fault, tries, retry_after_ms(reply.retry_after, now))
        if found is not Meaning.DELIVERED or not answer:
            fault = InvalidInput(f"the sender's API answers {reply.status}", code="refused_lookup")
            self._keep(order, source.kind, some, fault)
            return None
        self._tell(order, source, details, some, answer)
        return None

    def _ask(self, source: HookSource, details: Details, some: Sequence[Lookup]) -> Reply:
        """The answer to the newest token that the sender takes: while one is exchanged, two are live."""
        newest, *older = source.secrets[TOKEN]
        reply = self._call(details.ask(source, newest, some))
        for token in older:
            if meaning(reply.status) is Meaning.UNAUTHORISED:
                reply = self._call(details.ask(source, token, some))
        return reply

    def _call(self, question: Question) -> Reply:
        return self.outbound.call(question.method, question.url, question.headers, question.body, most=MAX_ANSWER_BYTES)

    def _tell(self, order: Order, source: HookSource, details: Details, some: Sequence[Lookup], answer: Json) -> None:
        try:
            told = details.facts(source, some, answer)
        except Exception as error:  # an answer that the sender's module was not made for is bad input, no breakdown
            logger("collect").warning("look-up unreadable", extra={"error": type(error).__name__})
            self._keep(order, source.kind, some, InvalidInput("the answer cannot be read", code="unreadable"))
            return
        facts = [fact for found in told for fact in found or ()]
        taken = self.store.put(source, facts, self.clock()) if facts else None
        unknown = [lookup for lookup, found in zip(some, told, strict=True) if found is None]
        self._keep(order, source.kind, unknown, InvalidInput("the sender does not know it any more", code="not_found"))
        meter().add("lookups", len(some) - len(unknown), outcome="told")
        if taken is not None:
            meter().add("accepted", taken.accepted)
            if taken.rejected:
                quarantine(self.objects, order.workspace, "collect", order.source, order.first, taken.rejected)
                meter().add("quarantined", len(taken.rejected), stage="collect")

    def _again(
        self, order: Order, source: HookSource, some: Sequence[Lookup], fault: HosoError, tries: int, asked: int | None
    ) -> int | None:
        if is_over(LOOK_UP, order.first, tries, self.clock()):
            self._keep(order, source.kind, some, fault)
            return None
        meter().add("lookups", len(some), outcome="waits")
        return delay_ms(tries, asked, self.uniform)

    def _keep(self, order: Order, kind: str, some: Sequence[Lookup], fault: HosoError) -> None:
        if not some:
            return
        rows = [
            BadRow(place, None, fault.code, fault.message, {"lookup": kind, "id": one.id, "told": one.told})
            for place, one in enumerate(some)
        ]
        quarantine(self.objects, order.workspace, STAGE, order.source, order.first, rows)
        meter().add("quarantined", len(rows), stage=STAGE)
        meter().add("lookups", len(rows), outcome="refused")


def _json(body: bytes) -> Json:
    """The object that an answer holds; nothing for what is none."""
    try:
        answer = orjson.loads(body)
    except ValueError:
        return {}
    return cast("Json", answer) if type(answer) is dict else {}
