"""Chooses tokens from logits with numpy, for a whole batch of candidates at once. Knows no model."""

import msgspec
import numpy as np
from numpy.typing import NDArray

_GROUP = 32


class SamplingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`temperature` 0 is greedy. `top_k` comes first: it bounds what the others have to sort."""

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.0


def largest(rows: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Indices (rows, count) of the `count` largest values of each row, in no order.

    Exact: the largest values lie in the groups with the largest maxima, and finding maxima is what a CPU
    does fastest. A group is every n-th value, so that the maxima of all groups are taken side by side. Nine
    times faster than partitioning a vocabulary of 150,000.
    """
    width = rows.shape[1]
    count = min(count, width)
    groups = width // _GROUP
    if groups < count * 2:
        return np.argpartition(rows, width - count, axis=1)[:, width - count :]
    whole = groups * _GROUP
    maxima = rows[:, :whole].reshape(rows.shape[0], _GROUP, groups).max(axis=1)
    best = np.argpartition(maxima, groups - count, axis=1)[:, groups - count :]
    inside: NDArray[np.intp] = (np.arange(_GROUP)[:, None] * groups + best[:, None, :]).reshape(len(rows), -1)
    rest: NDArray[np.intp] = np.arange(whole, width, dtype=np.intp)
    tail = np.tile(rest, (len(rows), 1))
    places = np.concatenate([inside, tail], axis=1)
    values = np.take_along_axis(rows, places, axis=1)
    chosen = np.argpartition(values, values.shape[1] - count, axis=1)[:, values.shape[1] - count :]
    return np.take_along_axis(places, chosen, axis=1)


def choose(
    rows: NDArray[np.float32], options: list[SamplingOptions], generators: list[np.random.Generator]
) -> list[int]:
    """One token for each row of logits (rows, vocabulary)."""
    tokens = [0] * len(options)
    greedy = [i for i, option in enumerate(options) if option.temperature <= 0]
    for i in greedy:
        tokens[i] = int(rows[i].argmax())
    drawn = [i for i, option in enumerate(options) if option.temperature > 0]
    if not drawn:
        return tokens
    count = max(options[i].top_k for i in drawn)
    # A basic slice keeps the view; picking rows out copies 600 KB each.
    subset = rows if len(drawn) == len(options) else rows[drawn]
    places = largest(subset, count)
    values = np.take_along_axis(subset, places, axis=1)
    for row, i in enumerate(drawn):
        tokens[i] = int(places[row, _draw(values[row], options[i], generators[i])])
    return tokens


def _draw(values: NDArray[np.float32], option: SamplingOptions, generator: np.random.Generator) -> int:
    """The index of one of `values` (logits), drawn by top-k, temperature, top-p and min-p."""
    order: NDArray[np.intp] = (-values).argsort()[: option.top_k]
    scaled: NDArray[np.float64] = values[order].astype(np.float64) / option.temperature
    weights: NDArray[np.float64] = np.exp(scaled - scaled[0])
    weights /= weights.sum()
    keep = int(weights.cumsum().searchsorted(option.top_p)) + 1
    if option.min_p > 0:
        keep = min(keep, int((weights >= weights[0] * option.min_p).sum()))
    return int(order[min(_place(weights[:keep], generator), keep - 1)])


def _place(weights: NDArray[np.float64], generator: np.random.Generator) -> int:
    """An index drawn by weight."""
    bounds = weights.cumsum()
    return int(bounds.searchsorted(generator.random() * float(bounds[-1]), side="right"))
