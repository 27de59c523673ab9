"""The way of one event through one channel: for each activation decide, claim, send, store what became of it.

Effectively once: the delivery is stored as ``sending`` on the condition of its version before anything goes out. Who
finds one that another worker held and never finished sends it again (webhook) or parks it (e-mail: it may have gone).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson

from hoso.activate import routing
from hoso.activate.breaker import Breaker
from hoso.activate.catalogue import Catalogue, Destination
from hoso.activate.channels import Again, Channel, Delivered, Order, Refused, Result, Unknown
from hoso.activate.decide import Cause, Policy, Recipient, Send, Skip, decide
from hoso.activate.deliveries import (
    ENDS,
    FAILED,
    NOBODY,
    PARKED,
    RETRYING,
    SENDING,
    SENT,
    SKIPPED,
    WAITING,
    Delivery,
    delivery_id,
)
from hoso.activate.documents import EXITED, Activation, SegmentTrigger, WebhookDestination
from hoso.activate.recipients import PeopleReader, Person, person_of, recipient_of
from hoso.activate.store import DeliveryStore, SendLog
from hoso.model.errors import Conflict, InvalidInput, NotFound, Transient
from hoso.model.time import SECOND_MS
from hoso.platform import retry
from hoso.platform.clock import Clock
from hoso.platform.dynamo import Refused as Lost
from hoso.platform.ids import Hasher
from hoso.segment.conditions import EVERY_CHANNEL

EARLY_MS = SECOND_MS
"""A message that comes back this much before its time is taken all the same."""
_CLAIM_TRIES = 3
_RACED_MS = 2 * SECOND_MS
_HELD_BACK_MS = (5 * SECOND_MS, 20 * SECOND_MS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a delivery stands. ``again_at``: hand the event in again then (UTC ms). ``dead``: it was given up now."""

    delivery: Delivery
    again_at: int | None = None
    dead: bool = False


@dataclass(slots=True)
class _Case:
    """One delivery and all that it is decided with."""

    delivery: Delivery
    before: str | None
    activation: Activation | None
    destination: Destination | None
    detail: Mapping[str, Any]
    person: Person | None = None
    recipient: Recipient | None = None
    log: SendLog | None = None
    listed: list[str] = field(default_factory=list[str])

    @property
    def removal(self) -> bool:
        """Whether the person is to be taken off a list."""
        return self.detail["type"] == EXITED and isinstance(self.destination, WebhookDestination)

    @property
    def keeps_list(self) -> bool:
        """Whether the activation keeps a list at its destination in step with the segment."""
        trigger = self.activation.trigger if self.activation else None
        return isinstance(trigger, SegmentTrigger) and trigger.kind == "segment.changed"


