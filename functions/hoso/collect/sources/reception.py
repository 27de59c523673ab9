"""One delivery of a webhook: whose it is, whether it is genuine, what it tells, and the answer that its sender expects.

Accepted means stored: the events go through the same door and onto the same stream as all others. What is genuine but
cannot be used goes into quarantine; what is not genuine is counted and dropped (decision 0010).
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from hoso.collect.quarantine import quarantine
from hoso.collect.reception import OverBudget
from hoso.collect.sources import kind_of
from hoso.collect.sources.contract import Contradicted, Delivery, Fact, HookKind, HookSource, Reply, Unverified, reply
from hoso.collect.sources.directory import HookSources, token_of
from hoso.collect.sources.lookups import orders_of
from hoso.collect.sources.marks import Marks
from hoso.collect.sources.storing import FactStore
from hoso.model.bad_row import BadRow
from hoso.model.errors import HosoError, InvalidInput, Transient
from hoso.platform.budget import Budgets
from hoso.platform.clock import Clock
from hoso.platform.metrics import meter
from hoso.platform.objects import Objects
from hoso.platform.queue import WorkQueue

R = TypeVar("R")
STAGE = "collect"
MAX_BODY_BYTES = 1024 * 1024
MAX_QUERY_BYTES = 16 * 1024
MAX_FACTS = 2_500
_KEPT_HEADERS = re.compile(r"content-type|x-[a-z-]*-(?:topic|event|webhook-id|event-type)|webhook-id")


class BodyTooLarge(InvalidInput):
    """More bytes than any sender has to say at once (answers 413)."""

    code = "body_too_large"


_STATUS: tuple[tuple[type[HosoError], int], ...] = ((Unverified, 401), (BodyTooLarge, 413), (OverBudget, 429))


@dataclass(frozen=True, slots=True)
class HookReception:
    """Everything that a delivery needs. ``lookups`` takes what is to be fetched; ``public_url`` may be empty."""

    sources: HookSources
    store: FactStore
    objects: Objects
    marks: Marks
    clock: Clock
    budgets: Budgets
    lookups: WorkQueue
    workspace_events_per_minute: int = 6_000_000
    public_url: str = ""

    def receive(self, event: Mapping[str, Any]) -> Reply:
        """The answer to an HTTP API event (payload 2.0). Whatever is sent, it is no 5xx unless nothing was stored."""
        try:
            token = token_of(event["rawPath"])
            source = self.sources.find(token) if token else None
        except Transient:
            return _unavailable()
        kind = kind_of(source.kind) if source is not None else None
        if source is None or kind is None:
            meter().add("refused", 1, code="unknown_address")
            return reply(404, {"success": False, "code": "not_found", "message": "no such address"})
        method: str = event["requestContext"]["http"]["method"]
        if method not in kind.methods:
            allowed = ", ".join(sorted(kind.methods))
            refusal = reply(405, {"success": False, "code": "method_not_allowed", "message": f"use {allowed}"})
            return {**refusal, "headers": {**refusal["headers"], "allow": allowed}}
        delivery = _delivery(event, source, method, b"", self.clock(), self.public_url)
        try:
            # bounds come before anything is read of the body
            delivery = replace(delivery, body=_bounded(event))
            greeting = kind.greet(delivery)
            return greeting if greeting is not None else self._take(kind, delivery)
        except Transient as error:
            _report("not stored", source, error.code)
            return kind.refused(delivery, error, 503)
        except HosoError as error:
            return self._refuse(kind, delivery, error)

    def _take(self, kind: HookKind, delivery: Delivery) -> Reply:
        """Verify, read, store. Raises what the delivery is refused with."""
        source = delivery.source
        if kind.needs_secret and not source.signing:
            raise Unverified("the source has no secret yet", code="no_secret", hint="set the sender's secret")
        _readable(kind.verify, delivery)
        seen = None
        try:
            seen = _readable(kind.seen, delivery) if kind.seen is not None else None
            known = self.marks.find(source, seen, delivery.now) if seen is not None else None
            if known:
                meter().add("duplicates", 1)
                return kind.stored(delivery, True)
            if known is False:
                raise Contradicted("the transaction is known with another amount")
            facts = _readable(kind.facts, delivery)
            if len(facts) > MAX_FACTS:
                raise InvalidInput(f"a delivery tells at most {MAX_FACTS} things", code="too_many_events")
        except Transient:
            raise
        except HosoError as error:
            self._keep(kind, delivery, [_bad(0, error, _payload(delivery))])
            raise
        self._store(kind, delivery, facts)
        # a repetition looks up once more, which changes nothing; after a failure here it is wanted
        self.lookups.put(orders_of(kind, delivery))
        if seen is not None:
            with suppress(Transient):  # without the mark a repetition is stored once more, under the same message id
                self.marks.put(source, seen, delivery.now)
        return kind.stored(delivery, False)

    def _store(self, kind: HookKind, delivery: Delivery, facts: Sequence[Fact | HosoError]) -> None:
        """Put the good facts on the stream, the others into quarantine. Raises when no fact is good."""
        source = delivery.source
        good = [fact for fact in facts if isinstance(fact, Fact)]
        wrong = [(index, fact) for index, fact in enumerate(facts) if isinstance(fact, HosoError)]
        # the delivery is kept once: to send it again stores nothing twice
        bad = [_bad(wrong[0][0], wrong[0][1], _payload(delivery))] if wrong else []
        accepted = 0
        if good:
            self._spend(source, len(good), delivery.now)
            try:
                taken = self.store.put(source, good, delivery.now)
            except InvalidInput as fault:
                self._keep(kind, delivery, [_bad(0, fault, _payload(delivery))])
                raise
            accepted = taken.accepted
            bad += taken.rejected
        meter().add("accepted", accepted)
        if bad:
            self._keep(kind, delivery, bad)
            if not accepted:
                raise InvalidInput(bad[0].reason, code=bad[0].code)

    def _spend(self, source: HookSource, events: int, now: int) -> None:
        """Take the events from the budgets of the source and of its workspace. Raises ``OverBudget``."""
        own = self.budgets.take(source.workspace, source.key, events, source.events_per_minute, now)
        if own == "spent":
            raise OverBudget("the source's budget is used up")
        shared = self.budgets.take(source.workspace, "", events, self.workspace_events_per_minute, now)
        if shared == "spent":
            self.budgets.give_back(source.workspace, source.key, events, now)
            raise OverBudget("the workspace's budget is used up")
        if "uncounted" in (own, shared):
            meter().add("limit_unavailable")

    def _refuse(self, kind: HookKind, delivery: Delivery, error: HosoError) -> Reply:
        """The answer to what is not taken. Of what is not genuine nothing is kept."""
        meter().add("refused", 1, code=error.code)
        if isinstance(error, Unverified):
            meter().add("verification_failed", 1, source_kind=delivery.source.kind)
        _report("refused", delivery.source, error.code)
        status = next((status for fault, status in _STATUS if isinstance(error, fault)), 400)
        answer = kind.refused(delivery, error, status)
        if status == 429:
            wait = str(self.budgets.retry_after_s(delivery.now))
            return {**answer, "headers": {**answer["headers"], "retry-after": wait}}
        return answer

    def _keep(self, kind: HookKind, delivery: Delivery, rows: list[BadRow]) -> None:
        """Quarantine rows. Raises ``Transient``: what is neither stored nor kept must come again."""
        source = delivery.source
        if not kind.keeps_refused:
            rows = [replace(row, payload=None) for row in rows]
        quarantine(self.objects, source.workspace, STAGE, source.key, delivery.now, rows)
        meter().add("quarantined", len(rows), stage=STAGE)


def _readable(read: Callable[[Delivery], R], delivery: Delivery) -> R:
    """What the sender's own module says. A body that it was not made for is bad input, never a breakdown."""
    try:
        return read(delivery)
    except HosoError:
        raise
    except Exception as error:
        _report(f"unreadable: {type(error).__name__}", delivery.source, "unreadable")
        raise InvalidInput("the delivery cannot be read", code="unreadable") from error


