"""How much somebody resembles the members of a segment (insight reference, "Lookalike")."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import numpy as np

from hoso.insight.scores.special import Floats
from hoso.segment.traits.language import ComputedTrait, Lookalike
from hoso.segment.traits.made import Bench, NotEnoughData, Row
from hoso.segment.traits.propensity import features_of, frequent, titles

NEAREST = 10
MOST_SEEDS = 5_000
SAMPLED = 2_000
"""So many seeds, chosen by a hash, stand for more than ``MOST_SEEDS``."""
_CLIP = 3.0
_BLOCK = 20_000
"""Rows whose cosines to all seeds are held at once: at most 20,000 × 5,000 numbers of 4 bytes."""
_TOLD = 3


def lookalike(bench: Bench, definition: ComputedTrait, recipe: Lookalike) -> None:
    """Mean cosine of the standardised features to the ten nearest seeds, for everybody who is no seed.

    Raises:
        NotEnoughData: the segment has fewer than ten members with events.
    """
    names = list(recipe.names) or frequent(bench)
    ids, features = features_of(bench, names, bench.as_of)
    members = bench.columns(
        "SELECT profile_id FROM profiles WHERE list_contains(json_keys(memberships::JSON), ?)", [recipe.seed]
    )
    wanted = {str(pid) for pid in members["profile_id"]}
    is_seed = np.array([pid in wanted for pid in ids], dtype=bool)
    if int(is_seed.sum()) < NEAREST:
        raise NotEnoughData(f"{int(is_seed.sum())} members of {recipe.seed} have events; {NEAREST} are needed")
    z = standardised(features)
    seeds = z[_chosen(definition.key, ids, is_seed)]
    others = np.flatnonzero(~is_seed)
    scores = resemblance(z[others], seeds)
    top = others[np.argsort(-scores, kind="stable")[: max(len(others) // 10, 1)]]
    bench.report |= {
        "people": len(others),
        "seeds": int(is_seed.sum()),
        "sampled": len(seeds),
        "features": {
            title: {"seeds": round(float(z[is_seed, place].mean()), 3), "first_tenth": round(float(m), 3)}
            for place, (title, m) in enumerate(zip(titles(names), z[top].mean(axis=0), strict=True))
        }
        if len(others)
        else {},
    }
    told = titles(names)
    alike = z * z[is_seed].mean(axis=0)

    def rows() -> Iterator[Row]:
        for place, score in zip(others.tolist(), scores.tolist(), strict=True):
            strongest: list[int] = np.argsort(-alike[place], kind="stable")[:_TOLD].tolist()
            reason = {told[feature]: round(float(z[place, feature]), 2) for feature in strongest}
            yield ids[place], definition.key, "score", round(score, 4), reason

    bench.put(rows())


def standardised(features: Floats) -> Floats:
    """z-scores over the population, clipped to ±3; a feature that is the same for all tells nothing."""
    spread = features.std(axis=0)
    return np.clip((features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0), -_CLIP, _CLIP)


def resemblance(people: Floats, seeds: Floats) -> Floats:
    """Per person the mean cosine to the nearest seeds, block by block."""
    towards = _directions(seeds).T
    nearest = min(NEAREST, towards.shape[1])
    scores = np.empty(len(people))
    for start in range(0, len(people), _BLOCK):
        cosines = _directions(people[start : start + _BLOCK]) @ towards
        best = np.partition(cosines, cosines.shape[1] - nearest, axis=1)[:, -nearest:]
        scores[start : start + _BLOCK] = best.mean(axis=1)
    return scores


def _directions(rows: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1.0)).astype(np.float32)


def _chosen(key: str, ids: list[str], is_seed: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[int]:
    seeds: list[int] = np.flatnonzero(is_seed).tolist()
    if len(seeds) <= MOST_SEEDS:
        return seeds
    return sorted(sorted(seeds, key=lambda place: sha256(f"{key}:{ids[place]}".encode()).digest())[:SAMPLED])
