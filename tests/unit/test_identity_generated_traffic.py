"""Traffic of other seeds: nobody merged, nobody split, in the pure resolver and in the live service alike."""

import pytest

from hoso.model.identifiers import DEFAULT
from hoso.platform.dynamo import Table
from hoso.platform.ids import Hasher
from hoso.platform.wire import from_wire
from hoso.unify.graph import attributed, resolve
from hoso.unify.identities import Identities
from hoso.unify.identity_items import read_identifier
from tests.identity_table import MemoryDynamo
from tests.traffic_generator import Generator
from tests.traffic_score import evidence_of, score


@pytest.mark.parametrize(("seed", "harsh"), [(1, False), (2, False), (9, True)])
def test_f1_of_generated_traffic_is_one(seed: int, harsh: bool) -> None:
    traffic = Generator(seed, 400, harsh=harsh).make()
    told = evidence_of(traffic)
    clusters = resolve(told, DEFAULT)
    people = {one.event_id: clusters.of[attributed(one.hub, one.ids, clusters.shared)] for one in told}
    found = score(traffic, people)
    assert (found.pairwise, found.b_cubed) == pytest.approx((1, 1), abs=1e-12)
    # what somebody does by nothing but another's telephone number or address, without a name, nobody can tell apart
    for who in found.wrong:
        (person,) = {people[one] for one, (owner, _) in traffic.truth.items() if owner == who and one in people}
        strange = [one for one, held in people.items() if held == person and traffic.truth[one][0] != who]
        assert strange and {traffic.truth[one][1] for one in strange} == {"shared"}
        assert {len(traffic.ids[one]) for one in strange} == {1}
        assert not [one for one in told if one.event_id in strange and one.name]
    assert bool(found.wrong) == harsh


def test_generated_traffic_learnt_live_equals_the_pure_function() -> None:
    traffic = Generator(7, 150, harsh=True).make()
    told = evidence_of(traffic)
    client = MemoryDynamo()
    identities = Identities(
        Table("profiles", client),
        Table("outbox", client),
        Table("delivery", client),
        client,
        Hasher(b"t"),
        "main",
        DEFAULT,
        lambda: 0,
    )
    for first in range(0, len(told), 40):
        identities.learn(told[first : first + 40])
    expected = resolve(told, DEFAULT)
    assert {one: set(identities.load(identities.person_of(one)).identifiers or [one]) for one in expected.of} == dict(
        expected.of
    )
    people = [from_wire(item) for key, item in client.tables["profiles"].items() if key[1] == "P"]
    assert {read_identifier(text) for item in people for text in item.get("sh", ())} == expected.shared
    written = client.written
    identities.learn(told)
    assert client.written == written, "a second pass over the same events teaches nothing"
