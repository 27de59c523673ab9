"""The ingestion API: from one HTTP request to stored events and an answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from hoso.collect import answers, credentials
from hoso.collect.answers import Reply
from hoso.collect.body import decode, sent_bytes
from hoso.collect.documents import rudderstack_config, segment_settings
from hoso.collect.events import Frame
from hoso.collect.intake import Hash, Sender, open_single, take
from hoso.collect.parse import Batch, parse_batch, text_of
from hoso.collect.paths import Place, find
from hoso.collect.pixels import pixel_text
from hoso.collect.plans import Plan
from hoso.collect.quarantine import quarantine
from hoso.collect.write_keys import Source, WriteKeys
from hoso.model.bad_row import BadRow
from hoso.model.errors import HosoError, InvalidInput, Transient, Unauthorized, UnsupportedMediaType
from hoso.model.identifiers import DEFAULT, IdentityConfig
from hoso.model.time import parse_instant
from hoso.platform.budget import Budgets, leasable
from hoso.platform.clock import Clock
from hoso.platform.metrics import Meter, meter
from hoso.platform.objects import Objects
from hoso.platform.stream import Stream

STAGE = "collect"
_OWN_CONNECTION = frozenset({"web", "mobile"})
_MAX_USER_AGENT = 512
_RECEIPT_EVENTS = 1_000
_KEY_IN_TEXT = re.compile(rb'"writeKey"\s*:\s*"([^"\\]{1,200})"')


class HttpRequest(NamedTuple):
    """A request as the gateway hands it over; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: str | None
    is_base64: bool
    source_ip: str


class OverBudget(HosoError):
    """The source has used up its budget: the client keeps its events and comes back (answers 429)."""

    code = "rate_limited"


class MissingKey(Unauthorized):
    """The request carries no write key at all."""

    code = "missing_write_key"


