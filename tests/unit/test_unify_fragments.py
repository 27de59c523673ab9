"""The fold of events into a fragment: the same result in every order, division and repetition (R2, P3)."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.model.record import Event
from hoso.unify import consent, orders, traits
from hoso.unify.fragments import BadEvent, Cold, Hot, New, cold_item, cold_of, fold, hot_item, hot_of

T0 = 1_790_000_000_000
HUB = ("user_id", "u1")


def new(message_id: str, ts: int, name: str, body: dict[str, Any] | None = None, source: str = "web") -> New:
    return New(Event(message_id, T0 + ts, T0 + ts, name, [], body or {}), source, T0 + ts)


def identify(message_id: str, ts: int, **given: Any) -> New:
    return new(message_id, ts, "$identify", {"type": "identify", "traits": given})


def track(message_id: str, ts: int, name: str, **properties: Any) -> New:
    return new(message_id, ts, name, {"type": "track", "event": name, "properties": properties})


def folded(*batches: list[New]) -> tuple[Hot, Cold]:
    """The state after these batches, stored and read again between them, as the consumer does."""
    hot, cold = Hot(HUB), Cold()
    for batch in batches:
        hot, cold = hot_of(hot_item(hot, "pk"), HUB), cold_of(cold_item(cold, "pk"))
        fold(hot, cold, batch, None)
    return hot, cold


SIX = [
    identify("a", 10, city="Huế", plan="gold"),
    identify("b", 20, city=None, marketingConsent=True),
    identify("c", 20, city="Huế", plan={"level": 2}),
    track("d", 15, "Order Completed", order_id="1", revenue=100.5, total=120, products=[{"quantity": 2}, {}]),
    track("e", 20, "Unsubscribed"),
    track("f", 30, "Order Refunded", order_id="1", total=20),
]


def test_r2_all_720_orders_of_six_events_give_one_state() -> None:
    assert len(set(map(_unordered, itertools.permutations(SIX)))) == 1


def _unordered(order: tuple[New, ...]) -> str:
    hot, cold = folded(*[[one] for one in order])
    return repr(
        (
            (hot.events, hot.first, hot.last),
            sorted(cold.traits.items()),
            sorted(cold.said.items()),
            sorted((key, order_.wire()[:5], sorted(order_.refunds.items())) for key, order_ in cold.orders.items()),
        )
    )


@pytest.mark.parametrize("cuts", [(1,), (3,), (2, 4), (1, 2, 3, 4, 5)])
def test_r2_the_division_into_batches_does_not_matter(cuts: tuple[int, ...]) -> None:
    edges = [0, *cuts, 6]
    batches = [SIX[start:end] for start, end in itertools.pairwise(edges)]

    assert folded(*batches) == folded(SIX)


def test_cold_state_is_idempotent() -> None:
    once, twice = Cold(), Cold()
    fold(Hot(HUB), once, SIX, None)
    fold(Hot(HUB), twice, [*SIX, *SIX], None)

    assert once == twice


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32))
def test_r2_since_when_a_value_holds_does_not_depend_on_arrival(seed: int) -> None:
    """The value flips between two; truth: the first write of the last value after the last write of another one."""
    dice = random.Random(seed)
    writes = [(ts, dice.choice(["A", "B"])) for ts in dice.sample(range(100), 8)]
    arrival = [identify(f"m{ts}", ts, plan=value) for ts, value in writes]
    dice.shuffle(arrival)
    _, cold = folded(*[[one] for one in arrival])
    in_time = sorted(writes)
    tail = list(itertools.takewhile(lambda write: write[1] == in_time[-1][1], reversed(in_time)))

    assert cold.traits["plan"].value == in_time[-1][1]
    assert cold.traits["plan"].since == T0 + tail[-1][0]


def test_null_removes_a_trait_and_an_older_value_does_not_return() -> None:
    _, cold = folded([identify("a", 20, city=None)], [identify("b", 10, city="Huế")])

    assert cold.traits["city"].value is None


def test_r23_a_trait_may_change_its_type() -> None:
    _, cold = folded([identify(f"m{ts}", ts, x=value) for ts, value in enumerate(["1", 1, [1], None, True])])

    assert cold.traits["x"].value is True


def test_true_and_one_are_different_values() -> None:
    _, cold = folded([identify("a", 1, x=1), identify("b", 2, x=True)])

    assert cold.traits["x"].since == T0 + 2


def test_rudderstack_identify_keeps_its_traits_in_the_context() -> None:
    told = new("a", 1, "$identify", {"context": {"traits": {"city": "Huế"}}})
    repeated = new("b", 2, "Product Viewed", {"context": {"traits": {"city": "Vinh"}}})
    group = new("c", 3, "$group", {"traits": {"name": "Công ty"}})
    _, cold = folded([told, repeated, group])

    assert {name: entry.value for name, entry in cold.traits.items()} == {"city": "Huế"}


def test_r19_two_thousand_traits_stay_within_bounds_in_every_order() -> None:
    told = [identify(f"m{n}", n, **{f"t{n * 4 + k}": "x" * 100 for k in range(4)}) for n in range(500)]
    told.append(identify("email", 900, email="an@example.vn"))
    shuffled = random.Random(1).sample(told, len(told))
    _, one = folded(told[:200], told[200:])
    _, other = folded(shuffled[:400], shuffled[400:])

    assert len(one.traits) <= traits.MAX_TRAITS
    assert len(cold_item(one, "pk")["b"]) < 100_000
    assert one.traits == other.traits
    assert one.traits["email"].value == "an@example.vn"
    assert one.overflow["traits"] > 0


def test_r19_incompressible_traits_stay_small() -> None:
    dice = random.Random(2)
    told = [identify(f"m{n}", n, **{f"t{n}": dice.randbytes(3_900).hex()}) for n in range(300)]
    _, cold = folded(told)

    assert sum(entry.size for entry in cold.traits.values()) <= traits.MAX_BYTES


def test_r19_ten_thousand_orders_keep_their_sums() -> None:
    told = [
        track(f"m{n}", n, "Order Completed", order_id=str(n), revenue=10, total=12, currency="vnd")
        for n in range(2_000)
    ]
    _, cold = folded(told[:700], told[700:])
    sums = orders.totals(cold.orders, [cold.base])

    assert len(cold.orders) <= orders.MAX_ORDERS
    assert (sums["orders"], sums["revenue"], sums["total"]) == (2_000, 20_000, 24_000)


def test_r19_message_ids_of_a_thousand_characters_do_not_make_the_item_too_large() -> None:
    dice = random.Random(1)

    def long_id() -> str:
        return dice.randbytes(512).hex()

    told = [identify(long_id(), n, **{f"t{n}": "x"}) for n in range(600)]
    told += [track(long_id(), n, "Order Completed", order_id=str(n), revenue=2, total=2) for n in range(600)]
    told += [track(long_id(), 700 + n, "Order Refunded", order_id=str(599 - n % 200), total=1) for n in range(3_000)]
    _, cold = folded(told[:2_000], told[2_000:])
    item = cold_item(cold, "pk")

    assert sum(len(value) for value in item.values() if isinstance(value, bytes)) < 250_000
    assert orders.totals(cold.orders, [cold.base])["orders"] == 600


def test_an_order_told_by_browser_and_server_counts_once() -> None:
    told = [
        track("web", 1, "Order Completed", order_id="1", revenue=10),
        track("server", 2, "Completed Order", order_id="1", revenue=11),
        track("paid", 3, "Payment Succeeded", order_id="1", amount=11),
        track("gone", 4, "Order Cancelled", order_id="1"),
    ]
    _, cold = folded(told)
    sums = orders.totals(cold.orders, [cold.base])

    assert (sums["orders"], sums["revenue"], sums["cancelled"]) == (1, 11, 1)


@pytest.mark.parametrize("named", [{"orderId": "1"}, {"orderId": 1}, {"order_id": "", "orderId": "1"}])
def test_an_order_in_the_spelling_of_older_sdks_is_the_same_order(named: dict[str, Any]) -> None:
    told = [
        track("server", 1, "Order Completed", order_id="1", revenue=10),
        track("phone", 2, "Order Completed", revenue=11, **named),
        track("back", 3, "Order Refunded", total=4, **named),
    ]
    _, cold = folded(told)
    sums = orders.totals(cold.orders, [cold.base])

    assert (sums["orders"], sums["revenue"]) == (1, 11)
    assert set(cold.orders["1"].refunds) == {"back"}


def test_an_order_without_an_id_counts_once_by_its_message() -> None:
    told = [
        track("a", 1, "Order Completed", revenue=10),
        track("b", 2, "Completed Order", order_id="", revenue=20),
        track("c", 3, "Order Completed", order_id="a", revenue=30),
        track("d", 4, "Order Refunded", total=5),
        track("e", 5, "Order Cancelled"),
        track("m" * 300, 6, "Order Completed", revenue=40),
    ]
    _, cold = folded(told)
    _, copy = folded(told[:1])
    sums = orders.totals(orders.unite([cold.orders, copy.orders]), [cold.base, copy.base])

    assert (sums["orders"], sums["revenue"], sums["refunded"], sums["cancelled"]) == (4, 100, 0, 0)
    assert max(map(len, cold.orders)) < 100  # a busy buyer's must fit, however long message ids are


def test_amounts_that_are_no_finite_numbers_are_left_out() -> None:
    hostile: list[Any] = ["1.250.000đ", None, True, [], {}, 10**40, -(10**18), "1e999", "١٢"]
    told = [track(f"m{n}", n, "Order Completed", order_id=str(n), revenue=value) for n, value in enumerate(hostile)]
    _, cold = folded(told, [track("good", 99, "Order Completed", order_id="x", revenue="12.5", total=0.1)])
    sums = orders.totals(cold.orders, [cold.base])

    assert (sums["orders"], sums["revenue"], sums["total"]) == (10, 12.5, 0.1)


def test_a_refund_without_an_amount_is_the_whole_order() -> None:
    told = [
        track("a", 1, "Order Refunded", order_id="1"),
        track("b", 2, "Order Completed", order_id="1", total=30, revenue=28),
    ]
    _, cold = folded(told)

    assert orders.totals(cold.orders, [cold.base])["refunded"] == 30


@pytest.mark.parametrize(
    ("told", "key", "state"),
    [
        (identify("a", 1, marketingConsent=True), "marketing", "granted"),
        (identify("a", 1, marketingConsent=False), "marketing", "denied"),
        (identify("a", 1, marketingConsent=None), "marketing", "unset"),
        (track("a", 1, "Unsubscribed"), "marketing/email", "denied"),
        (track("a", 1, "Email Marked as Spam"), "marketing/email", "denied"),
        (track("a", 1, "Unsubscribed", channel="sms"), "marketing/sms", "denied"),
        (
            track("a", 1, "Consent Updated", purpose="ads", channel="zalo", state="granted", textVersion="v3"),
            "ads/zalo",
            "granted",
        ),
    ],
)
def test_consent_that_a_person_said(told: New, key: str, state: str) -> None:
    hot, cold = folded([told])

    assert cold.said[key].state == state
    assert hot.shown == {}


def test_consent_of_banners_stays_in_the_small_item() -> None:
    segment = new("a", 1, "$page", {"context": {"consent": {"categoryPreferences": {"ads": True, "stats": False}}}})
    rudder = new("b", 2, "$page", {"context": {"consentManagement": {"deniedConsentIds": ["ads"]}}})
    hot, cold = folded([segment, rudder])

    assert {key: entry.state for key, entry in hot.shown.items()} == {"ads": "denied", "stats": "denied"}
    assert cold.said == {}


def test_a_withdrawal_wins_at_the_same_instant_in_both_orders() -> None:
    grant = track("z", 1, "Consent Updated", purpose="marketing", channel="email", state="granted")
    withdrawal = track("a", 1, "Unsubscribed")

    for order in ([grant, withdrawal], [withdrawal, grant]):
        _, cold = folded(order)
        assert cold.said["marketing/email"].state == "denied"


@pytest.mark.parametrize(
    "body",
    [
        {"context": {"consent": {"categoryPreferences": [1]}, "consentManagement": 3}},
        {"context": "text"},
        {"context": 5},
        {"context": {"consent": None}},
        {"properties": [], "traits": "x"},
        {"properties": {"order_id": {}, "products": {"a": 1}}},
        {"properties": {"order_id": "1", "products": [None, 3, {"quantity": "many"}], "currency": 5}},
    ],
)
@pytest.mark.parametrize(
    "name", ["$identify", "$page", "Order Completed", "Order Refunded", "Consent Updated", "Unsubscribed"]
)
def test_r5_shapes_that_nobody_expects_are_folded(name: str, body: dict[str, Any]) -> None:
    hot, _ = folded([new("a", 1, name, body)])

    assert hot.events == 1


def test_r10_the_event_that_breaks_a_fold_is_named() -> None:
    class Rules:
        def folds(self, meters: dict[str, Any], name: str) -> list[Any]:
            return [self.counted]

        def counted(self, meters: dict[str, Any], event: Any) -> None:
            if event.message_id == "bad":
                raise ValueError

    with pytest.raises(BadEvent) as caught:
        fold(Hot(HUB), Cold(), [new("a", 1, "X"), new("bad", 2, "X"), new("c", 3, "X")], Rules())  # type: ignore[arg-type]

    assert caught.value.position == 1


def test_r50_unknown_attributes_survive_a_write() -> None:
    item = {"pk": "pk", "sk": "H", "v": 3, "hub": ["user_id", "u1"], "later": {"a": 1}}

    assert hot_item(hot_of(item, HUB), "pk") == item


def test_a_light_visitor_fits_one_kilobyte() -> None:
    visitor = Hot(("anonymous_id", "0" * 36), version=20, owner="p_" + "x" * 22, page="T#000000000020000#abcdef01")
    visitor.ring = visitor.ring.add((bytes(6), T0) for _ in range(64))
    fold(visitor, Cold(), [new(str(n), n, "Product Viewed") for n in range(64)], None)
    item = hot_item(visitor, "main#F#" + "x" * 22)
    size = sum(len(key) + len(value if isinstance(value, bytes) else str(value)) for key, value in item.items())

    assert size < 760


def test_consents_of_many_purposes_are_bounded() -> None:
    many = {f"p{n:03d}": True for n in range(200)}
    hot, _ = folded([new("a", 1, "$page", {"context": {"consent": {"categoryPreferences": many}}})])

    assert len(hot.shown) == consent.MAX_KEYS
