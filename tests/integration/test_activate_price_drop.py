"""The price of what somebody looked at falls: one e-mail, only with consent, not to who bought in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hoso.model.time import DAY_MS
from hoso.unify.people import People
from tests.activate_world import PRICE_DROP, World, activate_world
from tests.unify_world import Context


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with activate_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def world(fresh: World) -> World:
    fresh.reset()
    fresh.shop()
    fresh.price(500_000)
    return fresh


def test_one_email_with_the_new_price_goes_to_who_viewed_and_allowed_it(world: World) -> None:
    world.views("an")
    world.run()
    world.advance(3 * DAY_MS)

    world.price(450_000)
    world.run()

    (mail,) = world.mails
    simple = mail["Content"]["Simple"]
    assert mail["Destination"] == {"ToAddresses": ["an@example.vn"]}
    assert simple["Subject"]["Data"] == "Váy xanh chỉ còn 450.000\u00a0₫"
    assert simple["Body"]["Html"]["Data"] == "<p>Chào An: 500.000\u00a0₫ → 450.000\u00a0₫</p>"
    assert world.outcomes() == [("price-drop", "sent", "")]


@pytest.mark.parametrize(("consent", "reason"), [(False, "consent_denied"), (None, "no_consent")])
def test_s50_without_consent_nothing_is_sent_and_the_reason_is_stored(
    world: World, consent: bool | None, reason: str
) -> None:
    world.views("an", consent=consent)

    world.price(450_000)
    world.run()

    assert world.mails == []
    assert world.outcomes() == [("price-drop", "skipped", reason)]


def test_who_bought_before_the_price_fell_is_not_asked(world: World) -> None:
    world.views("an")
    world.buys("an")

    world.price(450_000)
    world.run()

    assert world.mails == []
    assert world.outcomes() == []


def test_who_buys_between_the_request_and_the_send_gets_nothing(world: World) -> None:
    world.views("an")
    world.price(450_000)
    world.send_outbox()
    while not any(message.queue == "email" for message in world.queues):
        world.step()
        world.send_outbox()

    world.buys("an")
    world.run()

    assert world.mails == []
    assert world.outcomes() == [("price-drop", "skipped", "not_in_segment")]


def test_who_viewed_another_product_or_too_long_ago_is_not_concerned(world: World) -> None:
    world.put(
        "activations", "price-drop", {**PRICE_DROP, "trigger": {**PRICE_DROP["trigger"], "match": {"within": "7d"}}}
    )
    world.views("binh", "shoes")
    world.views("chi")
    world.advance(8 * DAY_MS)
    world.views("dung")

    world.price(450_000)
    world.run()

    assert [mail["Destination"]["ToAddresses"] for mail in world.mails] == [["dung@example.vn"]]


def test_a_membership_that_time_has_ended_does_not_count_though_no_sweeper_came(world: World) -> None:
    trigger = {**PRICE_DROP["trigger"], "match": {"within": "60d"}}
    world.put("activations", "price-drop", {**PRICE_DROP, "trigger": trigger})
    world.views("an")
    world.advance(31 * DAY_MS)

    world.price(450_000)
    world.run()

    assert world.mails == []
    assert world.outcomes() == [("price-drop", "skipped", "not_in_segment")]


@pytest.mark.parametrize(("price", "mails"), [(450_000, 1), (451_000, 0), (500_000, 0), (600_000, 0), (1, 1)])
def test_the_price_must_fall_by_the_percentage(world: World, price: int, mails: int) -> None:
    world.views("an")

    world.price(price)
    world.run()

    assert len(world.mails) == mails


def test_r40_every_step_delivered_again_sends_nothing_more(world: World) -> None:
    world.views("an")
    world.price(450_000)
    for _ in range(3):
        world.price(450_000)
    world.run()
    for detail in list(world.bus):
        for kind in ["trigger"] if detail["type"] == "product.price_changed" else detail["channels"]:
            for _ in range(5):
                world.enqueue(kind, detail)
    world.run()

    assert len(world.mails) == 1


def test_a_large_audience_is_walked_in_pieces_and_each_person_is_asked_once(world: World) -> None:
    people = [f"p{number:03d}" for number in range(23)]
    for who in people:
        world.views(who)
    world.price(450_000)
    world.send_outbox()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("hoso.activate.trigger.PAGE", 5)
        world.step(left_ms=29_000)
        assert [message.queue for message in world.queues] == ["trigger"]
        world.queues[0].visible_at = world.now
        world.run()

    assert sorted(mail["Destination"]["ToAddresses"][0] for mail in world.mails) == [
        f"{who}@example.vn" for who in people
    ]


def test_r44_a_walk_that_was_cut_short_goes_on_where_it_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    people = {world.views(f"p{number:03d}") for number in range(23)}
    world.price(450_000)
    world.send_outbox()
    monkeypatch.setattr("hoso.activate.trigger.PAGE", 5)
    looked_at: list[str] = []
    timeline = People.timeline

    def noted(self: People, workspace: str, pid: str) -> Any:
        looked_at.append(pid)
        return timeline(self, workspace, pid)

    monkeypatch.setattr(People, "timeline", noted)
    monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda self: 60_000 if len(looked_at) < 10 else 1_000)
    world.step()
    assert len(looked_at) == 10
    monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda self: 60_000)
    world.queues[0].visible_at = world.now
    world.step()

    assert sorted(looked_at) == sorted(people)
    world.run()
    assert len(world.mails) == 23
