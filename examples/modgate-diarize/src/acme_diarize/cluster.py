"""Which windows are of one voice.  Runs in a decoder process: numpy, and no modgate.

Agglomerative clustering with average linkage, by chains of nearest neighbours: time and memory grow
with the square of the windows, not the cube.

Source: F. Murtagh, A survey of recent advances in hierarchical clustering algorithms, 1983, and
D. Muellner, Modern hierarchical, agglomerative clustering algorithms, 2011, section 3.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEW = 3  # windows: a smaller cluster is a slip between two voices, where there is a bigger one

Vectors = NDArray[np.float32]
Merge = tuple[float, int, int]  # distance, and one window of either side


def speakers(
    vectors: list[list[float]], metric: str, threshold: float, count: int | None, most: int
) -> list[int]:
    """A number for each window, from 0 in the order in which voices are first heard.

    `count`: how many there are, if that is known; else voices farther apart than `threshold` are
    two, but there are at most `most`.
    """
    points = np.asarray(vectors, dtype=np.float32)
    merges = sorted(linked(distances(points, metric)))
    near = sum(distance <= threshold for distance, _, _ in merges)
    clusters = len(points) - near if count is None else count
    wanted = max(1, min(clusters, len(points), count or most))
    labels = _joined(len(points), merges[: len(points) - wanted])
    if count is None:
        labels = _without_slips(points, labels)
    return _in_order(labels)


def distances(points: Vectors, metric: str) -> NDArray[np.float32]:
    """Between all windows; infinite from each to itself."""
    if metric == "cosine":
        points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
        between = 1.0 - points @ points.T
    else:
        squares = np.square(points).sum(axis=1)
        between = np.sqrt(np.maximum(squares[:, None] + squares - 2.0 * points @ points.T, 0.0))
    np.fill_diagonal(between, np.inf)
    return between.astype(np.float32)


def linked(between: NDArray[np.float32]) -> list[Merge]:
    """The merges of average linkage, in no order; `between` is used up."""
    size = np.ones(len(between), dtype=np.float32)
    merges: list[Merge] = []
    chain: list[int] = []
    gone = np.zeros(len(between), dtype=bool)
    while len(merges) < len(between) - 1:
        if not chain:
            chain.append(int(np.flatnonzero(~gone)[0]))
        here = chain[-1]
        nearest = int(np.argmin(between[here]))
        if len(chain) > 1 and between[here, chain[-2]] <= between[here, nearest]:
            nearest = chain[-2]
            del chain[-2:]
            merges.append((float(between[here, nearest]), here, nearest))
            _merge(between, size, keep=nearest, drop=here)
            gone[here] = True
        else:
            chain.append(nearest)
    return merges


def _merge(
    between: NDArray[np.float32], size: NDArray[np.float32], *, keep: int, drop: int
) -> None:
    """Lance-Williams for the average: the distance to both, by their sizes."""
    total = size[keep] + size[drop]
    row = (size[keep] * between[keep] + size[drop] * between[drop]) / total
    row[keep] = np.inf
    between[keep], between[:, keep] = row, row
    between[drop], between[:, drop] = np.inf, np.inf
    size[keep] = total


def _joined(count: int, merges: list[Merge]) -> list[int]:
    """The cluster of each window after these merges."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for _, one, other in merges:
        parent[root(one)] = root(other)
    return [root(index) for index in range(count)]


def _without_slips(points: Vectors, labels: list[int]) -> list[int]:
    """Windows of tiny clusters go to the nearest big one."""
    given = np.asarray(labels)
    names, counts = np.unique(given, return_counts=True)
    big = names[counts >= FEW]
    if not len(big):
        return labels
    means = np.stack([points[given == name].mean(axis=0) for name in big])
    for name in names[counts < FEW]:
        for index in np.flatnonzero(given == name):
            given[index] = big[int(np.argmin(np.square(means - points[index]).sum(axis=1)))]
    return [int(each) for each in given]


def _in_order(labels: list[int]) -> list[int]:
    seen: dict[int, int] = {}
    return [seen.setdefault(label, len(seen)) for label in labels]