def _delivery(
    event: Mapping[str, Any], source: HookSource, method: str, body: bytes, now: int, public_url: str
) -> Delivery:
    headers: Mapping[str, str] = event.get("headers") or {}
    query: str = event.get("rawQueryString") or ""
    tail = event["rawPath"] + (f"?{query}" if query else "")
    own: str = source.settings.get("called_url") or ""
    if own:
        address = own + (f"?{query}" if query else "")
    else:
        base = public_url.rstrip("/") or f"{headers.get('x-forwarded-proto', 'https')}://{headers.get('host', '')}"
        address = base + tail
    return Delivery(source, method, headers, query, body, now, address)


def _bounded(event: Mapping[str, Any]) -> bytes:
    """The raw body. Raises ``InvalidInput`` for one that is too large, or packed: signatures are over what was sent."""
    if len(event.get("rawQueryString") or "") > MAX_QUERY_BYTES:
        raise BodyTooLarge(f"the query holds more than {MAX_QUERY_BYTES} bytes")
    given: str = event.get("body") or ""
    if len(given) > MAX_BODY_BYTES * 4 // 3 + 4:
        raise BodyTooLarge(f"the body holds more than {MAX_BODY_BYTES} bytes")
    if event.get("isBase64Encoded"):
        try:
            body = b64decode(given)
        except Base64Error as error:
            raise InvalidInput("the body is not base64", code="invalid_json") from error
    else:
        body = given.encode("utf-8", "surrogatepass")
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"the body holds more than {MAX_BODY_BYTES} bytes")
    headers: Mapping[str, str] = event.get("headers") or {}
    if headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise InvalidInput("a webhook's body is sent as it is, without Content-Encoding", code="unsupported_encoding")
    return body


def _payload(delivery: Delivery) -> Any:
    """What the quarantine keeps of a genuine delivery: no secret, and of the headers only those that say what it is."""
    live = [secret for kept in delivery.source.secrets.values() for secret in kept]

    def clean(text: str) -> str:
        for secret in live:
            text = text.replace(secret, "…")
        return text

    return {
        "hook": delivery.source.kind,
        "method": delivery.method,
        "headers": {name: value for name, value in delivery.headers.items() if _KEPT_HEADERS.fullmatch(name)},
        "query": clean(delivery.query),
        "body": clean(delivery.body.decode("utf-8", "backslashreplace")),
    }


def _bad(index: int, error: HosoError, payload: Any) -> BadRow:
    return BadRow(index, None, error.code, error.message, payload)


def _unavailable() -> Reply:
    refusal = reply(503, {"success": False, "code": "unavailable", "message": "try again"})
    return {**refusal, "headers": {**refusal["headers"], "retry-after": "2"}}


def _report(message: str, source: HookSource, code: str) -> None:
    """A line in the log. It must never cost an event (reliability R56)."""
    with suppress(Exception):
        from hoso.platform.log import logger

        logger(STAGE).warning(message, extra={"workspace": source.workspace, "source": source.key, "code": code})