@dataclass(frozen=True, slots=True)
class Reception:
    """Everything that a request needs. ``hasher`` gives the keyed hash of a workspace; ``public_url`` may be empty.

    ``plan_of`` gives the tracking plan that a workspace's source follows.
    """

    keys: WriteKeys
    stream: Stream
    objects: Objects
    hasher: Callable[[str], Hash]
    clock: Clock
    new_id: Callable[[], str]
    budgets: Budgets
    workspace_events_per_minute: int = 6_000_000
    public_url: str = ""
    meter: Meter = field(default_factory=meter)
    plan_of: Callable[[str, str], Plan | None] = lambda _workspace, _source: None
    identity_of: Callable[[str], IdentityConfig] = lambda _workspace: DEFAULT

    def receive(self, request: HttpRequest) -> Reply:
        """The answer to a request. Bad input is never a 5xx, and a 2xx names stored events only."""
        place = find(request.path)
        if place is None:
            return answers.refused(404, "not_found", "no such address")
        if request.method == "OPTIONS":
            return answers.preflight()
        if request.method != place.method:
            return answers.refused(405, "method_not_allowed", f"use {place.method}", allow=f"{place.method}, OPTIONS")
        if place.job == "metrics":
            return answers.accepted(0, ())
        try:
            return self._answer(request, place)
        except Unauthorized as error:
            self.meter.add("refused", code=error.code)
            return answers.bad_key(missing=isinstance(error, MissingKey))
        except OverBudget as error:
            self.meter.add("refused", code=error.code)
            return answers.over_budget(self.budgets.retry_after_s(self.clock()))
        except Transient as error:
            _report("not stored", code=error.code, reason=error.message)
            self.meter.add("refused", code=error.code)
            return answers.unavailable()
        except Exception as error:
            # the gateway's own answer to a broken function has no code, and some SDKs retry that for ever (rule 2)
            _report("broken", error=type(error).__name__, path=place.job)
            self.meter.add("refused", code="internal_error")
            return answers.unavailable()

    def _answer(self, request: HttpRequest, place: Place) -> Reply:
        if place.job == "settings":
            source = self.keys.find(place.key)
            if source is None:
                return answers.refused(404, "invalid_write_key", "unknown: invalid write key")
            address = self.public_url or _address(request)
            return answers.document(segment_settings(place.key, address, source.consent))
        if place.job == "source_config":
            source = self._source(credentials.from_headers(request.headers) or credentials.from_query(request.query))
            config = rudderstack_config(source.key, source.name, source.workspace, source.consent)
            return answers.document(config, private=True)
        if place.job == "pixel":
            return self._pixel(request, place)
        if place.job == "receipts":
            return self._receipts(request)
        return self._collect(request, place)

    def _collect(self, request: HttpRequest, place: Place) -> Reply:
        """A POST with events. A key in the headers is checked before the body is touched."""
        key = credentials.from_headers(request.headers)
        if key is None and place.jitsu:
            key = credentials.from_jitsu_header(request.headers)
        source = self._source(key) if key is not None else None
        if source is not None and self.budgets.is_spent(source.workspace, source.key, self.clock()):
            raise OverBudget("the source's budget is used up")  # a flood is not even unpacked
        try:
            raw = decode(request.body, is_base64=request.is_base64, headers=request.headers)
            batch = parse_batch(raw) if place.job == "batch" else open_single(raw)
        except (InvalidInput, UnsupportedMediaType) as fault:
            return self._refuse_all(request, source, fault)
        if source is None:
            source = self._source(_key_in(request, batch))
        return self._store(request, place, source, raw, batch)

    def _store(self, request: HttpRequest, place: Place, source: Source, raw: bytes, batch: Batch) -> Reply:
        """Put the good events on the stream, the bad ones into quarantine."""
        now = self.clock()
        frame = Frame(now, self.new_id, place.kind, parse_instant(request.headers.get("sentat")))
        plan = self.plan_of(source.workspace, source.key)
        identity = self.identity_of(source.workspace)
        sender = Sender(
            source.workspace, source.key, _origin(request, source), plan, identity, _direct(request, source)
        )
        try:
            self._spend(source, len(batch.events), now)
            taken = take(raw, batch, frame, sender, self.hasher(source.workspace))
        except InvalidInput as fault:
            return self._refuse_all(request, source, fault)
        if taken.records:
            self.stream.put(taken.records)
        self.meter.add("accepted", taken.accepted)
        self.meter.add("flagged", taken.flagged)
        if taken.rejected:
            for code, count in Counter(row.code for row in taken.rejected).items():
                self.meter.add("refused", count, code=code)
            self._quarantine(source, now, taken.rejected, parse_instant(batch.envelope.get("sentAt")) or frame.sent_at)
            if not taken.accepted:
                return answers.all_refused(taken.rejected, batch=place.job == "batch")
        return answers.accepted(taken.accepted, taken.rejected)

    def _receipts(self, request: HttpRequest) -> Reply:
        """Receipts of a till in a body; the same body again makes the same messages."""
        from hoso.collect.imports.body import receipts_of

        key = credentials.from_headers(request.headers)
        source = self._source(key or credentials.from_query(request.query))
        if source.kind in _OWN_CONNECTION:
            return answers.refused(403, "server_key_needed", "receipts take the key of a server source")
        try:
            raw = decode(request.body, is_base64=request.is_base64, headers=request.headers)
            made = receipts_of(raw, request.headers.get("content-type", ""), source.key)
        except (InvalidInput, UnsupportedMediaType) as fault:
            return self._refuse_all(request, source, fault)
        now, found, accepted = self.clock(), made.found, 0
        if found.events:
            self._spend(source, len(found.events), now)
        identity, plan = self.identity_of(source.workspace), self.plan_of(source.workspace, source.key)
        sender = Sender(source.workspace, source.key, {}, plan, identity)
        for first in range(0, len(found.events), _RECEIPT_EVENTS):
            part = found.events[first : first + _RECEIPT_EVENTS]
            sent = orjson.dumps({"batch": part})
            taken = take(sent, parse_batch(sent), Frame(now, self.new_id), sender, self.hasher(source.workspace))
            if taken.records:
                self.stream.put(taken.records)
            accepted += taken.accepted
            self.meter.add("flagged", taken.flagged)
            lines = found.lines[first : first + _RECEIPT_EVENTS]
            found.bad += [(lines[bad.index], bad.code, bad.reason, part[bad.index]) for bad in taken.rejected]
        self.meter.add("accepted", accepted)
        found.bad.sort(key=lambda bad: bad[0])
        for code, count in Counter(code for _, code, _, _ in found.bad).items():
            self.meter.add("refused", count, code=code)
        if found.bad:
            rows = [BadRow(line, None, code, reason, payload) for line, code, reason, payload in found.bad]
            self._quarantine(source, now, rows, None, stage="import")
        return answers.receipts(made.rows, accepted, [bad[:3] for bad in found.bad])

    def _spend(self, source: Source, events: int, now: int) -> None:
        """Take the events from the budgets of the source and of its workspace. Raises ``OverBudget``."""
        workspace, budgets = source.workspace, self.budgets
        if events > leasable(source.events_per_minute):
            raise InvalidInput("the batch holds more events than its source may send a minute", code="too_many_events")
        own = budgets.take(workspace, source.key, events, source.events_per_minute, now)
        if own == "spent":
            raise OverBudget("the source's budget is used up")
        shared = budgets.take(workspace, "", events, self.workspace_events_per_minute, now)
        if shared == "spent":
            budgets.give_back(workspace, source.key, events, now)
            raise OverBudget("the workspace's budget is used up")
        if "uncounted" in (own, shared):
            self.meter.add("limit_unavailable")

    def _pixel(self, request: HttpRequest, place: Place) -> Reply:
        """An event in a query. The image is shown whatever happens; only what may be tried again is no 200."""
        text = b""
        try:
            text = pixel_text(request.query)
            batch = open_single(text)
            source = self._source(credentials.from_headers(request.headers) or _key_in(request, batch))
            self._store(request, place, source, text, batch)
        except Transient as error:
            _report("not stored", code=error.code, reason=error.message)
            self.meter.add("refused", code=error.code)
            return answers.pixel(503)
        except OverBudget as error:
            self.meter.add("refused", code=error.code)
            return answers.pixel(429)
        except Unauthorized as error:
            _report("pixel refused", code=error.code)
            self.meter.add("refused", code=error.code)
        except InvalidInput as error:
            self.meter.add("refused", code=error.code)
            self._quarantine_all(request, None, error, text or request.query.get("data", "").encode())
        return answers.pixel(200)

    def _source(self, key: str | None) -> Source:
        if key is None:
            raise MissingKey("no write key")
        source = self.keys.find(key)
        if source is None:
            raise Unauthorized("invalid write key", code="invalid_write_key")
        return source

    def _refuse_all(self, request: HttpRequest, source: Source | None, fault: HosoError) -> Reply:
        """Nothing of the request can be used: it goes into quarantine as it came, if its sender is known."""
        self.meter.add("refused", code=fault.code)
        with suppress(InvalidInput):
            sent = sent_bytes(request.body, is_base64=request.is_base64)
            self._quarantine_all(request, source, fault, sent)
        return answers.refused(415 if isinstance(fault, UnsupportedMediaType) else 400, fault.code, fault.message)

    def _quarantine_all(self, request: HttpRequest, source: Source | None, fault: HosoError, sent: bytes) -> None:
        """Keep what came as it came, if its sender is known."""
        source = source or self._source_in_text(request, sent)
        if source is not None and sent:
            payload = text_of(sent) if _is_text(sent) else sent
            self._quarantine(source, self.clock(), [BadRow(0, None, fault.code, fault.message, payload)], None)

    def _source_in_text(self, request: HttpRequest, sent: bytes) -> Source | None:
        """The sender of a body that cannot be parsed, by the key that stands somewhere in it."""
        key = credentials.from_query(request.query) or credentials.from_jitsu_header(request.headers)
        if key is None:
            match = _KEY_IN_TEXT.search(sent)
            key = match.group(1).decode("utf-8", "replace") if match else None
        try:
            return self.keys.find(key) if key else None
        except Transient:
            return None

    def _quarantine(self, source: Source, at: int, rows: list[BadRow], sent_at: int | None, stage: str = STAGE) -> None:
        """Store what was refused. The answer does not depend on it: the client has been told what is wrong."""
        _report("refused", workspace=source.workspace, source=source.key, rows=len(rows), code=rows[0].code)
        try:
            quarantine(self.objects, source.workspace, stage, source.key, at, rows, sent_at=sent_at)
            self.meter.add("quarantined", len(rows), stage=stage)
        except Exception as error:
            _report("quarantine failed", rows=len(rows), error=type(error).__name__)


