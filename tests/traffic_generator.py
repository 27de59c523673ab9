"""Sample-store traffic of any seed and size, with its truth: the kind that ``events/traffic`` holds one example of.

Households share devices, phones and addresses; people change them, mistype them as guests, buy at the till by card or
phone, get mail, pay, stand in a CRM; lines come late, twice and out of order. ``harsh`` makes what is rare frequent.
"""

from __future__ import annotations

import random
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hoso.model.time import format_instant

START_MS = 1_735_689_600_000
DAY_MS = 86_400_000
SURNAMES = [
    "Nguyễn",
    "Trần",
    "Lê",
    "Phạm",
    "Hoàng",
    "Huỳnh",
    "Phan",
    "Vũ",
    "Võ",
    "Đặng",
    "Bùi",
    "Đỗ",
    "Hồ",
    "Ngô",
    "Dương",
    "Lý",
    "Quách",
    "Đinh",
]
MIDDLES = [
    "Văn",
    "Thị",
    "Hữu",
    "Minh",
    "Ngọc",
    "Thùy",
    "Quang",
    "Đức",
    "Anh",
    "Bích",
    "Thanh",
    "Xuân",
    "Phương",
    "Diễm",
    "Tường",
    "Như",
]
GIVEN = [
    "An",
    "Bình",
    "Chi",
    "Dũng",
    "Giang",
    "Hà",
    "Hải",
    "Hiền",
    "Hoàng",
    "Hùng",
    "Hương",
    "Khang",
    "Lan",
    "Liên",
    "Linh",
    "Long",
    "Mai",
    "Minh",
    "My",
    "Nam",
    "Nga",
    "Ngân",
    "Phúc",
    "Phương",
    "Quân",
    "Quang",
    "Sơn",
    "Thảo",
    "Thịnh",
    "Toàn",
    "Trang",
    "Trung",
    "Tú",
    "Tuấn",
    "Tuyết",
    "Việt",
    "Xuân",
    "Yến",
]
Json = dict[str, Any]


@dataclass
class Customer:
    """Who somebody is and what identifies them; ``used`` collects the identifiers of each event."""

    name: str
    names: tuple[str, str, str]
    user: str | None
    emails: list[str]
    phones: list[str]
    crm: str | None
    card: str | None
    payment: str
    browsers: list[str]
    phone_app: tuple[str, str] | None
    signed_up: int | None = None


@dataclass
class Traffic:
    """``lines`` in order of arrival; ``truth`` per message id: [customer or device, class]; ``totals`` of customers all
    of whose events are exact."""

    lines: list[Json] = field(default_factory=list)
    truth: dict[str, tuple[str, str]] = field(default_factory=dict)
    totals: dict[str, Json] = field(default_factory=dict)
    users: dict[str, str | None] = field(default_factory=dict)
    ids: dict[str, list[str]] = field(default_factory=dict)


