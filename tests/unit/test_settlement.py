"""What verdicts change of a person, bounded so that it fits one transaction."""

from __future__ import annotations

from hoso.platform.dynamo import TRANSACTION_LIMIT
from hoso.segment.person import Verdict
from hoso.unify.profiles import Membership, Person
from hoso.unify.settlement import Reason, settle

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