def _key_in(request: HttpRequest, batch: Batch) -> str | None:
    return (
        credentials.from_body(batch.envelope)
        or credentials.from_query(request.query)
        or credentials.from_first_event(batch.events)
        or credentials.from_jitsu_header(request.headers)
    )


def _origin(request: HttpRequest, source: Source) -> dict[str, str]:
    """What the connection tells of the customer; of a server's connection it would be the wrong machine."""
    if source.kind not in _OWN_CONNECTION:
        return {}
    agent = request.headers.get("user-agent", "")[:_MAX_USER_AGENT]
    return {"ip": truncated_ip(request.source_ip), "user_agent": agent}


def _direct(request: HttpRequest, source: Source) -> dict[str, str]:
    """What a server key's connection tells of an event that says it came direct (tracking API, context): no user
    agent, for that is the library's."""
    if source.kind in _OWN_CONNECTION:
        return {}
    address = truncated_ip(request.source_ip)
    return {"ip": address} if address else {}


@lru_cache(maxsize=1_024)
def truncated_ip(address: str) -> str:
    """The network of an address: /24 of IPv4, /48 of IPv6; empty for what is no address.

    >>> truncated_ip("203.0.113.77")
    '203.0.113.0'
    """
    import ipaddress

    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    network = ipaddress.ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False)
    return str(network.network_address)


def _address(request: HttpRequest) -> str:
    return f"{request.headers.get('x-forwarded-proto', 'https')}://{request.headers.get('host', '')}"


def _is_text(sent: bytes) -> bool:
    return not sent.startswith(b"\x1f\x8b") and b"\0" not in sent[:64]


def _report(message: str, **fields: Any) -> None:
    """A line in the log. It must never cost an event (reliability R56)."""
    with suppress(Exception):
        from hoso.platform.log import logger

        logger(STAGE).warning(message, extra=fields)