class Generator:
    """One seed's traffic."""

    def __init__(self, seed: int, customers: int, *, days: int = 120, harsh: bool = False) -> None:
        self.chance = random.Random(seed)
        self.count, self.days, self.harsh = customers, days, harsh
        self.events: list[tuple[int, str | None, list[str], Json]] = []
        self.serial = 0

    def make(self) -> Traffic:
        people = self._people()
        for number, one in enumerate(people):
            self._live(f"C{number:06d}", one)
        for _ in range(self.count // 6):
            self._visit(f"V{self.serial}", None, self._uuid(), None)
        for _ in range(self.count // 25):
            self._till(None, None, self._time())
        return self._told()

    # people

    def _people(self) -> list[Customer]:
        made: list[Customer] = []
        while len(made) < self.count:
            size = self.chance.choice([1, 1, 1, 2, 2, 3, 4, 5])
            surname = self.chance.choice(SURNAMES)
            group = [self._person(surname if self.chance.random() < 0.7 else None) for _ in range(size)]
            lot = self.chance.random()
            if size > 1:
                device = self._uuid()
                if lot < 0.5:
                    for one in self.chance.sample(group, self.chance.randint(2, size)):
                        one.browsers.append(device)
                first, second = self.chance.sample(group, 2)
                if self.chance.random() < (0.4 if self.harsh else 0.06):
                    second.phones[0] = first.phones[0]
                elif self.chance.random() < (0.4 if self.harsh else 0.06):
                    second.emails[0] = first.emails[0]
            made += group
        return made[: self.count]

    def _person(self, surname: str | None) -> Customer:
        chance = self.chance
        family, middle, given = surname or chance.choice(SURNAMES), chance.choice(MIDDLES), chance.choice(GIVEN)
        self.serial += 1
        plain = _plain(f"{given}{middle}{family}").lower()
        mailbox = chance.choice([plain, f"{plain}{self.serial}", f"{_plain(given).lower()}.{self.serial}"])
        phone = "0" + chance.choice("35789") + "".join(chance.choice("0123456789") for _ in range(8))
        app = (self._uuid(), f"{chance.getrandbits(64):016x}") if chance.random() < 0.25 else None
        changed = chance.random()
        return Customer(
            name=f"{family} {middle} {given}",
            names=(family, middle, given),
            user=f"u_{chance.getrandbits(48):012x}" if chance.random() < 0.45 else None,
            emails=[
                f"{mailbox}@x{self.serial}.example.vn",
                *([f"new.{plain}{self.serial}@example.org"] * (changed < 0.1)),
            ],
            phones=[phone, *(["09" + phone[2:]] * (changed > 0.95))],
            crm=f"CRM-{100_000 + self.serial}" if chance.random() < 0.45 else None,
            card=f"LC{chance.randrange(10**8):08d}" if chance.random() < 0.42 else None,
            payment=f"cus_{chance.getrandbits(56):014x}",
            browsers=[self._uuid() for _ in range(chance.choice([1, 1, 2, 3]))],
            phone_app=app,
        )

    def _live(self, who: str, one: Customer) -> None:
        chance = self.chance
        signed_up = START_MS + chance.randrange(self.days * DAY_MS) if one.user else None
        for _ in range(chance.choice([1, 2, 2, 3, 5])):
            self._visit(who, one, chance.choice(one.browsers), signed_up)
        if one.phone_app:
            for _ in range(chance.choice([1, 2])):
                self._visit(who, one, None, signed_up)
        for _ in range(chance.choice([0, 0, 0, 1, 2, 4])):
            self._till(who, one, self._time())
        for _ in range(chance.choice([0, 0, 1, 2])):
            self._mail(who, one)
        if one.crm:
            for _ in range(chance.choice([1, 1, 2])):
                self._crm(who, one)

    # what people do

    def _visit(self, who: str, one: Customer | None, browser: str | None, signed_up: int | None) -> None:
        chance = self.chance
        at = self._time()
        if one is not None and signed_up is not None and chance.random() < 0.7:
            at = max(at, signed_up)
        mobile = browser is None and one is not None and one.phone_app is not None
        ids = {"anonymousId": one.phone_app[0] if mobile and one and one.phone_app else browser}
        context: Json = {"source": "mobile" if mobile else "web", "ip": "10.1.2.3"}
        named = [f"anon:{ids['anonymousId']}"]
        if mobile and one and one.phone_app:
            context["device"] = {"id": one.phone_app[1], "type": "ios"}
            named.append(f"device:{one.phone_app[1]}")

        def tell(kind: str, body: Json, more: list[str]) -> None:
            nonlocal at
            at += chance.randrange(5_000, 90_000)
            self._event(at, who, [*named, *more], {"type": kind, **ids, "context": context, **body})

        tell("page", {"name": "Trang chủ", "properties": {"path": "/"}}, [])
        for _ in range(chance.choice([0, 1, 2, 4])):
            tell("track", {"event": "Product Viewed", "properties": {"product_id": f"p-{chance.randrange(30)}"}}, [])
        if one is None or chance.random() < 0.4:
            return
        if one.user and signed_up is not None and at >= signed_up:
            user, mine = {"userId": one.user}, [f"user:{one.user}"]
            traits, said = self._about(one, at, phone=chance.random() < 0.7)
            tell("identify", {**user, "traits": traits}, [*mine, *said])
            first = one.signed_up is None
            one.signed_up = at if one.signed_up is None else min(at, one.signed_up)
            tell("track", {**user, "event": "Signed Up" if first else "Signed In", "properties": {}}, mine)
            tell("track", {**user, "event": "Product Added", "properties": {"product_id": "p-1"}}, mine)
            if chance.random() < 0.5:
                self._order(who, one, at, tell, user, mine, None)
            if chance.random() < 0.3:
                tell("track", {**user, "event": "Signed Out", "properties": {}}, mine)
            return
        if chance.random() < 0.6:
            traits, said = self._about(one, at, phone=True, typo=0.3 if self.harsh else 0.08)
            tell("identify", {"traits": traits}, said)
            self._order(who, one, at, tell, {}, [said[0]], traits["email"])

    def _order(
        self, who: str, one: Customer, at: int, tell: Any, user: Json, mine: list[str], email: str | None
    ) -> None:
        chance = self.chance
        order = f"DH{chance.getrandbits(40)}"
        price = chance.randrange(50, 3_000) * 1_000
        properties: Json = {
            "order_id": order,
            "revenue": price,
            "total": price + 30_000,
            "currency": "VND",
            "products": [{"product_id": "p-1", "price": price, "quantity": chance.choice([1, 2])}],
        }
        if email is not None:
            properties["email"] = email
        tell("track", {**user, "event": "Order Completed", "properties": properties}, mine)
        address = email or self._now(one.emails, at)
        said = [f"email:{address.strip().lower()}"]
        if chance.random() < 0.08:
            body = {
                "type": "track",
                "event": "Order Completed",
                "properties": properties,
                "context": {"source": "server"},
            }
            self._event(at + 20_000, who, mine, {**body, **user} if user else body)
        if chance.random() < 0.7:
            body = {
                "type": "track",
                "event": "Payment Succeeded",
                "anonymousId": f"payments-{chance.getrandbits(60):x}",
                "properties": {"order_id": order, "amount": price},
                "context": {
                    "source": "payments",
                    "externalIds": [{"id": one.payment, "type": "payment_customer_id"}],
                    "traits": {"email": address},
                },
            }
            self._event(at + 90_000, who, [f"pay:{one.payment}", *said], body)
        if chance.random() < 0.05:
            name = chance.choice(["Order Cancelled", "Order Refunded"])
            told: Json = {"type": "track", "event": name, "properties": {"order_id": order, "total": price + 30_000}}
            context: Json = {"source": "server"}
            if not user:
                context["traits"] = {"email": address}
            self._event(at + DAY_MS, who, mine if user else said, {**told, **user, "context": context})

    def _till(self, who: str | None, one: Customer | None, at: int) -> None:
        chance = self.chance
        price = chance.randrange(50, 3_000) * 1_000
        context: Json = {"source": "pos"}
        named: list[str] = []
        if one is not None:
            card = one.card if one.card and chance.random() < 0.7 else None
            if card:
                context["externalIds"] = [{"id": card, "type": "loyalty_card"}]
                named.append(f"card:{card}")
            traits: Json = {}
            if not card or chance.random() < 0.5:
                phone = self._now(one.phones, at)
                if chance.random() < 0.06:
                    phone = _mistyped(phone, chance)
                traits["phone"] = self._phone(phone)
                named.append(f"phone:{phone}")
            if chance.random() < 0.4:
                traits["name"] = self._name(one)
            if traits:
                context["traits"] = traits
        properties = {
            "order_id": f"POS{chance.getrandbits(40)}",
            "revenue": price,
            "total": price,
            "currency": "VND",
            "products": [{"product_id": "p-2", "price": price, "quantity": 1}],
        }
        body = {"type": "track", "event": "Order Completed", "properties": properties, "context": context}
        self._event(at, who, named, {**body, "anonymousId": f"pos-{chance.getrandbits(60):x}"})

    def _mail(self, who: str, one: Customer) -> None:
        at, chance = self._time(), self.chance
        address = self._now(one.emails, at)
        context = {
            "source": "email",
            "traits": {"email": address},
            "externalIds": [{"id": address, "type": "email", "collection": "users"}],
        }
        named = [f"email:{address}"]
        body: Json = {"type": "track", "context": context, "anonymousId": f"email-{chance.getrandbits(60):x}"}
        if one.user and one.signed_up is not None and at > one.signed_up and chance.random() < 0.5:
            body["userId"] = one.user
            named.append(f"user:{one.user}")
        for name in ("Email Delivered", "Email Opened")[: chance.choice([1, 2])]:
            at += 60_000
            self._event(at, who, named, {**body, "event": name, "properties": {"campaign_id": "m-1"}})

    def _crm(self, who: str, one: Customer) -> None:
        at = self._time()
        traits, said = self._about(one, at, phone=True)
        assert one.crm is not None
        external = [{"id": one.crm, "type": "crm_id"}]
        traits["crmId"] = one.crm
        named = [f"crm:{one.crm}", *said]
        if one.card:
            external.append({"id": one.card, "type": "loyalty_card"})
            traits["loyaltyCard"] = one.card
            named.append(f"card:{one.card}")
        body: Json = {"type": "identify", "traits": traits, "context": {"source": "crm", "externalIds": external}}
        if one.user and one.signed_up is not None and at > one.signed_up:
            body["userId"] = one.user
            named.append(f"user:{one.user}")
        self._event(at, who, named, {**body, "anonymousId": f"crm-{one.crm}"})

    # how it is written

    def _about(self, one: Customer, at: int, *, phone: bool, typo: float = 0.0) -> tuple[Json, list[str]]:
        chance = self.chance
        email = self._now(one.emails, at)
        if chance.random() < typo:
            email = email.replace("example", chance.choice(["exmple", "exampel", "examplle"]))
        said = [f"email:{email}"]
        traits: Json = {"email": chance.choice([email, email, email, email.upper(), f" {email} "])}
        traits["name"] = self._name(one)
        if phone:
            number = self._now(one.phones, at)
            if chance.random() < typo:
                number = _mistyped(number, chance)
            traits["phone"] = self._phone(number)
            said.append(f"phone:{number}")
        return traits, said

    def _now(self, values: list[str], at: int) -> str:
        return values[-1] if at > START_MS + self.days * DAY_MS // 2 else values[0]

    def _name(self, one: Customer) -> str:
        forms = [one.name, one.name, one.name, _plain(one.name), _plain(one.name).upper()]
        return self.chance.choice([*forms, unicodedata.normalize("NFD", one.name)])

    def _phone(self, number: str) -> str:
        rest = number[1:]
        spaced = f"{rest[:3]} {rest[3:6]} {rest[6:]}"
        dotted = f"{number[:4]}.{number[4:7]}.{number[7:]}"
        return self.chance.choice([number, number, f"+84{rest}", f"84{rest}", f"+84 {spaced}", dotted])

    def _uuid(self) -> str:
        text = f"{self.chance.getrandbits(128):032x}"
        return "-".join(text[a:b] for a, b in pairwise((0, 8, 12, 16, 20, 32)))

    def _time(self) -> int:
        return START_MS + self.chance.randrange(self.days * DAY_MS)

    def _event(self, at: int, who: str | None, named: list[str], body: Json) -> None:
        self.serial += 1
        message = f"m-{self.serial:07d}-{self.chance.getrandbits(32):08x}"
        self.events.append((at, who, named, {**body, "messageId": message, "timestamp": format_instant(at)}))

    # arrival and truth

    def _told(self) -> Traffic:
        chance, traffic = self.chance, Traffic()
        arrivals: list[tuple[int, int, Json]] = []
        for at, _, _, body in self.events:
            late = chance.randrange(3 * DAY_MS) if chance.random() < 0.03 else chance.randrange(20_000)
            arrivals.append((at + late, len(arrivals), body))
            if chance.random() < 0.02:
                arrivals.append((at + late + chance.randrange(DAY_MS), len(arrivals), body))
        traffic.lines = [body for *_, body in sorted(arrivals, key=lambda one: one[:2])]
        _judge(self.events, traffic)
        return traffic


def _judge(events: list[tuple[int, str | None, list[str], Json]], traffic: Traffic) -> None:
    """The class of every event, by the definitions of the sample's README."""
    users: dict[str, set[str]] = defaultdict(set)
    mine: dict[str, list[tuple[list[str], Json]]] = defaultdict(list)
    for _, who, named, body in events:
        traffic.ids[body["messageId"]] = named
        if who is None:
            traffic.truth[body["messageId"]] = ("-", "walk_in")
            continue
        mine[who].append((named, body))
        for name in named:
            users[name].add(who)
    for who, told in mine.items():
        own = [[name for name in named if len(users[name]) == 1] for named, _ in told]
        groups: list[set[str]] = []
        for names in own:
            near = [group for group in groups if group & set(names)]
            groups = [group for group in groups if group not in near] + [set(names).union(*near)]
        sizes = {id(group): sum(bool(group & set(names)) for names in own) for group in groups}
        main = max(groups, key=lambda group: sizes[id(group)], default=set())
        classes: set[str] = set()
        for (_, body), names in zip(told, own, strict=True):
            group = next((group for group in groups if group & set(names)), None)
            device = group is not None and all(name.startswith(("anon:", "device:")) for name in group)
            if who.startswith("V"):
                found = ("device " + names[0], "visitor")
            elif group is None:
                found = (who, "shared")
            elif group is main:
                found = (who, "exact")
            elif device:
                found = ("device " + min(group), "isolated")
            else:
                found = (who, "fuzzy")
            traffic.truth[body["messageId"]] = found
            classes.add(found[1])
        if classes == {"exact"}:
            traffic.totals[who] = _totals([body for _, body in told])


def _totals(told: list[Json]) -> Json:
    orders = {
        body["properties"]["order_id"]: body["properties"] for body in told if body.get("event") == "Order Completed"
    }
    back = {
        body["properties"]["order_id"]: body["properties"]["total"]
        for body in told
        if body.get("event") == "Order Refunded"
    }
    return {
        "events": len(told),
        "firstSeen": min(body["timestamp"] for body in told),
        "lastSeen": max(body["timestamp"] for body in told),
        "orders": len(orders),
        "revenue": sum(order["revenue"] for order in orders.values()),
        "total": sum(order["total"] for order in orders.values()),
        "items": sum(product["quantity"] for order in orders.values() for product in order["products"]),
        "cancelled": len({body["properties"]["order_id"] for body in told if body.get("event") == "Order Cancelled"}),
        "refunded": sum(back.values()),
    }


def _mistyped(number: str, chance: random.Random) -> str:
    place = chance.randrange(4, 9)
    return number[:place] + str((int(number[place]) + chance.randrange(1, 9)) % 10) + number[place + 1 :]


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).replace(" ", " ")
