"""How well an assignment of messages to people fits the truth of generated traffic."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from hoso.model.identifiers import DEFAULT, IdentityConfig, contradictory, extract
from hoso.model.names import person_name
from hoso.model.time import parse_instant
from hoso.unify.evidence import Evidence
from tests.traffic_generator import Traffic

SCORED = ("exact", "visitor", "isolated")


class Score(NamedTuple):
    """Pairwise and B-cubed F1 over what exact rules can reach, and the customers whose events are not all and only
    theirs although all of them are exact."""

    pairwise: float
    b_cubed: float
    wrong: list[str]


def evidence_of(traffic: Traffic, config: IdentityConfig = DEFAULT) -> list[Evidence]:
    """What the lines tell, in order of arrival; repeats as they come."""
    told: list[Evidence] = []
    for event in traffic.lines:
        ids = extract(event, config)
        if ids and not contradictory(ids, config):
            ts = parse_instant(event["timestamp"]) or 0
            told.append(Evidence(event["messageId"], ts, ids[0], ids[1:], None, person_name(event)))
    return told


def score(traffic: Traffic, profile_of: Mapping[str, Any]) -> Score:
    """The score of ``profile_of``: message id to profile."""
    scored = [message for message, (_, kind) in traffic.truth.items() if kind in SCORED]
    truth = {message: traffic.truth[message][0] for message in scored}
    by_truth, by_guess = Counter(truth.values()), Counter(profile_of[message] for message in scored)
    both = Counter((truth[message], profile_of[message]) for message in scored)
    precision, recall = _pairs(both) / _pairs(by_guess), _pairs(both) / _pairs(by_truth)
    cubed_precision = sum(both[truth[m], profile_of[m]] / by_guess[profile_of[m]] for m in scored) / len(scored)
    cubed_recall = sum(both[truth[m], profile_of[m]] / by_truth[truth[m]] for m in scored) / len(scored)
    mine: dict[str, set[Any]] = defaultdict(set)
    for message, (who, _) in traffic.truth.items():
        if message in profile_of:
            mine[who].add(profile_of[message])
    sizes = Counter(profile_of.values())
    wrong = [
        who
        for who, totals in traffic.totals.items()
        if len(mine[who]) != 1 or sizes[next(iter(mine[who]))] != totals["events"]
    ]
    return Score(_f1(precision, recall), _f1(cubed_precision, cubed_recall), wrong)


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall)


def _pairs(sizes: Counter[Any]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes.values())
