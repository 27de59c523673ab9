"""A small AWS for the tests of activation: unify's tables in moto, bus and queues as lists, SES as a list of mails.

The real handlers run: outbox sender, trigger, channels, admin API. ``World.run`` plays the pollers by its own clock.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hoso.activate.handlers import admin, channel, feedback, outbox, trigger
from hoso.model.time import format_instant
from hoso.platform.wire import to_wire
from hoso.unify.handlers import consume, profiles
from infra.twin import calls
from infra.twin.calls import Call, Proceed
from tests.admin_calls import admin_event, answered
from tests.unify_world import NOW, Context, unify_world
from tests.unify_world import World as UnifyWorld

SECRET = "whsec_Y2RwLXRlc3Qtc2lnbmluZy1rZXktMDEyMzQ1Njc4OSE="
OTHER_SECRET = "whsec_b3RoZXItdGVzdC1zaWduaW5nLWtleS0wMTIzNDU2Nzg5"
ENV = {
    "HOSO_BUS": "bus",
    "HOSO_DEAD_LETTERS": "https://sqs.eu-central-1.amazonaws.com/123456789012/dead",
    "HOSO_MAIL_FROM": "shop@example.com",
    "HOSO_OUTBOUND_HTTP": "true",
}
CACHED: tuple[Any, ...] = (
    admin._administration,
    channel._inbox,
    feedback._tools,
    outbox._parts,
    trigger._walk,
)
SUBSCRIPTION = {
    "email": channel.email,
    "webhook": channel.webhook,
    "trigger": trigger.handler,
    "suppression": feedback.handler,
}


@dataclass(slots=True)
class Message:
    """One message of a queue."""

    id: str
    queue: str
    body: str
    visible_at: int
    receives: int = 0


@dataclass
class Receiver:
    """A webhook on this machine. ``answers`` are given one after the other, the last one for ever."""

    url: str = ""
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=lambda: [(200, {}, b"ok")])
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The bodies."""
        return [json.loads(body) for _, body in self.requests]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A running receiver."""
    held = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            held.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status, headers, answer = held.answers[0] if len(held.answers) == 1 else held.answers.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()


class World:
    """Handlers, queues and mails, by one clock."""

    def __init__(self, unify: UnifyWorld) -> None:
        self.unify = unify
        self.queues: list[Message] = []
        self.dead: list[dict[str, Any]] = []
        self.mails: list[dict[str, Any]] = []
        self.bus: list[dict[str, Any]] = []
        self.mail_fault: Callable[[Call], Exception | None] = lambda call: None
        self.mail_taken_before_fault = False
        self._serial = 0

    @property
    def now(self) -> int:
        return self.unify.now

    def reset(self) -> None:
        """A new world at little cost: clients and tables stay, everything else is as at the begin."""
        parts = self.unify.parts
        for table in (parts.profiles, parts.outbox, parts.store.delivery, parts.control._table):
            table.batch_write((), [(item["pk"], item["sk"]) for item in table.scan()])
        for made in (*CACHED, consume.consumer, profiles.parts):
            made.cache_clear()
        self.unify.now = NOW
        for kept in (self.queues, self.dead, self.mails, self.bus):
            kept.clear()
        self.mail_fault, self.mail_taken_before_fault = lambda call: None, False

    def advance(self, ms: int) -> None:
        """Let time pass; nothing runs by itself."""
        self.unify.now += ms

    def put(self, kind: str, key: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
        """PUT a document."""
        found, answer = self.call(f"PUT /v1/{kind}/{{key}}", {"key": key}, body)
        assert found == status, answer
        return answer

    def call(
        self,
        route: str,
        path: dict[str, str] | None = None,
        body: Any = None,
        *,
        roles: str = "[admin]",
        **query: str,
    ) -> tuple[int, Any]:
        """Status and body of an admin call."""
        return answered(admin.handler(admin_event(route, path, body, roles=roles, query=query), Context()))

    def deliveries(self, **query: str) -> list[dict[str, Any]]:
        """GET /v1/deliveries."""
        status, answer = self.call("GET /v1/deliveries", **query)
        assert status == 200, answer
        return answer["items"]

    def outcomes(self) -> list[tuple[str, str, str]]:
        """(activation, status, reason) of every delivery, sorted."""
        return sorted((d["activation"], d["status"], d["reason"]) for d in self.deliveries(limit="500"))

    def send_outbox(self) -> list[str]:
        """What the stream's function does with the rows that stand; answers its item failures."""
        records = []
        for row in self.unify.items("outbox"):
            self._serial += 1
            keys = {"pk": {"S": row["pk"]}, "sk": {"S": row["sk"]}}
            change = {"Keys": keys, "NewImage": to_wire(row), "SequenceNumber": f"{self._serial:021d}"}
            records.append({"eventID": str(self._serial), "eventName": "INSERT", "dynamodb": change})
        answer = outbox.send({"Records": records}, Context())
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def step(self, left_ms: int = 60_000) -> bool:
        """One round of the queues: everything visible, one batch per queue. Whether there was anything."""
        ready = [message for message in self.queues if message.visible_at <= self.now]
        for kind in SUBSCRIPTION:
            batch = [message for message in ready if message.queue == kind][:10]
            if batch:
                self._work(kind, batch, left_ms)
        return bool(ready)

    def run(self, within_ms: int = 0) -> None:
        """Outbox, queues and waiting times until all is quiet, or nothing more happens within this time."""
        end = self.now + within_ms
        for _ in range(5_000):
            if self.unify.items("outbox"):
                assert self.send_outbox() == []
            if self.step():
                continue
            nexts = [message.visible_at for message in self.queues]
            if not nexts or min(nexts) > end:
                return
            self.unify.now = max(self.now, min(nexts))
        raise AssertionError("it does not come to rest")

    def enqueue(self, kind: str, detail: dict[str, Any], source: str = "hoso") -> None:
        """Put an event into a channel's queue, as the bus rule does."""
        self._serial += 1
        envelope = {"version": "0", "source": source, "detail-type": detail.get("type", ""), "detail": detail}
        self.queues.append(Message(f"m{self._serial}", kind, json.dumps(envelope), self.now))

    def act(self, call: Call, proceed: Proceed) -> dict[str, Any]:
        """Stands for EventBridge, SQS and SES."""
        if call.service == "events" and call.operation == "PutEvents":
            return self._put_events(call)
        if call.service == "sqs":
            return self._sqs(call)
        if call.service == "sesv2":
            problem = self.mail_fault(call)
            if problem is None or self.mail_taken_before_fault:
                self.mails.append(call.params)
            if problem is not None:
                raise problem
            return {"MessageId": f"ses-{len(self.mails)}"}
        return proceed(call)

    def _put_events(self, call: Call) -> dict[str, Any]:
        for entry in call.params["Entries"]:
            detail = json.loads(entry["Detail"])
            self.bus.append(detail)
            for kind in detail["channels"]:
                self.enqueue(kind, detail)
            if entry["DetailType"] == "product.price_changed":
                self.enqueue("trigger", detail)
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "e"} for _ in call.params["Entries"]]}

    def _sqs(self, call: Call) -> dict[str, Any]:
        if call.operation == "ChangeMessageVisibility":
            for message in self.queues:
                if message.id == call.params["ReceiptHandle"]:
                    message.visible_at = self.now + call.params["VisibilityTimeout"] * 1_000
            return {}
        assert call.operation == "SendMessage"
        assert call.params["QueueUrl"] == ENV["HOSO_DEAD_LETTERS"]
        self.dead.append(call.params)
        return {"MessageId": "dead"}

    def _work(self, kind: str, batch: list[Message], left_ms: int) -> None:
        records = []
        for message in batch:
            message.receives += 1
            message.visible_at = self.now + 360_000
            records.append(
                {
                    "messageId": message.id,
                    "receiptHandle": message.id,
                    "body": message.body,
                    "attributes": {"ApproximateReceiveCount": str(message.receives)},
                    "eventSourceARN": f"arn:aws:sqs:eu-central-1:123456789012:{kind}",
                }
            )
        handler = SUBSCRIPTION[kind]
        failed = {one["itemIdentifier"] for one in handler({"Records": records}, Context(left_ms))["batchItemFailures"]}
        done = {message.id for message in batch} - failed
        self.queues = [message for message in self.queues if message.id not in done]

    # The story's pieces

    def shop(self, webhook: str = "") -> None:
        """Documents: the segment, an e-mail destination with a template, and an ads audience if there is a webhook."""
        self.unify.segment("viewed", VIEWED)
        self.put("destinations", "mail", {"kind": "email", "name": "Shop"})
        self.put("templates", "price", TEMPLATE)
        self.put("activations", "price-drop", PRICE_DROP)
        if webhook:
            self.put("destinations", "ads", {"kind": "webhook", "url": webhook, "secrets": [SECRET]})
            self.put("activations", "audience", AUDIENCE)

    def views(self, who: str, product: str = "dress", *, consent: bool | None = True) -> str:
        """A person views a product, with an e-mail address; answers the profile id."""
        self._serial += 1
        viewed = {
            "type": "track",
            "event": "Product Viewed",
            "anonymousId": who,
            "messageId": f"v{self._serial}",
            "timestamp": format_instant(self.now),
            "properties": {"product_id": product},
        }
        told = {
            "type": "identify",
            "anonymousId": who,
            "messageId": f"i{self._serial}",
            "timestamp": format_instant(self.now),
            "traits": {"email": f"{who}@example.vn", "name": who.title()},
        }
        if consent is not None:
            told["context"] = {"consent": {"categoryPreferences": {"marketing": consent}}}
        self.unify.consume(viewed, told)
        return self.unify.profile(f"email:{who}@example.vn")["profile_id"]

    def buys(self, who: str) -> None:
        """The person orders."""
        self.track(who, "Order Completed", {"order_id": f"o-{who}", "revenue": 1})

    def track(self, who: str, event: str, properties: dict[str, Any]) -> None:
        """The person does something."""
        self._serial += 1
        body = {"type": "track", "event": event, "anonymousId": who, "messageId": f"t{self._serial}"}
        self.unify.consume({**body, "timestamp": format_instant(self.now), "properties": properties})

    def price(self, price: float, product: str = "dress", **more: Any) -> None:
        """Tell a product's price."""
        self.put("products", product, {"name": "Váy xanh", "price": price, "currency": "VND", **more})


