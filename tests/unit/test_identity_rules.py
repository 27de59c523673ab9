"""Single rules of the identity graph, where the published scenarios leave an edge open."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.model.identifiers import DEFAULT, STANDARD, Identifier, IdentityConfig
from hoso.model.time import DAY_MS
from hoso.unify.evidence import Apart, Cut, Erasure, Evidence, Operation, Probable, Restore, pair
from hoso.unify.graph import Clusters, resolve

U1, U2, U3 = (Identifier("user_id", f"u{n}") for n in (1, 2, 3))
M1, M2 = (Identifier("email", f"m{n}@x.vn") for n in (1, 2))
P1 = Identifier("phone", "+84901002003")


def browser(number: int) -> Identifier:
    return Identifier("anonymous_id", f"a{number}")


def met(ts: int, hub: Identifier, *others: Identifier, **more: object) -> Evidence:
    return Evidence(f"e{ts}-{hub.value}", ts, hub, others, **more)  # type: ignore[arg-type]


def together(clusters: Clusters, *identifiers: Identifier) -> bool:
    return len({clusters.of[one] for one in identifiers}) == 1


def test_r8_values_exactly_one_window_apart_do_not_share_it() -> None:
    week, events = 7 * DAY_MS, [met(n, U1, browser(n)) for n in range(5)]
    assert not together(resolve([*events, met(week - 1, U1, browser(9))], STANDARD), U1, browser(9))
    assert together(resolve([*events, met(week, U1, browser(9))], STANDARD), U1, browser(9))


def test_r8_a_refused_meeting_starts_the_window_too() -> None:
    """The browser was first seen with somebody else, long before: it does not count among this week's five."""
    events = [met(n + 30 * DAY_MS, U1, browser(n)) for n in range(5)]
    late = met(30 * DAY_MS + 10, U1, browser(9))
    assert not together(resolve([*events, late], STANDARD), U1, browser(9))
    early = [met(1, U2, browser(9)), Cut("o1", 2, [pair(U2, browser(9))])]
    assert together(resolve([*events, late, *early], STANDARD), U1, browser(9))


def test_r9_a_shared_value_links_nobody_in_either_direction() -> None:
    users = [Identifier("user_id", f"v{n}") for n in range(6)]
    events = [met(n, user, P1) for n, user in enumerate(users)] + [met(9, P1, browser(1))]
    clusters = resolve(events, STANDARD)
    assert clusters.of[P1] == {P1}
    assert clusters.of[browser(1)] == {browser(1)}
    assert P1 not in resolve(events[1:], STANDARD).shared


def test_r12_an_alias_counts_as_one_value_and_only_a_cut_undoes_it() -> None:
    alias = met(5, U2, previous=U1)
    assert together(resolve([alias, Apart("o1", 6, [pair(U1, U2)])], STANDARD), U1, U2)
    assert not together(resolve([alias, Cut("o1", 6, [pair(U1, U2)])], STANDARD), U1, U2)
    third = resolve([alias, met(6, U1, M1), met(7, U3, M1)], STANDARD)
    assert together(third, U1, U2, M1)
    assert not together(third, U1, U3)


def test_r14_apart_holds_by_whatever_path_until_it_is_taken_back() -> None:
    events: list[Evidence | Operation] = [met(1, M1, P1), met(2, M1, M2), Apart("o1", 3, [pair(P1, M2)])]
    assert not together(resolve(events, STANDARD), P1, M2)
    assert together(resolve([*events, Restore("o2", 4, [pair(P1, M2)])], STANDARD), P1, M2)


def test_r15_an_erasure_leaves_what_came_after_it() -> None:
    events: list[Evidence | Operation] = [
        met(1, U1, M1),
        Erasure("o1", 10, M1),
        met(20, M1, browser(1)),
        met(5, U1, M1),
    ]
    clusters = resolve(events, STANDARD)
    assert clusters.of[M1] == {M1, browser(1)}
    assert U1 not in clusters.of


def test_r16_a_merge_over_the_largest_number_of_identifiers_is_refused() -> None:
    config = IdentityConfig.parse({"base": "default", "max_ids": 3})
    clusters = resolve([met(1, U1, M1), met(2, U1, P1), met(3, U1, browser(1))], config)
    assert clusters.of[U1] == {U1, M1, P1}
    assert clusters.refused[pair(U1, browser(1))] == "max_ids"


def test_r17_a_cut_holds_against_a_probable_link() -> None:
    told: list[Evidence | Operation] = [met(1, U1), met(2, P1), Probable("o1", 3, U1, P1, 0.99)]
    assert together(resolve(told, STANDARD), U1, P1)
    assert not together(resolve([*told, Cut("o2", 4, [pair(U1, P1)])], STANDARD), U1, P1)


def test_two_guests_of_one_browser_are_two_people_unless_their_names_agree() -> None:
    for name, same in (("binh nguyen", False), ("an", True), (None, True)):
        told = [met(1, M1, browser(1), name="an nguyen"), met(2, M2, browser(1), name=name)]
        assert together(resolve(told, DEFAULT), M1, M2) is same
        assert together(resolve(told, STANDARD), M1, M2), "the standard rules do not look at names"


def test_an_address_that_people_of_different_names_use_links_nobody() -> None:
    told = [met(1, M1, P1, name="an nguyen"), met(2, M1, browser(1), name="binh nguyen")]
    assert M1 in resolve(told, DEFAULT).shared


def test_a_user_who_was_renamed_keeps_the_first_name_and_all_devices() -> None:
    told = [met(n, U1, browser(n), name=name) for n, name in enumerate(("an nguyen", "an tran"))]
    assert together(resolve(told, DEFAULT), U1, browser(0), browser(1))


IDENTIFIERS = [U1, U2, M1, M2, P1, browser(1), browser(2)]
EVENTS = st.lists(
    st.builds(
        met,
        st.integers(0, 50),
        st.sampled_from(IDENTIFIERS),
        st.sampled_from(IDENTIFIERS),
        name=st.sampled_from([None, "an nguyen", "binh nguyen"]),
    ).map(
        lambda one: one._replace(
            hub=min(one.hub, *one.ids, key=IDENTIFIERS.index), ids=[max(one.hub, *one.ids, key=IDENTIFIERS.index)]
        )
    ),
    max_size=12,
)


@settings(deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_the_outcome_depends_neither_on_order_nor_on_repeats(events: list[Evidence], chance: object) -> None:
    shuffled = [*events, *events[:3]]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    for config in (STANDARD, DEFAULT):
        assert resolve(shuffled, config).of == resolve(events, config).of
