"""A person decides on a pair: at once in the identity graph, and for good in what matching learns from."""

from __future__ import annotations

from dataclasses import replace

from hoso.platform.clock import Clock
from hoso.unify.evidence import Probable
from hoso.unify.identities import Identities
from hoso.unify.likeness.reviews import ACCEPTED, REJECTED, Review, Reviews


class ReviewWork:
    """Decisions on the pairs of one workspace."""

    def __init__(self, reviews: Reviews, identities: Identities, clock: Clock) -> None:
        self.reviews = reviews
        self._identities = identities
        self._clock = clock

    def decide(self, pair: str, *, accept: bool, by: str) -> Review:
        """Accept or reject a pair. The same decision again changes nothing; another one takes the former back.

        The graph changes first, under a record id that is a function of the decision's number: when the rest fails, the
        same call again completes it.

        Raises:
            NotFound: there is no such pair.
            Conflict: somebody else decided at the same moment (``condition_failed``), or the people concerned are too
                many for a live decision (``too_large``).
        """
        held = self.reviews.get(pair)
        status = ACCEPTED if accept else REJECTED
        if held.status == status:
            return held
        now = self._clock()
        record = f"likeness:{pair}:{status}:{held.decisions + 1}"
        self._identities.apply(Probable(record, now, held.a, held.b, 1.0 if accept else 0.0))
        decided = replace(held, status=status, at=now, by=by, decisions=held.decisions + 1)
        self.reviews.put(decided, held)
        return replace(decided, version=held.version + 1)
