"""What an operator does with destinations, templates, activations, products and deliveries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from pydantic import ValidationError

from hoso.activate import signing
from hoso.activate.breaker import Breaker
from hoso.activate.credentials import Credentials, CredentialStore
from hoso.activate.deliveries import REDRIVABLE, Delivery, as_json
from hoso.activate.documents import (
    Activation,
    DestinationInput,
    EmailDestination,
    Product,
    SegmentTrigger,
    Template,
    WebhookDestination,
    is_key,
    is_product_key,
    read_destination,
)
from hoso.activate.prices import outbox_row, price_changed, stored_form
from hoso.activate.store import DeliveryStore, Place
from hoso.model.errors import InvalidInput
from hoso.model.time import format_instant
from hoso.platform.clock import Clock
from hoso.platform.control import ControlStore, Document
from hoso.platform.dynamo import Put, Refused, Write
from hoso.platform.http import target_of
from hoso.platform.settings import Settings

Json = dict[str, Any]
T = TypeVar("T")
_PAGE = 100


class Administration:
    """The operator's side of activation, for the workspace of the deployment."""

    def __init__(
        self,
        control: ControlStore,
        store: DeliveryStore,
        credentials: CredentialStore,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._control = control
        self._store = store
        self._credentials = credentials
        self._clock = clock
        self._settings = settings
        self._workspace = settings.workspace

    def document(self, kind: str, key: str) -> Json:
        """A document as the API shows it. Raises ``NotFound``."""
        return _shown(self._control.get(self._workspace, kind, key))

    def destinations(self) -> list[Json]:
        """All destinations."""
        found = self._control.all(self._workspace, "destination")
        return [self._shown_destination(found[key]) for key in sorted(found)]

    def destination(self, key: str) -> Json:
        """One destination. Raises ``NotFound``."""
        return self._shown_destination(self._control.get(self._workspace, "destination", key))

    def put_destination(self, key: str, body: Json) -> Json:
        """Store a destination; its secrets and header values go apart. Secrets left out stay, or are made.

        Raises:
            InvalidInput: names each wrong field, never its value.
        """
        _check_key(key)
        held = self._credentials.get(self._workspace, key, fresh=True)
        given = _validated(lambda: DestinationInput.model_validate({k: body[k] for k in _SECRET_FIELDS & body.keys()}))
        headers = held.headers if given.headers is None else given.headers
        rest = {name: value for name, value in body.items() if name not in _SECRET_FIELDS}
        if rest.get("kind") == "webhook":
            rest["headers"] = dict.fromkeys(headers, "…")
        elif _SECRET_FIELDS & body.keys():
            raise InvalidInput("only webhooks have secrets and headers")
        destination = _validated(lambda: read_destination(rest))
        made: list[str] = []
        if isinstance(destination, WebhookDestination):
            target_of(destination.url, local=self._settings.outbound_http)
            secrets = list(given.secrets or held.secrets)
            if not secrets:
                secrets = made = [signing.new_secret()]
            self._credentials.put(self._workspace, key, Credentials(secrets, headers))
        document = self._put("destination", key, destination.model_dump(mode="json"))
        self._close_breaker(document)
        shown = self._shown_destination(document)
        return {**shown, "secrets": made} if made else shown

    def put_template(self, key: str, template: Template) -> Json:
        """Store a template."""
        _check_key(key)
        return _shown(self._put("template", key, template.model_dump(mode="json")))

    def put_activation(self, key: str, activation: Activation) -> Json:
        """Store an activation whose destination, template and segments exist and fit. Raises ``InvalidInput``."""
        _check_key(key)
        destination = read_destination(self._existing("destination", activation.destination).body)
        trigger = activation.trigger
        if isinstance(destination, EmailDestination):
            if activation.template is None:
                raise InvalidInput("an e-mail destination needs a template")
            if trigger.kind == "segment.changed":
                raise InvalidInput("segment.changed keeps a list in step: its destination must be a webhook")
        elif activation.template is not None:
            raise InvalidInput("a webhook has no template")
        if activation.template is not None:
            self._existing("template", activation.template)
        named = [activation.audience, trigger.segment if isinstance(trigger, SegmentTrigger) else None]
        for segment in filter(None, named):
            self._existing("segment", segment)
        return _shown(self._put("activation", key, activation.model_dump(mode="json")))

    def put_product(self, key: str, product: Product) -> Json:
        """Store a product; if its price fell, the announcement is part of the same transaction."""
        if not is_product_key(key):
            raise InvalidInput("a product's key is 1 to 128 of A-Z a-z 0-9 . _ : -")

        def announcement(before: Document | None, after: Document) -> Sequence[Write]:
            old = Product.model_validate(before.body) if before else None
            event = price_changed(self._workspace, key, after.revision, old, product, self._clock())
            return [Put(self._store.outbox, outbox_row(event))] if event else []

        document = self._control.put(self._workspace, "product", key, stored_form(product), announcement)
        return _shown(document)

    def deliveries(self, status: str | None, limit: int, place: Place | None) -> tuple[list[Delivery], Place | None]:
        """Deliveries of one status or all, newest first."""
        return self._store.of_status(self._workspace, [status] if status else [], limit, place)

    def deliveries_of(self, pid: str, status: str | None, limit: int, cursor: Any) -> tuple[list[Delivery], int | None]:
        """Deliveries of one person, newest first; ``cursor`` is how many were shown before."""
        shown = cursor if isinstance(cursor, int) and cursor > 0 else 0
        found = [d for d in self._store.of_person(self._workspace, pid) if status is None or d.status == status]
        following = shown + limit if len(found) > shown + limit else None
        return found[shown : shown + limit], following

    def redrive(
        self,
        status: str,
        *,
        limit: int,
        destination: str | None,
        profile_id: str | None,
        ids: frozenset[str] | None,
        dry_run: bool,
    ) -> Json:
        """Begin parked or failed deliveries anew. One that somebody else redrove meanwhile is left alone (R44)."""
        if status not in REDRIVABLE:
            raise InvalidInput(f"status can be: {', '.join(REDRIVABLE)}")
        found = (
            delivery
            for delivery in self._of(status, profile_id)
            if (destination is None or delivery.destination == destination) and (ids is None or delivery.id in ids)
        )
        chosen = list(islice(found, limit))
        redriven = chosen if dry_run else [delivery for delivery in chosen if self._redrive(delivery)]
        shown = [as_json(delivery) for delivery in redriven[:_PAGE]]
        return {"dry_run": dry_run, "count": len(redriven), "items": shown}

    def _of(self, status: str, profile_id: str | None) -> Iterator[Delivery]:
        """The deliveries of a status that are there now, of one person or all."""
        if profile_id is not None:
            yield from (d for d in self._store.of_person(self._workspace, profile_id) if d.status == status)
            return
        place: Place | None = None
        while True:
            found, place = self._store.of_status(self._workspace, [status], _PAGE, place)
            yield from found
            if place is None:
                return

    def _redrive(self, delivery: Delivery) -> bool:
        try:
            self._store.redrive(delivery, self._clock())
        except Refused:
            return False
        return True

    def _close_breaker(self, document: Document) -> None:
        """An operator who stores a destination, even unchanged, says that it is good again."""
        breaker = self._store.breaker(self._workspace, document.key, document.revision)
        closed = Breaker(document.revision, breaker.version)
        if closed != breaker:
            self._store.put_breaker(self._workspace, document.key, closed)

    def _existing(self, kind: str, key: str) -> Document:
        found = self._control.all(self._workspace, kind).get(key)
        if found is None:
            raise InvalidInput(f"no {kind} has the key {key}", hint=f"make the {kind} first")
        return found

    def _put(self, kind: str, key: str, body: Json) -> Document:
        return self._control.put(self._workspace, kind, key, body)

    def _shown_destination(self, document: Document) -> Json:
        breaker = self._store.breaker(self._workspace, document.key, document.revision)
        now = self._clock()
        state = "disabled" if breaker.disabled else "open" if breaker.wait_ms(now) else "closed"
        shown = {**_shown(document), "breaker": state}
        if breaker.disabled:
            shown["disabled_reason"] = breaker.disabled
        if document.body["kind"] == "webhook":
            shown |= self._credentials.get(self._workspace, document.key).masked()
        return shown


_SECRET_FIELDS = frozenset({"secrets", "headers"})


def _check_key(key: str) -> None:
    if not is_key(key):
        raise InvalidInput("a key is 1 to 64 of a-z 0-9 _ - and begins with a letter or digit")


def _validated(build: Callable[[], T]) -> T:
    try:
        return build()
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors()]
        raise InvalidInput("; ".join(faults[:20])) from error


def _shown(document: Document) -> Json:
    about = {"key": document.key, "revision": document.revision, "updated": format_instant(document.at)}
    return {**document.body, **about}
