"""Connected components of pairs in numpy: smallest label, pointer jumping, and contraction."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]


def components(size: int, one: Ints, other: Ints) -> Ints:
    """The label of each of ``size`` nodes: the smallest node of its component.

    ``one`` and ``other`` are the ends of the edges, repeats and loops allowed.
    """
    label = np.arange(size, dtype=np.int32)
    low, high = np.minimum(one, other).astype(np.int32), np.maximum(one, other).astype(np.int32)
    # of several lower neighbours the last written one wins: any of them is right, the rest is done below
    label[high] = low
    while True:
        jumped = label[label]
        if np.array_equal(jumped, label):
            break
        label = jumped
    a, b = label[low], label[high]
    open_ = a != b
    if not open_.any():
        return label
    # what is left joins some of the labels: the same problem, on far fewer nodes, in the same order
    a, b = a[open_], b[open_]
    met = np.zeros(size, dtype=bool)
    met[a] = met[b] = True
    nodes = np.nonzero(met)[0].astype(np.int32)
    number = np.cumsum(met, dtype=np.int32) - 1
    label[nodes] = nodes[components(len(nodes), number[a], number[b])]
    return label[label]
