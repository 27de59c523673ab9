"""From scored pairs to people: connected components, cut where birth dates contradict each other.

A record without a birth date links easily to two of a family who are named alike; the pairs alone never see that the
two were born at different times. Where a component holds contradicting dates, its pairs are taken best first, and two
groups are joined only while no more than half of their pairs of dates contradict. (A pair of which both dates are known
has been judged with them: it always joins.)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hoso.unify.likeness.components import components

Ints = npt.NDArray[np.int32]
Floats32 = npt.NDArray[np.float32]
_NEVER = 99_999_999


def dates_contradict(one: str, other: str) -> bool:
    """Whether two dates of eight digits cannot be one birth date, errors of typing allowed.

    >>> dates_contradict("19940911", "19941109"), dates_contradict("19940911", "19940000")
    (False, False)
    >>> dates_contradict("19940911", "19800302")
    True
    """
    if one == other:
        return False
    same_year = one[:4] == other[:4]
    if same_year and (one[4:] == "0000" or other[4:] == "0000"):
        return False
    if sum(a != b for a, b in zip(one, other, strict=True)) <= 1:
        return False
    if same_year and one[4:6] == other[6:] and one[6:] == other[4:6]:
        return False
    return same_year + (one[4:6] == other[4:6]) + (one[6:] == other[6:]) < 2


def cluster(
    size: int, one: Ints, other: Ints, probability: Floats32, dates: Mapping[int, str], *, unasked: bool = False
) -> Ints:
    """The label of each of ``size`` records: the smallest record of its cluster. ``dates`` by record, where known.

    ``unasked``: where dates contradict, a record without one joins nobody. It might be either's.
    """
    label = components(size, one, other)
    dated = np.fromiter(dates, dtype=np.int32, count=len(dates))
    numbers = np.fromiter(map(int, dates.values()), dtype=np.int32, count=len(dates))
    least, most = np.full(size, _NEVER, dtype=np.int32), np.zeros(size, dtype=np.int32)
    np.minimum.at(least, label[dated], numbers)
    np.maximum.at(most, label[dated], numbers)
    differ = (least < most)[label[dated]]  # of most, all dates are the same
    held: defaultdict[int, set[str]] = defaultdict(set)
    for record in dated[differ].tolist():
        held[int(label[record])].add(dates[record])
    torn = {
        name
        for name, found in held.items()
        if len(found) > 1 and any(dates_contradict(a, b) for a in found for b in found)
    }
    if not torn:
        return label
    of_torn = np.isin(label, np.fromiter(torn, dtype=np.int32))
    edges = np.nonzero(of_torn[one])[0]
    # Best first; ties in the order of the records, so that the outcome does not hang on the order of the pairs.
    edges = edges[np.lexsort((other[edges], one[edges], -probability[edges]))]
    groups = _Groups({int(record): dates.get(int(record)) for record in np.nonzero(of_torn)[0]})
    for edge in edges.tolist():
        a, b = int(one[edge]), int(other[edge])
        if not unasked or (a in dates and b in dates):
            groups.join(a, b)
    for record, leader in groups.leaders().items():
        label[record] = leader
    return label


class _Groups:
    """Union-find whose groups know their birth dates."""

    def __init__(self, dates: Mapping[int, str | None]) -> None:
        self._root = {record: record for record in dates}
        self._known = {record for record, date in dates.items() if date}
        self._dates = {record: Counter([date] if date else []) for record, date in dates.items()}

    def join(self, one: int, other: int) -> None:
        kept, gone = sorted((self._find(one), self._find(other)))
        if kept == gone:
            return
        if one in self._known and other in self._known:
            self._merge(kept, gone)
            return
        pairs = [
            (count * more, dates_contradict(date, another))
            for date, count in self._dates[kept].items()
            for another, more in self._dates[gone].items()
        ]
        if 2 * sum(count for count, contradicting in pairs if contradicting) > sum(count for count, _ in pairs):
            return
        self._merge(kept, gone)

    def _merge(self, kept: int, gone: int) -> None:
        self._root[gone] = kept
        self._dates[kept].update(self._dates.pop(gone))

    def leaders(self) -> dict[int, int]:
        return {record: self._find(record) for record in self._root}

    def _find(self, record: int) -> int:
        root = self._root
        while root[record] != record:
            root[record] = root[root[record]]
            record = root[record]
        return record
