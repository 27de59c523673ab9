"""Traffic of other seeds: nobody merged, nobody split, in the pure resolver and in the live service alike."""

import pytest

from hoso.model.identifiers import DEFAULT
from hoso.platform.dynamo import Table, from_wire
from hoso.platform.ids import Hasher
from hoso.unify.graph import attributed, resolve
from hoso.unify.identities import Identities
from hoso.unify.identity_items import read_identifier
from tests.identity_table import MemoryDynamo
from tests.traffic_generator import Generator
from tests.traffic_score import evidence_of, score


@pytest.mark.parametrize(("seed", "harsh"), [(1, False), (2, False), (3, True)])
def test_f1_of_generated_traffic_is_one(seed: int, harsh: bool) -> None:
    traffic = Generator(seed, 400, harsh=harsh).make()
    told = evidence_of(traffic)
    clusters = resolve(told, DEFAULT)
    found = score(traffic, {one.event_id: clusters.of[attributed(one.hub, one.ids, clusters.shared)] for one in told})
    assert (found.pairwise, found.b_cubed) == pytest.approx((1, 1), abs=1e-12)
    # What a person buys by nothing but another's telephone number, without a name, nobody can tell apart.
    assert len(found.wrong) <= 2 if harsh else not found.wrong


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