VIEWED = {
    "kind": "all",
    "of": [
        {"kind": "event", "event": "Product Viewed", "window": {"last": "30d"}},
        {"kind": "not", "of": {"kind": "event", "event": "Order Completed", "window": {"last": "30d"}}},
        {"kind": "trait", "name": "email", "op": "exists"},
    ],
}
TEMPLATE = {
    "subject": "{{ product.name }} chỉ còn {{ product.price|money }}",
    "html": "<p>Chào {{ traits.name|default:bạn }}: {{ product.old_price|money }} → {{ product.price|money }}</p>",
    "text": "{{ product.name }}: {{ product.price|money }}",
}
PRICE_DROP: dict[str, Any] = {
    "trigger": {"kind": "product.price_changed", "drop_percent": 10},
    "audience": "viewed",
    "destination": "mail",
    "template": "price",
    "purpose": "marketing",
}
AUDIENCE: dict[str, Any] = {
    "trigger": {"kind": "segment.changed", "segment": "viewed"},
    "destination": "ads",
    "purpose": "marketing",
    "channel": "ads",
}


@contextmanager
def activate_world(folder: Path) -> Iterator[World]:
    """The world, for the length of a ``with`` block."""
    with patch.dict(os.environ, ENV), unify_world(folder) as unify:
        for made in CACHED:
            made.cache_clear()
        world = World(unify)
        outer = calls.layer("recorder")
        calls.use("recorder", world.act)
        try:
            yield world
        finally:
            if outer is None:
                calls.drop("recorder")
            else:
                calls.use("recorder", outer)
            for made in CACHED:
                made.cache_clear()


__all__ = ["NOW", "Message", "Receiver", "World", "activate_world", "receiving"]
