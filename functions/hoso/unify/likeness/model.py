"""The model: pairs are one person's, related people's, or unrelated; fitted by EM without labels (Fellegi-Sunter).

Related pairs are of two kinds: people who share a home, and people who share e-mail and phone (a parent's, a spouse's).
One class for both would hold it unlikely that related people share all of these, and would take them for one person.
Only the pairs that blocking found are counted; all others of the n²/2 pairs are taken for unrelated, whose outcome
frequencies are known beforehand. What frequent values weigh less is known per pair, too (``terms``, in bits).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hoso.unify.likeness.comparisons import Comparison

Floats = npt.NDArray[np.float64]
ROUNDS = 80
PRIOR_PAIRS = 30.0
"""How many pairs the expectation before learning is worth, per comparison and class."""
FIRM = 1.0
"""How much the expectation of what tells related people apart counts beside what is learnt. Without it the class of
related pairs may turn into a second class of one person's pairs."""
_TELLING = frozenset(("name", "birth date", "sex"))
_SEEN_BEFORE = ((3.0, 0.01), (0.5, 0.0), (0.5, 0.0))
"""How many pairs of each learnt class are taken for seen before anything is: at least, and per record."""
_LEAST = 1e-9
CONTACTS = frozenset(("email", "phone"))
_CONTACT_ALONE = 0.92
"""How probable one person is where two records, and no more, hold an e-mail or phone and nothing else is said: .93 to
.95 of such generated pairs, .87 of all that agree. Below what is linked unasked."""
_KINDS = ("one", "related", "related")
"""What each learnt class of the mixture means."""


@dataclass(slots=True)
class Parameters:
    """Per comparison the probabilities of its levels 1 … n, given that both records say something.

    ``tables[class][comparison]`` for the learnt classes of ``_KINDS``, ``shares`` their shares among all pairs, ``u``
    for unrelated pairs.
    """

    names: list[str]
    tables: list[list[Floats]]
    shares: list[float]
    u: list[Floats]
    rounds: int = 0
    decided: int = 0

    def of(self, kind: str) -> list[Floats]:
        """The tables of the classes of a kind, as one."""
        chosen = [place for place, name in enumerate(_KINDS) if name == kind]
        total = sum(self.shares[place] for place in chosen)
        return [
            np.asarray(sum(self.tables[place][column] * (self.shares[place] / total) for place in chosen))
            for column in range(len(self.names))
        ]

    def share(self, kind: str) -> float:
        """The share of a kind among all pairs."""
        return sum(share for share, name in zip(self.shares, _KINDS, strict=True) if name == kind)

    def document(self) -> dict[str, Any]:
        """The parameters as JSON."""
        return {
            "comparisons": self.names,
            "tables": [[part.tolist() for part in table] for table in self.tables],
            "shares": self.shares,
            "u": [part.tolist() for part in self.u],
            "rounds": self.rounds,
            "decided": self.decided,
        }

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Parameters:
        """Parameters from their document."""
        return cls(
            list(document["comparisons"]),
            [[np.asarray(part, dtype=np.float64) for part in table] for table in document["tables"]],
            [float(share) for share in document["shares"]],
            [np.asarray(part, dtype=np.float64) for part in document["u"]],
            int(document["rounds"]),
            int(document["decided"]),
        )


@dataclass(slots=True)
class Patterns:
    """Distinct outcomes: ``levels`` (patterns × comparisons), ``terms`` in bits, ``counts`` of pairs.

    ``accepted`` and ``rejected``: how many of the pairs a person has decided upon.
    """

    levels: npt.NDArray[np.int16]
    terms: Floats
    counts: Floats
    accepted: Floats = field(default_factory=lambda: np.zeros(0))
    rejected: Floats = field(default_factory=lambda: np.zeros(0))


def expected(comparisons: Sequence[Comparison], u: Sequence[Floats], records: int) -> Parameters:
    """What is expected before any pair was seen."""
    share = 1.0 / max(records, 2)
    family = share if any(one.name in _TELLING for one in comparisons) else _LEAST * share
    return Parameters(
        [one.name for one in comparisons],
        _priors(comparisons),
        [0.5 * share, 0.15 * family, 0.15 * family],
        list(u),
    )


def fit(
    patterns: Patterns, start: Parameters, comparisons: Sequence[Comparison], records: int, drawn: int = 0
) -> Parameters:
    """EM from a start. Decisions of people count as what they say, whatever the model holds of the pair.

    ``drawn``: the random pairs from which the outcomes of unrelated ones were counted; 0: these are known exactly.
    """
    pairs = max(records * (records - 1) / 2, 1.0)
    now = start
    priors = _priors(comparisons)
    tells = [one.name in _TELLING for one in comparisons]
    seen_before = [max(least, part * records) for least, part in _SEEN_BEFORE]
    decided = bool(patterns.accepted.size)
    free = patterns.counts - patterns.accepted - patterns.rejected if decided else patterns.counts
    before = -np.inf
    for round_ in range(1, ROUNDS + 1):
        found = logs(patterns, now)
        top = found.max(axis=0)
        parts = np.exp(found - top)
        total = parts.sum(axis=0)
        weights = parts[:-1] * (free / total)
        if not any(tells):
            weights[1:] = 0.0  # nothing would tell one person from a family
        if decided:
            weights += _decided(parts, patterns)
        now = Parameters(
            now.names,
            [
                [
                    _counted(patterns.levels[:, place], weight, prior[place], kind == "related" and tells[place])
                    for place in range(len(now.names))
                ]
                for weight, prior, kind in zip(weights, priors, _KINDS, strict=True)
            ],
            [
                float(weight.sum() + (more if weight.any() else _LEAST)) / pairs
                for weight, more in zip(weights, seen_before, strict=True)
            ],
            [_rest(start.u[place], now, place, comparisons[place], drawn) for place in range(len(now.names))],
            round_,
            int(patterns.accepted.sum() + patterns.rejected.sum()) if decided else 0,
        )
        likelihood = float((patterns.counts * (top + np.log(total))).sum())
        if abs(likelihood - before) < 1e-6 * abs(likelihood):
            break
        before = likelihood
    return now


