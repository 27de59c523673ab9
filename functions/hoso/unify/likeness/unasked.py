"""What a link made unasked needs besides its probability: evidence of the person, not only of the household.

The model takes comparisons for independent within a class. In a household they are not: who is named after his father
shares name, address, and often more, and each agreement is counted anew. So a pair is never surer than the band of
questions unless (1) the given names agree, (2) something ties the two that a household does not share by itself: the
same e-mail, a phone (a digit off is the same), a birth date, a number of one's own. An address is everybody's in
it, and a mailbox that is only alike is so because the names are (identity reference, trap 8). And (3) sex, given name
and birth date do not contradict. That a group of records holds contradicting birth dates is judged in ``clusters``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hoso.unify.likeness.comparisons import Comparison

AUTO = 0.94
"""At this probability and above, pairs are linked without asking (weight 4 and more)."""
_FROM = 0.93
_BELOW = 0.9399
"""Pairs that lack something keep their order, pressed between these two."""
PERSON, OTHER = "person", "other"
TIES = ("contact", "birth", "number")
"""What a level may show (``Level.shows``)."""
REASONS = (
    "",
    "given name, sex or birth date contradict",
    "nothing says that the given names agree",
    "names agree, but neither an e-mail, a phone, a birth date nor a number does: a household may share all the rest",
)
"""By what ``lacking`` answers."""
GROUP = "the birth dates of those that either may be contradict: it may be either's"
"""Why a pair is asked about whose own evidence is enough."""

Floats = npt.NDArray[np.float64]
Levels = npt.NDArray[np.int16]


def lacking(levels: Levels, comparisons: Sequence[Comparison]) -> npt.NDArray[np.int8]:
    """Per pattern (a row of levels) what it lacks to be linked unasked, as a place in ``REASONS``; 0: nothing.

    Where one record says no name, two ties of different kinds stand for it (a mother's phone is her child's, too).
    """
    seen = {what: np.zeros(len(levels), dtype=bool) for what in (PERSON, OTHER, *TIES)}
    named = np.zeros(len(levels), dtype=bool)
    for place, comparison in enumerate(comparisons):
        if comparison.name == "name":
            named = levels[:, place] > 0
        for number, level in enumerate(comparison.levels, 1):
            if level.shows:
                seen[level.shows] |= levels[:, place] == number
    ties = np.sum([seen[kind] for kind in TIES], axis=0)
    found = np.where(ties == 0, 3, 0)
    found = np.where(~(seen[PERSON] | (~named & (ties > 1))), 2, found)
    return np.where(seen[OTHER], 1, found).astype(np.int8)


def capped(probability: Floats, levels: Levels, comparisons: Sequence[Comparison]) -> Floats:
    """Probabilities, those of patterns that lack something kept below ``AUTO``, in their order."""
    pressed = _FROM + (_BELOW - _FROM) * (probability - _FROM) / (1.0 - _FROM)
    return np.where((probability > _FROM) & (lacking(levels, comparisons) > 0), pressed, probability)
