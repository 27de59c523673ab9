"""What a night does with scored pairs, and what the identity graph makes of it."""

from __future__ import annotations

from collections.abc import Sequence

from hoso.model.identifiers import DEFAULT, Identifier
from hoso.unify.evidence import Evidence, Probable
from hoso.unify.graph import resolve
from hoso.unify.likeness.decide import Link, Night, Scored, Work, work
from hoso.unify.likeness.people import Subject

USER = [Identifier("user_id", f"u{n}") for n in range(6)]
MAIL = [Identifier("email", f"m{n}@example.com") for n in range(6)]


def subjects(*ids: Sequence[Identifier]) -> list[Subject]:
    return [Subject(f"p{number}", tuple(held), ()) for number, held in enumerate(ids)]


def decided(
    held: list[Subject],
    pairs: list[tuple[int, int, float]],
    *,
    active: Sequence[Link] = (),
    accepted: Sequence[tuple[int, int]] = (),
    rejected: Sequence[tuple[int, int]] = (),
    labels: list[int] | None = None,
) -> Work:
    night = Night(held, DEFAULT, active, frozenset(accepted), frozenset(rejected))
    return work(night, [Scored(*pair) for pair in pairs], lambda _sure: labels or [0] * len(held))


def test_pairs_go_by_their_band() -> None:
    held = subjects(*([mail] for mail in MAIL))
    found = decided(held, [(0, 1, 0.97), (2, 3, 0.7), (4, 5, 0.3)])
    assert (found.link, found.ask, found.withdraw) == ([Scored(0, 1, 0.97)], [Scored(2, 3, 0.7)], [])
    assert found.largest == [2]


def test_a_group_is_held_by_as_few_links_as_it_takes_the_surest_first() -> None:
    held = subjects(*([mail] for mail in MAIL[:3]))
    found = decided(held, [(0, 1, 0.95), (0, 2, 0.99), (1, 2, 0.97)])
    assert found.link == [Scored(0, 2, 0.99), Scored(1, 2, 0.97)]
    assert found.ask == []


def test_r17_records_with_different_logins_are_neither_linked_nor_asked_about() -> None:
    found = decided(subjects([USER[0], MAIL[0]], [USER[1]], [MAIL[2]]), [(0, 1, 0.99), (0, 2, 0.98)])
    assert (found.link, found.ask, found.contradicting) == ([Scored(0, 2, 0.98)], [], 1)


def test_sure_pairs_that_a_group_does_not_bear_are_asked_about() -> None:
    held = subjects(*([mail] for mail in MAIL[:3]))
    found = decided(held, [(0, 1, 0.99), (1, 2, 0.96)], labels=[0, 0, 2])
    assert (found.link, found.ask) == ([Scored(0, 1, 0.99)], [Scored(1, 2, 0.96)])


def test_a_link_in_force_is_asked_about_when_its_group_no_longer_bears_it() -> None:
    held = subjects(*([mail] for mail in MAIL[:2]))
    link = Link(MAIL[0], MAIL[1], 0.99)
    found = decided(held, [(0, 1, 0.99)], active=[link], labels=[0, 1])
    assert (found.keep, found.withdraw, found.ask) == ([link], [], [Scored(0, 1, 0.99)])


def test_what_people_decided_counts() -> None:
    held = subjects(*([mail] for mail in MAIL[:4]))
    found = decided(held, [(0, 1, 0.99), (2, 3, 0.6)], accepted=[(2, 3)], rejected=[(0, 1)])
    assert (found.link, found.ask) == ([Scored(2, 3, 1.0)], [])


def test_a_link_in_force_stays_down_to_the_lower_line_and_is_asked_about_on_the_way() -> None:
    held = subjects(*([mail] for mail in MAIL[:2]))
    link = Link(MAIL[0], MAIL[1], 0.96)
    sure, wavering, fallen, unseen = (
        decided(held, pairs, active=[link]) for pairs in ([(0, 1, 0.95)], [(0, 1, 0.6)], [(0, 1, 0.4)], [])
    )
    assert (sure.keep, sure.link, sure.ask) == ([link], [], [])
    assert (wavering.keep, wavering.ask) == ([link], [Scored(0, 1, 0.6)])
    assert (fallen.keep, fallen.withdraw) == ([], [link])
    assert unseen.withdraw == [link]


def test_a_link_between_two_that_turned_out_to_have_different_logins_is_withdrawn() -> None:
    link = Link(MAIL[0], MAIL[1], 0.99)
    found = decided(subjects([USER[0], MAIL[0]], [USER[1], MAIL[1]]), [(0, 1, 0.99)], active=[link])
    assert (found.withdraw, found.keep) == ([link], [])


def test_links_of_records_that_exact_identifiers_made_one_are_forgotten() -> None:
    found = decided(subjects([MAIL[0], MAIL[1]]), [], active=[Link(MAIL[0], MAIL[1], 0.99)])
    assert (found.withdraw, found.keep, found.link) == ([], [], [])


def test_r17_a_probable_link_outweighs_names_and_a_score_of_zero_takes_it_back() -> None:
    told = [
        Evidence("1", 1, MAIL[0], name="huong nguyen"),
        Evidence("2", 2, MAIL[1], name="huomg nguyen"),
        Probable("link", 3, MAIL[0], MAIL[1], 0.97),
    ]
    assert resolve(told, DEFAULT).of[MAIL[0]] == {MAIL[0], MAIL[1]}
    back = resolve([*told, Probable("back", 4, MAIL[1], MAIL[0], 0.0)], DEFAULT)
    assert back.of[MAIL[0]] == {MAIL[0]}
