"""An looks, subscribes, gets one e-mail because she allowed it, buys; and all that must not happen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.cli import samples, story
from infra.cli.connection import Connection
from infra.cli.operate import move_clock
from infra.cli.receiver import Audience, audience
from infra.cli.story import DAY_MS, NEW_PRICE, OLD_PRICE, Visitor, emails_to, set_price, tell, until


@pytest.fixture
def sink(hoso: Connection, tmp_path: Path) -> Iterator[Audience]:
    with audience(story.SECRET, tmp_path / "audience.ndjson") as held:
        samples.load_documents(hoso, held.url, story.SECRET)
        set_price(hoso, OLD_PRICE)
        yield held


def interested(hoso: Connection, name: str, *, consent: bool = True) -> Visitor:
    visitor = Visitor(hoso, f"{name}.{id(name)}@example.vn")
    visitor.looks()
    visitor.subscribes(consent=consent)
    until(visitor.is_member, "enters the segment", 15)
    return visitor


def outcomes(hoso: Connection, visitor: Visitor) -> list[tuple[str, str | None]]:
    assert hoso.drain(60)["stuck"] == []
    return [(d["status"], d.get("reason")) for d in visitor.deliveries() if d["destination"] == "shop-mail"]


@pytest.mark.both_ways
def test_the_story_comes_true(hoso: Connection, sink: Audience) -> None:
    lines = list(tell(hoso, sink))

    assert any("450.000" in line for line in lines)
    assert [message["data"]["action"] for message in sink.messages[-2:]] == ["add", "remove"]


def test_entry_comes_within_five_seconds_of_the_answer(hoso: Connection, sink: Audience) -> None:
    visitor = Visitor(hoso, f"quick.{id(sink)}@example.vn")
    visitor.looks()
    visitor.subscribes()

    assert until(visitor.is_member, "enters the segment") <= story.ENTRY_WITHIN_S


def test_without_consent_nothing_is_sent_and_the_reason_is_stored(hoso: Connection, sink: Audience) -> None:
    visitor = interested(hoso, "silent", consent=False)

    set_price(hoso, NEW_PRICE)

    ((status, reason),) = outcomes(hoso, visitor)
    assert status == "skipped"
    assert "consent" in str(reason)
    assert emails_to(hoso, visitor.email) == []


def test_who_bought_in_between_gets_nothing(hoso: Connection, sink: Audience) -> None:
    visitor = interested(hoso, "buyer")
    visitor.buys(OLD_PRICE)
    until(lambda: not visitor.is_member(), "leaves the segment")

    set_price(hoso, NEW_PRICE)

    assert "sent" not in [status for status, _ in outcomes(hoso, visitor)]
    assert emails_to(hoso, visitor.email) == []


def test_a_batch_sent_twice_counts_once_and_mails_once(hoso: Connection, sink: Audience) -> None:
    visitor = interested(hoso, "twice")
    set_price(hoso, NEW_PRICE)
    until(lambda: emails_to(hoso, visitor.email), "one e-mail goes out")
    visitor.buys(NEW_PRICE, times=2)

    assert [status for status, _ in outcomes(hoso, visitor)].count("sent") == 1
    assert len(emails_to(hoso, visitor.email)) == 1
    totals = (visitor.profile() or {})["totals"]
    assert (totals["orders"], totals["revenue"], totals["events"]) == (1, NEW_PRICE, 4)


@pytest.mark.both_ways
def test_time_alone_takes_a_person_out(hoso: Connection, sink: Audience) -> None:
    visitor = interested(hoso, "patient")
    pid = (visitor.profile() or {})["profile_id"]

    move_clock(hoso, 31 * DAY_MS)

    assert hoso.drain(60)["stuck"] == []
    assert not visitor.is_member()
    until(lambda: pid not in sink.members, "the ads audience is told to remove the person")
