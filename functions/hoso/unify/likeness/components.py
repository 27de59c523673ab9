"""Connected components of pairs in numpy: smallest label with pointer jumping."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]


def components(size: int, one: Ints, other: Ints) -> Ints:
    """The label of each of ``size`` nodes: the smallest node of its component.

    ``one`` and ``other`` are the ends of the edges, repeats and loops allowed.
    """
    label = np.arange(size, dtype=np.int32)
    a, b = one.astype(np.int32, copy=False), other.astype(np.int32, copy=False)
    while a.size:
        low, high = np.minimum(a, b), np.maximum(a, b)
        # of several lower neighbours the last written one wins: any of them is right, the rest comes round again
        label[high] = np.minimum(label[high], low)
        while True:
            jumped = label[label]
            if np.array_equal(jumped, label):
                break
            label = jumped
        a, b = label[a], label[b]
        open_ = a != b
        a, b = a[open_], b[open_]
    return label
