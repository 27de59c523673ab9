"""What verdicts change of a person, bounded so that it fits one transaction."""

from __future__ import annotations

from dataclasses import replace

from hoso.platform.dynamo import TRANSACTION_LIMIT
from hoso.segment.person import Verdict
from hoso.unify.profiles import Membership, Person
from hoso.unify.settlement import MOST_ITEMS, Reason, settle

NOW = 1_795_358_100_000


def test_hundreds_of_times_to_look_again_that_are_over_are_renewed_in_rounds_that_end() -> None:
    # given: a person in 400 segments, all of which were to be looked at again by now
    keys = [f"s{n:03d}" for n in range(400)]
    person = Person("p_1", 1, memberships={key: Membership(1, 1, NOW, None) for key in keys}, due=NOW)
    verdicts = {key: Verdict(member=True, until=NOW + 1_000) for key in keys}
    revisions = dict.fromkeys(keys, 1)
    rounds = 0

    # when
    settled = settle("main", person, verdicts, revisions, at=NOW, reason=lambda _: Reason("time"), every=True)
    while settled is not None:
        assert len(settled.puts) + len(settled.drops) + len(settled.outbox) < TRANSACTION_LIMIT - 20
        assert settled.complete or settled.person.due == NOW  # whoever takes over sees all segments again
        person, rounds = settled.person, rounds + 1
        settled = settle("main", person, verdicts, revisions, at=NOW, reason=lambda _: Reason("time"), every=True)

    # then
    assert {held.until for held in person.memberships.values()} == {NOW + 1_000}
    assert (person.due, rounds) == (NOW + 1_000, 6)


def test_r27_after_a_merge_a_hundred_memberships_are_listed_anew_in_rounds_that_end() -> None:
    # given: a person of 100 segments who is still listed under two former ids; one of the segments is over
    keys = [f"s{n:03d}" for n in range(100)]
    person = Person("p_1", 1, memberships={key: Membership(1, 1, None, None) for key in keys}, dirty=True)
    person = replace(person, rest={"ab": ["p_0", "p_2"]})
    verdicts = {key: Verdict(member=key != "s050", until=None) for key in keys}
    revisions = dict.fromkeys(keys, 1)
    listed = {("p_0", key) for key in keys} | {("p_2", key) for key in keys[:60]}

    # when
    settled = settle("main", person, verdicts, revisions, at=NOW, reason=lambda _: Reason("merge"), every=True)
    while settled is not None:
        assert len(settled.puts) + len(settled.drops) + len(settled.outbox) <= MOST_ITEMS
        assert len({(i["pk"], i["sk"]) for i in settled.puts} | {*settled.drops}) == len(settled.puts + settled.drops)
        assert settled.complete or (settled.person.dirty and settled.person.due == NOW)
        listed -= {(pid, pk.split("#")[2]) for pk, pid in settled.drops}
        listed |= {(item["sk"], item["pk"].split("#")[2]) for item in settled.puts}
        person = settled.person
        settled = settle("main", person, verdicts, revisions, at=NOW, reason=lambda _: Reason("merge"), every=True)

    # then
    assert listed == {("p_1", key) for key in keys if key != "s050"}
    assert (person.dirty, dict(person.rest)) == (False, {})
