"""What the night does where the live state tells otherwise than the whole archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.model.time import DAY_MS
from hoso.platform.metrics import meter
from hoso.unify import fragments
from tests.nightly_world import Night, make_segments, night

THRICE = {"kind": "event", "event": "Product Viewed", "op": "gte", "value": 3}


@pytest.fixture
def tonight(tmp_path: Path) -> Iterator[Night]:
    with night(tmp_path) as made:
        yield made


def spoil(tonight: Night, who: str) -> None:
    """Make the live state of a person forget what it counted, as a fault of the engine would."""
    profiles = tonight.world.parts.profiles
    item = profiles.get((f"main#F#{tonight.world.fid('anonymous_id', who)}", "H"))
    assert item is not None
    hot = fragments.hot_of(item, ("", ""))
    hot.meters = {key: state for key, state in hot.meters.items() if key == "~"}
    profiles.put(fragments.hot_item(hot, item["pk"]))


def lose_timeline(tonight: Night, who: str) -> None:
    """What happens when timeline pages come to the end of their time, and the archive goes on."""
    profiles = tonight.world.parts.profiles
    fid = tonight.world.fid("anonymous_id", who)
    for page in profiles.query_all(f"main#F#{fid}", prefix="T#"):
        profiles.delete((page["pk"], page["sk"]))


def three_views(tonight: Night, who: str = "an") -> None:
    for ago in (3, 2, 1):
        tonight.consume(tonight.event(who, "Product Viewed", ago * DAY_MS))


def test_a_live_state_that_is_wrong_is_made_anew_and_counts_on(tonight: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    # given: An has viewed twice, as the archive knows and her state does not any more
    tonight.world.segment("thrice", THRICE)
    for ago in (2, 1):
        tonight.consume(tonight.event("an", "Product Viewed", ago * DAY_MS))
    tonight.consume(tonight.event("an", "Product Viewed"))
    assert len(tonight.world.members("thrice")) == 1
    spoil(tonight, "an")
    counted: dict[str, int] = {}
    monkeypatch.setattr(type(meter()), "add", lambda _meter, name, n=1, **_: counted.update({name: n}))

    # when
    report = tonight.run()

    # then: she stays, nobody is told anything, and the next event finds her counted
    assert (report["differences"], report["entered"], report["exited"]) == (1, 0, 0)
    assert counted["nightly_differences"] == 1
    tonight.consume(tonight.event("an", "Product Viewed"))
    assert tonight.world.announced() == [("segment.entered", "thrice")]
    assert tonight.run(execution="two")["differences"] == 0


def test_where_the_timeline_is_gone_the_nightly_answer_is_written_and_stands(tonight: Night) -> None:
    # given: a rule that is younger than the events, of which only the archive still knows
    three_views(tonight)
    lose_timeline(tonight, "an")
    tonight.world.segment("thrice", THRICE)
    tonight.consume(tonight.event("an", "Hello"))
    assert tonight.world.members("thrice") == set()

    # when
    report = tonight.run()

    # then: entered by night, once, and no later event takes it back
    assert (report["differences"], report["entered"]) == (1, 1)
    tonight.consume(tonight.event("an", "Product Viewed"))
    tonight.run(execution="two")
    assert tonight.world.announced() == [("segment.entered", "thrice")]


def test_whose_timeline_is_gone_keeps_what_was_counted_of_it(tonight: Night) -> None:
    """A repair must not forget what other rules have counted."""
    tonight.world.segment("thrice", THRICE)
    three_views(tonight)
    lose_timeline(tonight, "an")
    pid = f"p_{tonight.world.fid('anonymous_id', 'an')}"

    tonight.world.parts.people.repair("main", pid, tonight.world.now, 3, {"thrice": True})
    tonight.consume(tonight.event("an", "Hello"))

    assert tonight.world.members("thrice") == {pid}
    verdict = tonight.world.parts.people.verdicts(
        tonight.world.parts.people.load_person("main", pid), tonight.world.now
    )["thrice"]
    assert (verdict.member, verdict.spilled) == (True, False)


def test_who_has_news_since_the_evaluation_is_not_repaired_by_old_answers(tonight: Night) -> None:
    tonight.world.segment("thrice", THRICE)
    three_views(tonight)
    pid = f"p_{tonight.world.fid('anonymous_id', 'an')}"

    assert tonight.world.parts.people.repair("main", pid, tonight.world.now, 2, {"thrice": False}) is False


def test_r33_a_repair_that_comes_again_changes_nothing(tonight: Night) -> None:
    make_segments(tonight)
    tonight.world.segment("thrice", THRICE)
    three_views(tonight)
    spoil(tonight, "an")
    run: Any = tonight.begin()

    for _ in range(3):
        tonight.step("apply", {"Items": tonight.items(run), "BatchInput": run})

    assert tonight.step("report", run)["entered"] == 0
    assert len([one for one in tonight.world.announced() if one[1] == "thrice"]) == 1
