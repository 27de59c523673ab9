"""Connected components of pairs in numpy: hook to a smaller neighbour, number the trees, go on with the trees.

Everything that reads at random goes through the pairs in pieces: what a piece needs besides stays in the processor's
cache, and there is no second copy of ten million numbers as indices.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
_PIECE = 1 << 16


def components(size: int, one: Ints, other: Ints) -> Ints:
    """The label of each of ``size`` nodes: the smallest node of its component.

    ``one`` and ``other`` are the ends of the edges, repeats and loops allowed.
    """
    return _components(size, one, other, first=True)


def _components(size: int, one: Ints, other: Ints, *, first: bool) -> Ints:
    parent = np.arange(size, dtype=np.int32)
    for piece in _pieces(len(one)):
        a, b = one[piece], other[piece]
        if first:
            # of several lower neighbours the last written one wins: quick, and any of them is right
            parent[np.maximum(a, b)] = np.minimum(a, b)
        else:
            # the smallest wins: a tree at least doubles within two rounds, whatever the order of nodes and edges
            np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
    tree, roots = _trees(parent)
    kept: list[tuple[Ints, Ints]] = []
    for piece in _pieces(len(one)):
        a, b = tree[one[piece]], tree[other[piece]]
        joining = np.flatnonzero(a != b)
        if joining.size:
            kept.append((a[joining], b[joining]))
    if kept:
        # what is left joins some of the trees: the same problem, on far fewer nodes, in the same order
        a, b = (np.concatenate(ends) for ends in zip(*kept, strict=True))
        met = np.zeros(len(roots), dtype=bool)
        met[a] = met[b] = True
        nodes = np.flatnonzero(met)
        number = np.empty(len(roots), dtype=np.int32)
        number[nodes] = np.arange(len(nodes), dtype=np.int32)
        roots[nodes] = roots[nodes[_components(len(nodes), number[a], number[b], first=False)]]
    label = parent
    for piece in _pieces(size):
        label[piece] = roots[tree[piece]]
    return label


def _trees(parent: Ints) -> tuple[Ints, Ints]:
    """The number of each node's tree, and the root of each tree. Shortens the paths of ``parent``.

    A parent is smaller than its child: in ascending order, the parents of before a piece are done, and only who has
    one within the piece climbs.
    """
    tree = np.empty_like(parent)
    roots = np.empty_like(parent)
    count = 0
    for piece in _pieces(len(parent)):
        above = parent[piece]
        root = above == np.arange(piece.start, piece.stop, dtype=np.int32)
        found = np.flatnonzero(root) + piece.start
        roots[count : count + len(found)] = found
        tree[found] = np.arange(count, count + len(found), dtype=np.int32)
        count += len(found)
        late = np.flatnonzero((above >= piece.start) & ~root)
        while late.size:
            held = above[late]
            higher = parent[held]
            above[late] = higher
            late = late[(higher != held) & (higher >= piece.start)]
        tree[piece] = tree[above]
    return tree, roots[:count].copy()


def _pieces(size: int) -> Iterator[slice]:
    """The places from 0 to ``size``, in pieces."""
    for start in range(0, size, _PIECE):
        yield slice(start, min(start + _PIECE, size))