def contact_alone(comparison: Comparison, u: Floats, by_chance: float) -> Parameters:
    """Parameters for records that say nothing but an e-mail or a phone: nothing there tells a person from a family.

    ``by_chance``: how often two other records agree on a value that two hold. A value that more hold counts less, as
    its frequency says; one that is only alike counts as nothing.
    """
    table = np.full(len(u), _LEAST)
    table[0] = 1.0
    odds = _CONTACT_ALONE / (1.0 - _CONTACT_ALONE)
    shares = [min(odds * by_chance, 0.5), *(_LEAST * by_chance for _ in _KINDS[1:])]
    return Parameters([comparison.name], [[_shares(table.tolist())] for _ in _KINDS], shares, [u])


def logs(patterns: Patterns, parameters: Parameters) -> Floats:
    """Natural logarithms of share times likelihood: a row per class (unrelated last), a column per pattern."""
    shares = [*parameters.shares, max(1.0 - sum(parameters.shares), _LEAST)]
    found = np.zeros((len(shares), len(patterns.counts)))
    for row, tables in enumerate([*parameters.tables, parameters.u]):
        found[row] += np.log(shares[row])
        for place, table in enumerate(tables):
            found[row] += np.log(np.concatenate(([1.0], np.maximum(table, _LEAST))))[patterns.levels[:, place]]
    found[-1] -= patterns.terms * np.log(2)
    return found


def probabilities(patterns: Patterns, parameters: Parameters) -> Floats:
    """How probable each pattern is one person's."""
    found = logs(patterns, parameters)
    parts = np.exp(found - found.max(axis=0))
    ones = [place for place, kind in enumerate(_KINDS) if kind == "one"]
    return np.asarray(parts[ones].sum(axis=0) / parts.sum(axis=0))


def _priors(comparisons: Sequence[Comparison]) -> list[list[Floats]]:
    """What is expected of each learnt class: as the levels say, and leaning apart where the kinds have two."""
    lean: dict[tuple[str, int], dict[str, list[float]]] = {
        ("one", 0): {},
        ("related", 0): _HOME,
        ("related", 1): _CONTACT,
    }
    tables: list[list[Floats]] = []
    for place, kind in enumerate(_KINDS):
        leaning = lean[kind, _KINDS[:place].count(kind)]
        tables.append(
            [
                _shares(leaning.get(one.name) or [level.m if kind == "one" else level.h for level in one.levels])
                for one in comparisons
            ]
        )
    return tables


_HOME: dict[str, list[float]] = {
    "email": [0.03, 0.005, 0.005, 0.005, 0.955],
    "phone": [0.10, 0.005, 0.895],
    "address": [0.85, 0.10, 0.01, 0.04],
}
_CONTACT: dict[str, list[float]] = {
    "email": [0.60, 0.01, 0.01, 0.01, 0.37],
    "phone": [0.75, 0.02, 0.23],
    "address": [0.60, 0.08, 0.02, 0.30],
}


def _decided(parts: Floats, patterns: Patterns) -> Floats:
    """The decided pairs by class: an accepted one is one person's, a rejected one is related or unrelated."""
    weights = np.zeros((len(_KINDS), parts.shape[1]))
    for kind, counts in (("one", patterns.accepted), ("related", patterns.rejected)):
        rows = [place for place, name in enumerate(_KINDS) if name == kind]
        total = parts[rows].sum(axis=0) + (parts[-1] if kind == "related" else 0.0)
        weights[rows] = counts * parts[rows] / np.maximum(total, 1e-300)
    return weights


def _rest(seen: Floats, now: Parameters, place: int, comparison: Comparison, drawn: int) -> Floats:
    """What is left of the outcomes of random pairs when those of matching pairs are taken out.

    What was counted a few times in the draw is uncertain by its square root: less than that is not left.
    """
    rest = seen.copy()
    for number, level in enumerate(comparison.levels):
        if level.term is None or number:
            taken = sum(share * table[place][number] for share, table in zip(now.shares, now.tables, strict=True))
            least = 0.1 * seen[number]
            if drawn and level.rare is None:
                least = max(least, min(seen[number], float(np.sqrt(seen[number] / drawn))))
            rest[number] = max(seen[number] - taken, least)
    return rest / rest.sum()


def _counted(levels: npt.NDArray[np.int16], weights: Floats, prior: Floats, firm: bool) -> Floats:
    counts = np.bincount(levels, weights=weights, minlength=len(prior) + 1)[1:]
    counts = counts + prior * (PRIOR_PAIRS + (FIRM * counts.sum() if firm else 0.0))
    return counts / counts.sum()


def _shares(numbers: Sequence[float]) -> Floats:
    found = np.asarray(numbers, dtype=np.float64)
    return found / found.sum()
