"""The live identity service against the pure function, under every order, repeat, interleaving and kill."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from hoso.model.identifiers import DEFAULT, STANDARD, Identifier, IdentityConfig, extract
from hoso.model.names import person_name
from hoso.model.time import DAY_MS, parse_instant
from hoso.platform.dynamo import Table
from hoso.platform.ids import Hasher
from hoso.platform.wire import from_wire
from hoso.unify.evidence import Cut, Erasure, Evidence, Probable, Restore, pair
from hoso.unify.graph import resolve
from hoso.unify.identities import Identities
from infra.cli.identity_trial import run_scenario
from tests.identity_streams import as_sets, batch_outcome, random_scenario
from tests.identity_table import MemoryDynamo

USER, EMAIL, PHONE = Identifier("user_id", "u1"), Identifier("email", "an@x.vn"), Identifier("phone", "+84901002003")
BROWSER, TABLET = Identifier("anonymous_id", "a1"), Identifier("anonymous_id", "a2")


def service(client: Any, config: IdentityConfig = STANDARD) -> Identities:
    return Identities(
        Table("profiles", client),
        Table("outbox", client),
        Table("delivery", client),
        client,
        Hasher(b"test"),
        "main",
        config,
        lambda: 1_000,
        sleep=lambda _: None,
    )


def rows(client: MemoryDynamo, table: str, part: str, sort: str = "") -> list[dict]:
    return [
        from_wire(item)
        for key, item in client.tables.get(table, {}).items()
        if key[0].startswith(part) and key[1].startswith(sort)
    ]


class Killed(Exception):
    """The worker dies here."""


class KillAt:
    """A client whose n-th call kills the worker, before or after the table did it."""

    def __init__(self, client: MemoryDynamo, fatal: int, *, after: bool) -> None:
        self.client, self.fatal, self.after, self.count = client, fatal, after, 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self.count += 1
            if self.count == self.fatal and not self.after:
                raise Killed
            answer = getattr(self.client, name)(**request)
            if self.count == self.fatal:
                raise Killed
            return answer

        return call


class Meddled:
    """A client that lets another worker act right before its n-th call."""

    def __init__(self, client: MemoryDynamo, moment: int, act: Callable[[], None]) -> None:
        self.client, self.moment, self.act, self.count, self.done = client, moment, act, 0, False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        self.count += 1
        if self.count == self.moment:
            self.done = True
            self.act()
        return getattr(self.client, name)


@pytest.mark.parametrize("part", range(4))
def test_r25_r26_four_interleaved_workers_end_like_the_pure_function(part: int) -> None:
    """320 seeded schedules at API-call level, arrival shuffled with repeats."""
    for seed in range(80 * part, 80 * (part + 1)):
        scenario = random_scenario(seed)
        live = run_scenario(MemoryDynamo(), scenario, {}, "shuffled-repeats", workers=4, seed=seed)
        assert as_sets(live) == as_sets(batch_outcome(scenario)), f"seed {seed}"


def test_any_order_with_repeats_ends_like_the_pure_function() -> None:
    for seed in range(1_000, 1_150):
        scenario = random_scenario(seed)
        live = run_scenario(MemoryDynamo(), scenario, {}, "shuffled-repeats", seed=seed)
        assert as_sets(live) == as_sets(batch_outcome(scenario)), f"seed {seed}"


def test_cuts_restores_and_apart_pairs_end_like_the_pure_function() -> None:
    for seed in range(2_000, 2_250):
        scenario = random_scenario(seed, records=True)
        live = run_scenario(MemoryDynamo(), scenario, {})
        assert as_sets(live) == as_sets(batch_outcome(scenario)), f"seed {seed}"


def test_a_second_pass_over_the_same_events_writes_nothing() -> None:
    for seed in range(3_000, 3_040):
        scenario, client = random_scenario(seed), MemoryDynamo()
        identities = service(client, scenario.config)
        events = [step for step in scenario.steps if isinstance(step, Evidence)]
        for event in events:
            identities.learn([event])
        written = client.written
        answers = [identities.learn([event]) for event in events]
        assert client.written == written, f"seed {seed}"
        assert answers == [{event.hub: identities.person_of(event.hub)} for event in events]


def test_r26_a_worker_killed_at_any_call_is_resumed_to_the_same_people() -> None:
    for seed in range(4_000, 4_012):
        scenario = random_scenario(seed)
        events = [step for step in scenario.steps if isinstance(step, Evidence)]
        expected = resolve(events, scenario.config).of
        for after in (False, True):
            fatal = 0
            while True:
                fatal += 1
                client = MemoryDynamo()
                dying = KillAt(client, fatal, after=after)
                try:
                    service(dying, scenario.config).learn(events)
                    break
                except Killed:
                    service(client, scenario.config).learn(events)
                people = {one: service(client, scenario.config).person_of(one) for one in expected}
                for one, members in expected.items():
                    together = {other for other in expected if people[other] == people[one]}
                    assert together == members, f"seed {seed}, call {fatal}"


def shop_of(count: int) -> list[Evidence]:
    """A guest of one e-mail address and one new browser a month, who signs in at last."""
    events = [
        Evidence(f"e{n}", n * 30 * DAY_MS, EMAIL, [Identifier("anonymous_id", f"b{n:03d}")]) for n in range(count)
    ]
    return [*events, Evidence("login", count * 30 * DAY_MS, USER, [EMAIL])]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_r27_a_merge_of_over_100_items_is_resumed_wherever_it_is_killed(after: bool) -> None:
    events = shop_of(120)
    ready = MemoryDynamo()
    service(ready).learn(events[:-1])
    calls, fatal = len(ready.calls), 0
    while True:
        fatal += 1
        client = MemoryDynamo()
        client.tables = {name: dict(items) for name, items in ready.tables.items()}
        try:
            service(KillAt(client, fatal, after=after)).learn(events[-1:])
        except Killed:
            service(client).learn(events[-1:])
            died = True
        else:
            died = False
        identities = service(client)
        person = identities.person_of(USER)
        everybody = {EMAIL, USER, *(event.ids[0] for event in events[:-1])}
        assert set(identities.load(person).identifiers) == everybody
        assert all(item["p"] == person for item in rows(client, "profiles", "main#I#anonymous_id#"))
        assert all(item["o"] == person for item in rows(client, "profiles", "main#F#", "H"))
        assert not any({"mv", "st", "op"} & item.keys() for item in rows(client, "profiles", "main#P#", "P"))
        assert not any("pend" in item for item in rows(client, "profiles", "main#I#"))
        if not died:
            break
    assert fatal > 5
    assert calls


def test_r28_ten_thousand_users_of_one_blocked_value_stay_apart() -> None:
    client = MemoryDynamo()
    identities = service(client, DEFAULT)
    told = []
    for number in range(10_000):
        ids = extract({"type": "identify", "userId": f"user-{number}", "traits": {"email": "test@test.com"}})
        told.append(Evidence(f"e{number}", number, ids[0], ids[1:]))
    assert len(set(identities.learn(told).values())) == 10_000
    assert client.written == 0


def test_r29_the_merge_record_holds_both_before_images_and_a_cut_restores_both() -> None:
    client = MemoryDynamo()
    identities = service(client)
    identities.learn([Evidence("e1", 1, EMAIL, [BROWSER])])
    identities.learn([Evidence("e2", 2, PHONE, [TABLET])])
    before = {identities.person_of(EMAIL), identities.person_of(PHONE)}
    identities.learn([Evidence("e3", 3, EMAIL, [PHONE])])
    person = identities.person_of(PHONE)
    record = next(row for row in rows(client, "profiles", f"main#P#{person}", "M#") if row["event"] == "e3")
    assert set(record["before"]) == before
    assert sorted(one for held in record["before"].values() for one in held) == sorted(
        map(str, [EMAIL, BROWSER, PHONE, TABLET])
    )
    identities.apply(Cut("o1", 4, [pair(EMAIL, PHONE)]))
    assert {identities.person_of(EMAIL), identities.person_of(PHONE)} == before
    assert identities.person_of(TABLET) == identities.person_of(PHONE)
    identities.learn([Evidence("e4", 5, EMAIL, [PHONE])])
    assert identities.person_of(EMAIL) != identities.person_of(PHONE), "new evidence must not undo a cut"
    identities.apply(Restore("o2", 6, [pair(EMAIL, PHONE)]))
    assert identities.person_of(EMAIL) == identities.person_of(PHONE)


def test_r29_an_erasure_reaches_all_identifiers_and_late_events() -> None:
    identities = service(MemoryDynamo())
    identities.learn([Evidence("e1", 1, USER, [EMAIL, BROWSER])])
    identities.apply(Erasure("o1", 10, BROWSER))
    assert identities.remaining(Evidence("late", 5, EMAIL)) is None
    assert len({identities.person_of(one) for one in (USER, EMAIL, BROWSER)}) == 3
    later = Evidence("new", 11, EMAIL, [TABLET])
    assert identities.remaining(later) == later


OTHER = Identifier("user_id", "u2")
RACES = {
    "an address joins the user": (
        [Evidence("e1", 1, OTHER, [EMAIL]), Evidence("e2", 2, USER, [EMAIL])],
        Cut("o1", 3, [pair(OTHER, EMAIL)]),
        Evidence("e3", 4, USER, [BROWSER]),
        {USER, EMAIL, BROWSER},
    ),
    "an address goes from one user to the other": (
        [Evidence("e1", 1, USER, [EMAIL]), Evidence("e2", 2, OTHER, [EMAIL])],
        Cut("o1", 3, [pair(USER, EMAIL)]),
        Evidence("e3", 4, EMAIL, [BROWSER]),
        {OTHER, EMAIL, BROWSER},
    ),
}


@pytest.mark.parametrize("race", RACES.values(), ids=RACES)
def test_what_another_worker_does_between_any_two_calls_is_seen(
    race: tuple[list[Evidence], Cut, Evidence, set[Identifier]],
) -> None:
    known, record, news, expected = race
    ready = MemoryDynamo()
    service(ready).learn(known)
    moment, meddled = 0, True
    while meddled:
        moment, client = moment + 1, MemoryDynamo()
        client.tables = {name: dict(items) for name, items in ready.tables.items()}
        between = Meddled(client, moment, lambda: service(client).apply(record))  # noqa: B023
        service(between).learn([news])
        meddled = between.done
        if meddled:
            identities = service(client)
            assert set(identities.load(identities.person_of(news.hub)).identifiers) == expected, f"before call {moment}"
    assert moment > 5


def test_a_decision_is_conditioned_on_every_person_that_it_rests_on() -> None:
    client = MemoryDynamo()
    identities = service(client)
    other = Identifier("user_id", "u2")
    identities.learn([Evidence("e1", 1, other, [EMAIL])])
    identities.learn([Evidence("e2", 2, USER, [EMAIL])])
    identities.learn([Evidence("e3", 3, USER, [BROWSER])])
    checked = [entry["ConditionCheck"]["Key"]["pk"]["S"] for entry in client.last if "ConditionCheck" in entry]
    assert checked == [f"main#P#{identities.person_of(other)}"]


def test_a_link_that_was_cut_is_remembered_through_other_changes() -> None:
    identities = service(MemoryDynamo())
    other = Identifier("user_id", "u2")
    identities.learn([Evidence("e1", 1, USER, [EMAIL])])
    identities.apply(Cut("o1", 2, [pair(USER, EMAIL)]))
    identities.learn([Evidence("e2", 3, other, [EMAIL])])
    assert identities.person_of(EMAIL) == identities.person_of(other)
    identities.apply(Restore("o2", 4, [pair(USER, EMAIL)]))
    assert identities.person_of(EMAIL) == identities.person_of(USER)


def test_a_probable_link_that_was_cut_is_remembered_through_other_changes() -> None:
    identities = service(MemoryDynamo())
    identities.learn([Evidence("e1", 1, USER, [EMAIL]), Evidence("e2", 2, PHONE, [BROWSER])])
    identities.apply(Probable("o1", 3, USER, PHONE, 0.97))
    identities.apply(Cut("o2", 4, [pair(USER, PHONE)]))
    identities.learn([Evidence("e3", 5, OTHER, [PHONE])])
    assert identities.person_of(PHONE) == identities.person_of(OTHER)
    identities.apply(Cut("o3", 6, [pair(OTHER, PHONE)]))
    identities.apply(Restore("o4", 7, [pair(USER, PHONE)]))
    assert identities.person_of(PHONE) == identities.person_of(USER)


def test_an_operators_record_takes_effect_once() -> None:
    identities = service(MemoryDynamo())
    identities.learn([Evidence("e1", 1, USER, [EMAIL])])
    identities.apply(Cut("o1", 2, [pair(USER, EMAIL)]))
    identities.apply(Restore("o2", 3, [pair(USER, EMAIL)]))
    identities.apply(Cut("o1", 2, [pair(USER, EMAIL)]))
    assert identities.person_of(USER) == identities.person_of(EMAIL)


def test_a_merge_marks_the_person_moves_fragments_and_announces_it() -> None:
    client = MemoryDynamo()
    identities = service(client)
    identities.learn([Evidence("e1", 1, EMAIL, [BROWSER])])
    old = identities.person_of(EMAIL)
    identities.learn([Evidence("e2", 2, USER, [EMAIL])])
    new = identities.person_of(EMAIL)
    header = identities.load(old)
    assert (header.pid, header.item["dirty"]) == (new, True)
    assert set(header.fragments) == {identities.keys.fragment(one) for one in (USER, EMAIL, BROWSER)}
    hots = rows(client, "profiles", "main#F#", "H")
    assert {hot["o"] for hot in hots} == {new}
    assert [json.loads(row["detail"])["others"] for row in rows(client, "outbox", f"main#{new}")] == [[old]]
    written = {tuple(hot["hub"]): hot["v"] for hot in hots}
    identities.learn([Evidence("e3", 3, USER, [TABLET])])
    raised = {tuple(hot["hub"]): hot["v"] for hot in rows(client, "profiles", "main#F#", "H")}
    assert all(raised[hub] > version for hub, version in written.items()), "stale workers must fail"


def test_memberships_move_to_the_surviving_profile() -> None:
    client = MemoryDynamo()
    identities = service(client)
    pid = identities.keys.profile(BROWSER)
    pk, sk = identities.keys.person_key(pid)
    table = Table("profiles", client)
    from hoso.platform.dynamo import Put, transact

    entry = [1, 500, None, "m1"]
    transact(client, [Put(table, {"pk": pk, "sk": sk, "v": 1, "m": {"lookers": entry}, "sp": "split-7"})])
    identities.learn([Evidence("e1", 1, USER, [BROWSER])])
    item = identities.load(pid).item
    assert (item["m"], item["ab"], item["sp"]) == ({"lookers": entry}, [pid], "split-7")


def test_anonymous_traffic_alone_costs_one_read_and_no_write() -> None:
    client = MemoryDynamo()
    identities = service(client)
    answer = identities.learn([Evidence(f"e{n}", n, BROWSER) for n in range(50)])
    assert answer == {BROWSER: identities.keys.profile(BROWSER)}
    assert (client.calls, client.written) == (["batch_get_item"], 0)


def test_the_sample_traffic_learnt_live_equals_the_batch_and_costs_little() -> None:
    lines = (Path(__file__).parents[2] / "events" / "traffic" / "events.ndjson").read_text().splitlines()
    told = []
    for event in map(json.loads, lines):
        ids = extract(event)
        told.append(
            Evidence(
                event["messageId"], parse_instant(event["timestamp"]) or 0, ids[0], ids[1:], None, person_name(event)
            )
        )
    client = MemoryDynamo()
    identities = service(client, DEFAULT)
    for first in range(0, len(told), 50):
        identities.learn(told[first : first + 50])
    expected = resolve(told, DEFAULT).of
    people = identities.learn(told)
    for one, pid in people.items():
        assert set(identities.load(pid).identifiers or [one]) == expected[one]
    written, keys_read = client.written, client.keys_read
    for event in told:
        identities.learn([event])
    assert client.written == written
    assert (client.keys_read - keys_read) / len(told) <= 1.3, "item reads per event of a second pass, without a cache"


def test_throttling_that_ends_is_survived_and_one_that_does_not_is_transient() -> None:
    from hoso.model.errors import Transient

    class Throttled:
        def __init__(self, client: MemoryDynamo, times: int) -> None:
            self.client, self.times = client, times

        def __getattr__(self, name: str) -> Any:
            return getattr(self.client, name)

        def transact_write_items(self, **request: Any) -> Any:
            self.times -= 1
            if self.times >= 0:
                raise ClientError({"Error": {"Code": "ThrottlingException"}}, "TransactWriteItems")
            return self.client.transact_write_items(**request)

    client = MemoryDynamo()
    service(Throttled(client, 3)).learn([Evidence("e1", 1, USER, [EMAIL])])
    assert service(client).person_of(EMAIL) == service(client).person_of(USER)
    with pytest.raises(Transient):
        service(Throttled(client, 99)).learn([Evidence("e2", 1, USER, [BROWSER])])


def test_batches_of_any_size_end_alike() -> None:
    for seed in range(5_000, 5_040):
        scenario = random_scenario(seed)
        events = [step for step in scenario.steps if isinstance(step, Evidence)]
        expected = resolve(events, scenario.config).of
        client = MemoryDynamo()
        identities, size = service(client, scenario.config), random.Random(seed).choice([2, 5, 100])
        for first in range(0, len(events), size):
            answers = identities.learn(events[first : first + size])
            assert set(answers) == {event.hub for event in events[first : first + size]}
        for one, members in expected.items():
            assert {other for other in expected if identities.person_of(other) == identities.person_of(one)} == members


def test_r9_what_a_shared_number_keeps_is_bounded_however_many_use_it() -> None:
    client = MemoryDynamo()
    identities = service(client)
    for n in range(120):
        identities.learn([Evidence(f"u{n}", 2 * n, Identifier("user_id", f"u{n}"), [PHONE])])
        identities.learn([Evidence(f"b{n}", 2 * n + 1, PHONE, [Identifier("device_id", f"b{n}")])])
    (held,) = rows(client, "profiles", "main#I#phone#")
    (person,) = rows(client, "profiles", f"main#P#{identities.person_of(PHONE)}", "P")
    assert len(held["l"]) <= 40
    assert len(person.get("nb", ())) <= 40
    assert identities.person_of(Identifier("device_id", "b0")) != identities.person_of(PHONE)
    written = client.written
    for n in range(120):
        identities.learn([Evidence(f"u{n}", 2 * n, Identifier("user_id", f"u{n}"), [PHONE])])
        identities.learn([Evidence(f"b{n}", 2 * n + 1, PHONE, [Identifier("device_id", f"b{n}")])])
    assert client.written == written


def test_r9_r14_a_shared_number_of_which_links_were_cut_is_somebodys_again() -> None:
    client = MemoryDynamo()
    identities = service(client)
    users = [Identifier("user_id", f"u{n}") for n in range(6)]
    for n, user in enumerate(users):
        identities.learn([Evidence(f"e{n}", n, user, [PHONE])])
    assert identities.person_of(PHONE) not in {identities.person_of(user) for user in users}
    identities.apply(Cut("o1", 10, [pair(users[5], PHONE)]))
    assert identities.person_of(PHONE) == identities.person_of(users[0])
    identities.apply(Restore("o2", 11, [pair(users[5], PHONE)]))
    assert identities.person_of(PHONE) not in {identities.person_of(user) for user in users}
