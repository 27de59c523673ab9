"""What a fragment tells beyond present values: order-free, bounded, readable by the release before and after."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.unify import story, trait_history, verification, visits
from hoso.unify.fragments import Cold, Fragment, Hot, cold_item, cold_of, fold, hot_of
from hoso.unify.profiles import Person, merge, merge_traits, person_item, person_of, rule_state
from hoso.unify.story import Story
from hoso.unify.trait_history import Write, notable
from hoso.unify.trait_policies import Policies, Policy, decide, policies_in
from tests.unit.test_unify_fragments import HUB, T0, New, folded, identify, new, track

POINTS, TAGS = Policy(merge="max"), Policy(merge="union")


def event(dice: random.Random, n: int) -> New:
    """An event that a story takes something from."""
    ts = dice.randrange(40)
    kind = dice.randrange(4)
    source = dice.choice(["web", "crm", "till", *(f"s{k}" for k in range(8))])
    value = dice.choice([None, "Huế", "Vinh", 1, "2", 3.5, True, ["a", "b"], {"k": 1}, *range(10, 22)])
    if kind == 0:
        return identify(f"m{n}", ts, city=value, tier=dice.choice(["gold", "silver"]))._replace(source=source)
    if kind == 1:
        name = dice.choice(["Phone Verified", "Identifier Verification Revoked"])
        return track(f"m{n}", ts, name, phone="0901234567")
    if kind == 2:
        return track(f"m{n}", ts, "Order Completed", order_id=str(dice.randrange(6)), store_id="A", seat=str(n))
    return track(f"m{n}", ts, "Store Visited", store_id="A")


def comparable(told: Story) -> Any:
    return (
        {name: [(write.order) for write in writes] for name, writes in told.traits.items()},
        dict(sorted(told.verified.items())),
        dict(sorted(told.visits.items())),
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_r2_a_story_does_not_depend_on_order_or_batches(seed: int) -> None:
    dice = random.Random(seed)
    told = [event(dice, n) for n in range(30)]
    shuffled = dice.sample(told, 30)
    cut = dice.randrange(31)

    assert comparable(folded(told)[1].story) == comparable(folded(shuffled[:cut], shuffled[cut:])[1].story)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_r2_notable_writes_of_parts_are_the_notable_writes_of_the_whole(seed: int) -> None:
    """So fragments may be thrown together at read, in any order."""
    dice = random.Random(seed)
    values = [None, 1, "1", "007", "Huế", [], *range(20)]
    writes = [Write(dice.randrange(30), f"m{n}", f"s{dice.randrange(12)}", dice.choice(values)) for n in range(40)]
    cut = dice.randrange(41)
    one, two = notable(writes[:cut]), notable(writes[cut:])

    assert notable([*two, *one]) == notable(writes)
    for policy in (POINTS, TAGS, Policy(merge="first"), Policy(merge="min"), Policy(merge="latest")):
        assert decide(policy, [*one, *two]) == decide(policy, writes)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32))
def test_r2_the_newest_visits_do_not_depend_on_order(seed: int) -> None:
    dice = random.Random(seed)
    told = [
        track(f"m{n}", dice.randrange(60) * 1_200_000 + n, "Presence Detected", store_id=dice.choice("ABC"))
        if dice.random() < 0.6
        else track(f"m{n}", dice.randrange(60) * 1_200_000 + n, "Order Completed", order_id=str(dice.randrange(90)))
        for n in range(200)
    ]
    states: list[visits.Visits] = []
    for order in (told, dice.sample(told, 200)):
        held: visits.Visits = {}
        for one in order:
            visits.put(held, one.event)
        states.append(held)

    assert states[0] == states[1]
    assert sum(visit.arrival for visit in states[0].values()) == visits.MAX_ARRIVALS


def test_a_door_that_reports_every_half_minute_changes_nothing_and_drives_no_order_out() -> None:
    orders_ = [track(f"o{n}", n * 100_000_000, "Order Completed", order_id=str(n)) for n in range(64)]
    _, cold = folded(orders_)
    pings = [track(f"p{n}", 7_000_000_000 + n * 30_000, "Presence Detected", store_id="A") for n in range(100)]
    changed = [story.fold(cold.story, one.event, "door") for one in pings]

    assert sum(changed) <= 2
    assert sum(not visit.arrival for visit in cold.story.visits.values()) == 64


def test_the_same_again_changes_nothing() -> None:
    dice = random.Random(3)
    told = [event(dice, n) for n in range(40)]
    _, cold = folded(told)
    before = orjson.dumps([cold.story.traits, cold.story.verified, cold.story.visits], default=list)
    for one in told:
        story.fold(cold.story, one.event, one.source)

    assert orjson.dumps([cold.story.traits, cold.story.verified, cold.story.visits], default=list) == before


def test_r19_a_story_of_hostile_events_stays_small() -> None:
    dice = random.Random(5)
    told = [
        *(
            identify(f"{dice.randbytes(500).hex()}", n, **{f"t{n % 300}": dice.randbytes(49).hex()})
            for n in range(3_000)
        ),
        *(
            track(f"o{n}", n, "Order Completed", order_id=str(n), products=[{"name": dice.randbytes(200).hex()}] * 50)
            for n in range(500)
        ),
        *(track(f"v{n}", n, "Identifier Verified", type="user_id", value=f"u{n}") for n in range(200)),
    ]
    _, cold = folded(told)

    assert len(cold.story.traits) == trait_history.MAX_NAMES
    assert len(cold.story.visits) == visits.MAX_VISITS
    assert len(cold.story.verified) == verification.MAX_KEYS
    assert len(cold_item(cold, "pk")["y"]) < 80_000
    assert cold.story.overflow["history"] > 0


def test_r50_a_story_of_the_next_release_keeps_what_this_one_does_not_know() -> None:
    _, cold = folded([identify("a", 1, city="Huế")])
    cold.story.rest["later"] = [1]
    item = {**cold_item(cold, "pk"), "w": "attribute of the next release"}
    again = cold_item(cold_of(item), "pk")

    assert cold_of(again).story.rest == {"later": [1]}
    assert again["w"] == "attribute of the next release"


def test_r50_the_release_before_keeps_a_story_and_its_own_writes_count() -> None:
    """The release before carries the attribute along unread; what it wrote meanwhile is only among the traits."""
    _, cold = folded([identify("a", 1, points=7)])
    kept = cold_item(cold, "pk")["y"]
    _, later = folded([identify("a", 1, points=7)], [identify("b", 2, points=3)])
    mixed = cold_of({**cold_item(later, "pk"), "y": kept})

    assert merge_traits([mixed])["points"].value == 3
    assert merge_traits([mixed], {"points": POINTS})["points"].value == 7
    assert merge_traits([mixed], {"points": Policy(merge="min")})["points"].value == 3


def test_r50_a_fragment_of_the_release_before_has_no_story() -> None:
    _, cold = folded([identify("a", 1, points=7)])
    item = cold_item(cold, "pk")
    del item["y"]

    assert not cold_of(item).story
    assert merge_traits([cold_of(item)], {"points": POINTS})["points"].value == 7


WRITES = [
    ("crm", 1, "silver"),
    ("web", 2, "gold"),
    ("till", 3, "basic"),
    ("web", 4, None),
    ("till", 5, "12"),
    ("crm", 6, 9),
]


@pytest.mark.parametrize(
    ("policy", "value", "source"),
    [
        ({"merge": "latest"}, 9, "crm"),
        ({"merge": "first"}, "silver", "crm"),
        ({"merge": "max"}, "12", "till"),
        ({"merge": "min"}, 9, "crm"),
        ({"merge": "source_rank", "sources": ["web", "till"]}, "12", "till"),
        ({"merge": "source_rank", "sources": ["nobody", "crm"]}, 9, "crm"),
        ({"merge": "source_rank", "sources": ["web"]}, 9, "crm"),
        ({"merge": "union"}, ["12", 9], "crm"),
    ],
)
def test_a_policy_chooses_among_the_writes(policy: dict[str, Any], value: Any, source: str) -> None:
    found = decide(
        Policy.model_validate(policy), [Write(T0 + ts, f"m{ts}", source, value) for source, ts, value in WRITES]
    )

    assert found is not None
    assert (found.value, found.source) == (value, source)


@pytest.mark.parametrize("merge", ["first", "max", "min", "union", "latest"])
def test_a_null_as_the_newest_write_removes_a_trait(merge: Any) -> None:
    found = decide(Policy(merge=merge), [Write(1, "a", "web", 5), Write(2, "b", "web", None)])

    assert found is not None and found.value is None


def test_a_union_takes_lists_apart_and_names_each_entry_once() -> None:
    found = decide(TAGS, [Write(1, "a", "web", ["x", "y"]), Write(2, "b", "crm", "y"), Write(3, "c", "crm", ["z"])])

    assert found is not None and found.value == ["x", "y", "z"]


def test_numbers_are_compared_as_numbers() -> None:
    found = decide(POINTS, [Write(1, "a", "web", "9"), Write(2, "b", "web", 10), Write(3, "c", "web", True)])

    assert found is not None and found.value == 10


@pytest.mark.parametrize(
    "body",
    [
        {"policies": {"x": {"merge": "newest"}}},
        {"policies": {"x": {"merge": "source_rank"}}},
        {"policies": {"x": {"merge": "max", "sources": ["a"]}}},
        {"policies": {"": {"merge": "max"}}},
        {"schema": "traits/2"},
        {"rules": {}},
    ],
)
def test_a_wrong_policies_document_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="valid"):
        Policies.model_validate(body)


def test_both_rule_engines_and_the_profile_see_one_value() -> None:
    """The nightly snapshot and the live engine both read ``rule_state``; the profile shows the same."""
    one = Fragment("f1", Hot(HUB, version=1), folded([identify("a", 1, points=7)])[1])
    two = Fragment("f2", Hot(HUB, version=1), folded([identify("b", 2, points=3)])[1])
    policies = policies_in({"schema": "traits/1", "policies": {"points": {"merge": "max"}}})
    person = Person("p_1", 1, (HUB,), ("f1", "f2"))

    assert rule_state(person, [one, two], policies).traits == {"points": 7}
    assert merge("main", person, [one, two], policies).traits["points"].value == 7
    assert rule_state(person, [two, one]).traits == {"points": 3}


@pytest.mark.parametrize(
    ("told", "key", "state", "method"),
    [
        (track("a", 1, "Email Verified", email="AN@example.vn"), "email:an@example.vn", "verified", "link"),
        (track("a", 1, "Phone Verified", phone="0901 234 567"), "phone:+84901234567", "verified", "otp"),
        (track("a", 1, "OTP Verified", phone="0901234567", method="zns"), "phone:+84901234567", "verified", "zns"),
        (track("a", 1, "Email Confirmed", email="a@b.vn"), "email:a@b.vn", "verified", "double_opt_in"),
        (track("a", 1, "Identifier Verified", type="crm_id", value="C1"), "crm_id:C1", "verified", ""),
        (track("a", 1, "Identifier Verification Revoked", email="a@b.vn"), "email:a@b.vn", "revoked", ""),
        (track("a", 1, "Email Bounced", email="a@b.vn", bounceType="Permanent"), "email:a@b.vn", "revoked", "bounce"),
        (
            new("a", 1, "$identify", {"traits": {"email": "a@b.vn"}, "context": {"verified": {"email": "otp"}}}),
            "email:a@b.vn",
            "verified",
            "otp",
        ),
        (
            new("a", 1, "Email Confirmed", {"properties": {}, "context": {"traits": {"email": "a@b.vn"}}}),
            "email:a@b.vn",
            "verified",
            "double_opt_in",
        ),
    ],
)
def test_what_proves_an_identifier(told: New, key: str, state: str, method: str) -> None:
    _, cold = folded([told])

    assert {name: (entry.state, entry.method) for name, entry in cold.story.verified.items()} == {key: (state, method)}


@pytest.mark.parametrize(
    "told",
    [
        track("a", 1, "Email Bounced", email="a@b.vn", bounceType="Transient"),
        track("a", 1, "Email Verified", email="nonsense"),
        track("a", 1, "Identifier Verified", type="shoe_size", value="44"),
        new("a", 1, "$identify", {"traits": {"email": "a@b.vn"}, "context": {"verified": ["phone"]}}),
        new("a", 1, "Email Verified", {"properties": None}),
    ],
)
def test_what_proves_nothing(told: New) -> None:
    assert folded([told])[1].story.verified == {}


def test_the_first_complaint_or_dead_address_blocks_the_channel_in_every_order_and_for_good() -> None:
    told = [
        track("c", 3, "Email Marked as Spam"),
        track("b", 2, "Email Bounced", bounce_type="hard"),
        track("a", 1, "Email Bounced", bounceType="Transient"),
        track("d", 4, "Consent Updated", purpose="marketing", channel="email", state="granted"),
    ]
    for order in (told, told[::-1]):
        cold = folded(order)[1]
        assert cold.story.blocks == {"email": ("bounce", T0 + 2, "b")}
        assert cold_of(cold_item(cold, "pk")).story.blocks == cold.story.blocks
        fragment = Fragment("f1", Hot(HUB, version=1), cold)
        assert rule_state(Person("p_1", 1, (HUB,), ("f1",)), [fragment]).suppressed == ["email"]


def test_an_opt_out_of_a_channel_counts_as_suppressed_and_blocks_nothing() -> None:
    told = track("a", 1, "Consent Updated", purpose="marketing", channel="zalo", state="denied")
    whole = track("b", 2, "Consent Updated", purpose="marketing", state="denied")
    other = track("c", 3, "Consent Updated", purpose="statistics", channel="sms", state="denied")
    fragment = Fragment("f1", Hot(HUB, version=1), folded([told, whole, other])[1])

    profile = merge("main", Person("p_1", 1, (HUB,), ("f1",)), [fragment])

    assert (profile.suppressed, profile.blocked) == (("zalo",), ())


def test_a_revocation_wins_at_the_same_instant_in_both_orders() -> None:
    proof = track("z", 1, "Email Verified", email="a@b.vn")
    doubt = track("a", 1, "Identifier Verification Revoked", email="a@b.vn")
    for order in ([proof, doubt], [doubt, proof]):
        assert folded(order)[1].story.verified["email:a@b.vn"].state == "revoked"


def test_a_cold_item_without_a_story_looks_as_before() -> None:
    assert set(cold_item(Cold(version=1), "pk")) == {"pk", "sk", "v", "b"}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_the_short_way_of_a_repeated_value_is_the_long_way(seed: int) -> None:
    dice = random.Random(seed)
    history: trait_history.History = {}
    told = [
        Write(dice.randrange(12), f"m{n:02d}", dice.choice(["web", "crm"]), dice.choice([None, "a", "b", "7", 3]))
        for n in range(25)
    ]
    for write in sorted(told, key=lambda one: one.order) if dice.random() < 0.5 else told:
        before = history.get("x", [])
        trait_history.put(history, {}, "x", write)
        assert history["x"] == notable([*before, write])


def test_r50_items_of_the_release_without_stories_are_read_and_written_on() -> None:
    held = json.loads((Path(__file__).parents[1] / "fixtures/items/without-story.json").read_text())
    hot_wire, cold_wire, person_wire = (_plain(held[name]) for name in ("hot", "cold", "person"))
    hot, cold = hot_of(hot_wire, HUB), cold_of(cold_wire)
    person = person_of(person_wire, "p_1")
    before = merge("main", person, [Fragment("f1", hot, cold)])
    fold(hot, cold, [identify("i3", 50, points=5)], None)
    after = merge("main", person, [Fragment("f1", hot, cold_of(cold_item(cold, "pk")))], {"points": POINTS})

    assert {name: entry.value for name, entry in before.traits.items()} == {
        **{"city": "Vinh", "points": 3, "marketingConsent": True}
    }
    assert before.totals["total"] == 450_000
    assert {key: entry.state for key, entry in before.consent.items()} == {
        **{"marketing": "granted", "marketing/email": "denied"}
    }
    assert (after.traits["points"].value, after.visits, after.computed) == (5, (), {})
    assert person_item(person, "main") == person_wire


def _plain(wire: dict[str, Any]) -> dict[str, Any]:
    return {
        name: base64.b64decode(value["base64"]) if isinstance(value, dict) and "base64" in value else value
        for name, value in wire.items()
    }


def test_a_visit_told_in_either_spelling_of_its_order_is_one() -> None:
    held: visits.Visits = {}
    for name, number, said in (("a", 1, {"order_id": "7"}), ("b", 2, {"orderId": "7"}), ("c", 3, {})):
        visits.put(held, track(name, number, "Order Completed", **said).event)

    assert list(held) == ["o:7", "m:c"]
