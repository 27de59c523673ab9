"""The story of An: from an anonymous look at a dress to one e-mail, told step by step against a living twin.

Everything goes over HTTP as a shop's own calls would. Each step waits for what it promises and fails with a reason when
it does not come true, so that the story is a check of the whole path as well as a demonstration.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from infra.cli.connection import CommandError, Connection
from infra.cli.operate import move_clock
from infra.cli.receiver import Audience

SECRET = "whsec_aG9zby1zYW1wbGUtYXVkaWVuY2Utc2VjcmV0LTAwMDE="  # noqa: S105  of the receiver on this machine
SEGMENT = "viewed-not-bought"
PRODUCT = "dress-blue"
OLD_PRICE = 500_000
NEW_PRICE = 450_000
ENTRY_WITHIN_S = 5
PATIENCE_S = 30
DAY_MS = 86_400_000


@dataclass(slots=True)
class Visitor:
    """A person in a browser: what its SDK would send."""

    connection: Connection
    email: str
    anonymous_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def looks(self) -> None:
        """Open the shop and view the dress."""
        self._send(
            {"type": "page", "name": "Trang chủ", "properties": {"path": "/"}},
            {"type": "track", "event": "Product Viewed", "properties": _dress(OLD_PRICE)},
        )

    def subscribes(self, *, consent: bool = True) -> None:
        """Give the e-mail by the newsletter form, with or without the tick that allows marketing."""
        traits = {"email": self.email, "name": "An"}
        context = {"consent": {"categoryPreferences": {"marketing": consent}}}
        self._send({"type": "identify", "traits": traits, "context": context})

    def buys(self, price: int, *, times: int = 1) -> None:
        """Order the dress; ``times`` says how often the same request is sent."""
        properties = {
            "order_id": f"o-{self.anonymous_id[:8]}",
            "revenue": price,
            "total": price,
            "currency": "VND",
            "products": [{**_dress(price), "quantity": 1}],
        }
        self._send({"type": "track", "event": "Order Completed", "properties": properties}, times=times)

    def profile(self) -> dict[str, Any] | None:
        """The person by e-mail, None as long as nobody has it."""
        token = {"Authorization": f"Bearer {self.connection.token}"}
        answer = self.connection.request("GET", f"/v1/profiles/{quote('email:' + self.email)}", headers=token)
        return answer.json() if answer.status_code == 200 else None

    def is_member(self) -> bool:
        """Whether the person is in the segment of those who viewed and did not buy."""
        return SEGMENT in (self.profile() or {"segments": {}})["segments"]

    def deliveries(self) -> list[dict[str, Any]]:
        """What was sent to the person, or was not, with the reason."""
        profile = self.profile()
        return list(self.connection.pages("/v1/deliveries", profile=profile["profile_id"])) if profile else []

    def _send(self, *events: dict[str, Any], times: int = 1) -> None:
        batch = [{**event, "anonymousId": self.anonymous_id, "messageId": str(uuid.uuid4())} for event in events]
        key = self.connection.write_key("local-web")
        for _ in range(times):
            answer = self.connection.request("POST", "/v1/batch", json={"batch": batch}, auth=(key, ""))
            if answer.status_code != 200:
                raise CommandError(f"the batch was answered {answer.status_code}: {answer.text[:200]}")


def tell(connection: Connection, audience: Audience) -> Iterator[str]:
    """The story's lines, each yielded when it has come true.

    Raises:
        CommandError: a promise was not kept; the text says which.
    """
    an = Visitor(connection, _next_email(connection))
    set_price(connection, OLD_PRICE)
    an.looks()
    yield "1. A visitor without a name views a blue dress (500.000 ₫) and leaves."
    _drain(connection)

    an.subscribes()
    waited = until(an.is_member, f"{an.email} enters {SEGMENT}")
    profile = an.profile() or {}
    yield f"2. She leaves her e-mail in the newsletter form and allows marketing: {an.email}."
    yield (
        f"   Her history joins: profile {profile['profile_id']} has {profile['totals']['events']} events and "
        f"{len(profile['identifiers'])} identifiers."
    )
    yield f"   She enters «{SEGMENT}» {waited:.1f} s after the answer to her request."
    until(lambda: profile["profile_id"] in audience.members, "the ads audience is told to add her")
    yield "   The webhook that stands for the ads audience is told to add her."

    move_clock(connection, 3 * DAY_MS)
    set_price(connection, NEW_PRICE)
    yield "3. Three days later (the clock was moved) the price falls by 10 %."
    until(lambda: _sent(an), "one e-mail goes out")
    yield f"   One e-mail goes out, because she allowed it: «{_subject(connection, an.email)}»."

    an.buys(NEW_PRICE)
    until(lambda: not an.is_member(), f"{an.email} leaves {SEGMENT}")
    yield "4. She buys. She leaves the segment."
    until(lambda: profile["profile_id"] not in audience.members, "the ads audience is told to remove her")
    yield "   The ads audience is told to remove her."
    if len(_sent(an)) != 1:
        raise CommandError(f"{len(_sent(an))} e-mails went to {an.email} instead of one")


def set_price(connection: Connection, price: int) -> None:
    """Tell the platform the dress's price, as the shop's catalogue would."""
    connection.call("PUT", f"/v1/products/{PRODUCT}", {"name": "Váy xanh", "price": price, "currency": "VND"})


def until(true: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> float:
    """Seconds until the condition holds. Raises ``CommandError`` when it does not within the patience."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > patience_s:
            raise CommandError(f"did not come true within {patience_s:.0f} s: {what}")
        time.sleep(0.05)
    return time.monotonic() - started


def emails_to(connection: Connection, email: str) -> list[Path]:
    """The messages in the twin's outbox folder that went to this address."""
    return list(((connection.data or Path()) / "outbox").glob(f"*{email}*.eml"))


def email_of(connection: Connection) -> str:
    """An's address in the latest telling."""
    return f"an.{_tellings(connection)}@example.vn"


def _sent(visitor: Visitor) -> list[dict[str, Any]]:
    return [d for d in visitor.deliveries() if d["destination"] == "shop-mail" and d["status"] == "sent"]


def _subject(connection: Connection, email: str) -> str:
    newest = max(emails_to(connection, email), key=lambda file: file.name)
    return str(BytesParser(policy=policy.default).parsebytes(newest.read_bytes())["subject"])


def _dress(price: int) -> dict[str, Any]:
    return {"product_id": PRODUCT, "name": "Váy xanh", "category": "Váy", "price": price, "currency": "VND"}


def _drain(connection: Connection) -> None:
    stuck = connection.drain()["stuck"]
    if stuck:
        raise CommandError(f"still in work: {stuck}")


def _next_email(connection: Connection) -> str:
    """A fresh address for each telling on one data folder: An is a new customer every time."""
    folder = connection.data or Path()
    (folder / "tellings").write_text(str(_tellings(connection) + 1))
    return email_of(connection)


def _tellings(connection: Connection) -> int:
    file = (connection.data or Path()) / "tellings"
    return int(file.read_text()) if file.exists() else 0