class Courier:
    """Delivers events on one channel. ``uniform`` is ``random.uniform`` or a test's own."""

    def __init__(
        self,
        channel: Channel,
        catalogue: Catalogue,
        store: DeliveryStore,
        people: PeopleReader,
        hasher: Callable[[str], Hasher],
        clock: Clock,
        uniform: Callable[[float, float], float],
    ) -> None:
        self._channel = channel
        self._catalogue = catalogue
        self._store = store
        self._people = people
        self._hasher = hasher
        self._clock = clock
        self._uniform = uniform

    def deliver(self, detail: Mapping[str, Any], ill: Collection[str] = ()) -> list[Outcome]:
        """Work on every activation of an event that this channel serves; destinations in ``ill`` are not called now.

        Raises:
            InvalidInput: the event is not one of ours.
            Transient: a table does not answer; hand the event in again.
        """
        if not all(isinstance(detail.get(name), str) for name in ("workspace", "event_id", "type")):
            raise InvalidInput("not an event of the bus", code="bad_event")
        if not isinstance(detail.get("at"), int) or not isinstance(detail.get("activations"), list):
            raise InvalidInput("an event of the bus without a time or a route", code="bad_event")
        outcomes: list[Outcome] = []
        for key in detail["activations"]:
            outcome = self._one(str(key), detail, ill)
            if outcome is not None:
                outcomes.append(outcome)
        return outcomes

    def is_fault(self, outcome: Outcome) -> bool:
        """Whether the destination did not answer as it should, so that its other messages are better held back."""
        return outcome.again_at is not None and outcome.delivery.status == RETRYING

    def _one(self, key: str, detail: Mapping[str, Any], ill: Collection[str]) -> Outcome | None:
        workspace, now = detail["workspace"], self._clock()
        as_is = key.startswith(routing.AS_IS)
        activation = None if as_is else self._catalogue.activation(workspace, key)
        if activation is None and not as_is:
            return None
        target = activation.destination if activation else key.removeprefix(routing.AS_IS)
        destination = self._catalogue.destination(workspace, target)
        if destination is None or destination.kind != self._channel.kind:
            return None
        held = self._held(detail, key, target, now)
        case = _Case(held, held.status if held.version else None, activation, destination, detail)
        ready = self._not_now(held, now)
        if ready is not None:
            return ready
        if target in ill:
            return Outcome(held, now + int(self._uniform(*_HELD_BACK_MS)))
        if held.status == SENDING and self._channel.at_most_once:
            return self._end(case, PARKED, "outcome_unknown: a worker stopped while sending")
        return self._attempt(case, now)

    def _held(self, detail: Mapping[str, Any], key: str, target: str, now: int) -> Delivery:
        pid = str(detail.get("profile_id") or NOBODY)
        found = self._store.get(detail["workspace"], pid, delivery_id(detail, key, target))
        return found or Delivery(
            workspace=detail["workspace"],
            pid=pid,
            id=delivery_id(detail, key, target),
            activation=key,
            destination=target,
            channel=self._channel.kind,
            cause=detail["event_id"],
            type=detail["type"],
            at=now,
            first_at=now,
            detail=orjson.dumps(dict(detail)).decode(),
        )

    def _not_now(self, held: Delivery, now: int) -> Outcome | None:
        """The answer for a delivery that is over, in other hands, or not yet due."""
        if held.status in ENDS and held.version:
            return Outcome(held)
        if held.status == SENDING and held.lease > now:
            return Outcome(held, held.lease)
        if held.status in (WAITING, RETRYING) and held.next_at > now + EARLY_MS:
            return Outcome(held, held.next_at)
        return None

    def _attempt(self, case: _Case, now: int) -> Outcome:
        """Decide and send, or store why not. Who loses a race for the delivery or its caps decides again."""
        for _ in range(_CLAIM_TRIES):
            stopped = self._stop(case, now)
            if stopped is not None:
                return stopped
            breaker = self._passage(case, now)
            if isinstance(breaker, Outcome):
                return breaker
            order = self._order(case)
            try:
                message = self._channel.prepare(order)
            except (InvalidInput, NotFound) as error:
                return self._end(case, FAILED, f"{error.code}: {error.message}")
            try:
                case.delivery = self._claim(case, now)
            except Lost:
                held = self._store.get(case.delivery.workspace, case.delivery.pid, case.delivery.id)
                if held is not None and held.version != case.delivery.version:
                    return self._not_now(held, now) or Outcome(held, now + _RACED_MS)
                continue
            return self._settle(case, breaker, self._channel.send(order, message, now))
        return Outcome(case.delivery, now + _RACED_MS)

    def _claim(self, case: _Case, now: int) -> Delivery:
        """Take the delivery. Nothing was sent before this, so a take whose answer got lost is still ours."""
        taken = case.delivery.sending(now, uuid4().hex)
        try:
            return self._store.claim(taken, case.log, self._list_mark(case))
        except Transient:
            held = self._store.get(taken.workspace, taken.pid, taken.id)
            if held is None or held.owner != taken.owner:
                raise
            return held

    def _stop(self, case: _Case, now: int) -> Outcome | None:
        """Ask the rules; None when the message may go."""
        activation = case.activation
        if activation is None:
            return None
        self._look_up(case, activation, now)
        recipient = case.recipient or Recipient(exists=False)
        sends = [entry for entry in case.log.all if entry[2] != case.delivery.id] if case.log else []
        if activation.cap is not None and activation.cap.scope == "activation":
            sends = [entry for entry in sends if entry[1] == case.delivery.activation]
        policy = Policy(
            channel=activation.channel or self._channel.kind,
            needs_address=self._channel.kind == "email",
            sends=[entry[0] for entry in sends],
            max_age_ms=self._channel.window.length_ms if self._channel.at_most_once else None,
        )
        cause = Cause(case.detail["at"], case.removal, bool(case.listed) or not case.keeps_list)
        decision = decide(activation, case.delivery.activation, recipient, cause, policy, now)
        if isinstance(decision, Send):
            return None
        if isinstance(decision, Skip):
            return self._end(case, SKIPPED, decision.reason)
        return self._wait(case, decision.until, decision.reason)

    def _look_up(self, case: _Case, activation: Activation, now: int) -> None:
        """Read everything that the decision rests on, strongly consistent."""
        workspace = case.delivery.workspace
        profile = self._people.load_person(workspace, case.delivery.pid)
        person = case.person = person_of(profile)
        address = self._channel.address(person.traits, person.identifiers)
        suppressed = address is not None and self._store.is_suppressed(
            workspace, self._channel.kind, address, self._hasher(workspace)
        )
        silenced = {self._channel.kind, activation.channel, EVERY_CHANNEL} & set(profile.blocked)
        suppressed = suppressed or bool(silenced)
        trigger = activation.trigger
        named = {activation.segment, trigger.segment if isinstance(trigger, SegmentTrigger) else None} - {None}
        segments = frozenset(key for key in named if key is not None)
        case.recipient = recipient_of(profile, self._people, segments, address, now, suppressed=suppressed)
        if not profile.exists:
            return
        if case.keeps_list and case.removal:
            case.listed = self._store.lists(workspace, person.fragments, case.delivery.activation)
        if not case.removal and (activation.cap is not None or self._channel.at_most_once):
            case.log = self._store.send_log(workspace, person.fragments, self._channel.kind)

    def _passage(self, case: _Case, now: int) -> Breaker | Outcome:
        """The destination's breaker if a call may be made now."""
        workspace, key = case.delivery.workspace, case.delivery.destination
        if case.destination is None or not case.destination.enabled:
            return self._end(case, FAILED, "destination_disabled")
        breaker = self._store.breaker(workspace, key, self._catalogue.destination_revision(workspace, key))
        if breaker.disabled:
            return self._end(case, FAILED, f"destination_disabled: {breaker.disabled}")
        wait_ms = breaker.wait_ms(now)
        if not wait_ms and breaker.is_half_open:
            probing = self._store.put_breaker(workspace, key, breaker.probing(now))
            if probing is not None:
                return probing
            wait_ms = _RACED_MS
        if wait_ms:
            return self._wait(case, now + wait_ms + int(self._uniform(0, wait_ms)), "destination_unavailable")
        return breaker

    def _order(self, case: _Case) -> Order:
        delivery, person = case.delivery, case.person
        if case.destination is None:
            raise NotFound(f"no destination has the key {delivery.destination}")
        entered = isinstance(case.destination, WebhookDestination) and delivery.type == "segment.entered"
        return Order(
            id=delivery.id,
            workspace=delivery.workspace,
            destination_key=delivery.destination,
            destination=case.destination,
            activation_key=delivery.activation,
            activation=case.activation,
            detail=case.detail,
            pid=person.pid if person else str(case.detail.get("profile_id") or ""),
            action="" if case.activation is None else "remove" if case.removal else "add" if entered else "",
            person=person.traits if person else {},
            identifiers=person.identifiers if person else {},
            address=case.recipient.address if case.recipient else None,
        )

    def _list_mark(self, case: _Case) -> str | None:
        """The fragment that gets the note "is on the list", before the destination is told."""
        if case.keeps_list and not case.removal and case.person is not None:
            return case.person.fragments[0]
        return None

    def _settle(self, case: _Case, breaker: Breaker, result: Result) -> Outcome:
        """Store what became of a try."""
        now = self._clock()
        case.delivery = case.delivery.tried(result.result, now)
        self._move_breaker(case, breaker, result, now)
        match result:
            case Delivered():
                if case.removal and case.keeps_list and case.person is not None:
                    self._store.unlist(case.delivery.workspace, case.listed, case.delivery.activation)
                return self._end(case, SENT, "", result.reference)
            case Unknown():
                return self._end(case, PARKED, f"outcome_unknown: {result.result}")
            case Refused():
                return self._end(case, FAILED, f"refused: {result.result}")
            case Again():
                if retry.is_over(self._channel.window, case.delivery.first_at, case.delivery.tries, now):
                    return self._end(case, FAILED, f"gave_up: {result.result}")
                at = now + retry.delay_ms(case.delivery.tries, result.after_ms, self._uniform)
                return self._keep(case, case.delivery.retrying(at, result.result), at)

    def _move_breaker(self, case: _Case, breaker: Breaker, result: Result, now: int) -> None:
        moved = breaker.succeeded()
        if isinstance(result, Again):
            moved = breaker.failed(now) if result.fault else breaker.throttled(now, result.after_ms or 0)
        elif isinstance(result, Refused) and result.gone:
            moved = breaker.gone(result.result)
        if moved != breaker:
            # Whoever changed it meanwhile saw the same destination: losing this race loses nothing.
            self._store.put_breaker(case.delivery.workspace, case.delivery.destination, moved)

    def _end(self, case: _Case, status: str, reason: str, reference: str = "") -> Outcome:
        return self._keep(case, case.delivery.ended(status, reason, self._clock(), reference), None)

    def _wait(self, case: _Case, until: int, reason: str) -> Outcome:
        now = self._clock()
        if now - case.delivery.first_at >= retry.QUEUE_KEEPS_MS:
            return self._end(case, FAILED, f"gave_up: {reason}")
        return self._keep(case, case.delivery.waiting(until, reason, now), until)

    def _keep(self, case: _Case, delivery: Delivery, again_at: int | None) -> Outcome:
        try:
            stored = self._store.record(delivery, case.before)
        except Conflict:
            # Another worker holds it: ask again soon, and find what it did.
            return Outcome(delivery, self._clock() + _RACED_MS)
        return Outcome(stored, again_at, dead=stored.status == FAILED)
