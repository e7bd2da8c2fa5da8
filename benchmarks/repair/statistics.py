"""Rates and differences of rates with their uncertainty. Pure.

Wilson's interval for one rate; Newcombe's square-and-add interval (his method 10) for the difference of two
paired rates (R. G. Newcombe, Statistics in Medicine 17, 1998); a percentile bootstrap for paired means.
"""

import math
import random
import statistics
from collections.abc import Sequence

Z = 1.959964


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a rate; (0, 1) when n is 0."""
    if n == 0:
        return 0.0, 1.0
    rate, square = hits / n, Z * Z
    middle = (rate + square / (2 * n)) / (1 + square / n)
    half = Z * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_difference(pairs: Sequence[tuple[bool, bool]]) -> tuple[float, float, float]:
    """Rate of the first minus rate of the second over the same cases, and its 95 % interval."""
    n = len(pairs)
    if n == 0:
        return 0.0, -1.0, 1.0
    both = sum(a and b for a, b in pairs)
    first = sum(a and not b for a, b in pairs)
    second = sum(b and not a for a, b in pairs)
    neither = n - both - first - second
    p1, p2 = (both + first) / n, (both + second) / n
    (l1, u1), (l2, u2) = wilson(both + first, n), wilson(both + second, n)
    phi = _correlation(both, first, second, neither)
    low = (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    high = (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2
    return p1 - p2, p1 - p2 - math.sqrt(max(low, 0)), p1 - p2 + math.sqrt(max(high, 0))


def _correlation(both: int, first: int, second: int, neither: int) -> float:
    product = (both + first) * (second + neither) * (both + second) * (first + neither)
    if product == 0:
        return 0.0
    top = both * neither - first * second
    if top > 0:
        top = max(top - (both + first + second + neither) / 2, 0)
    return top / math.sqrt(product)


def mean_difference(differences: Sequence[float], rounds: int = 10_000) -> tuple[float, float, float]:
    """The mean of paired differences and its 95 % percentile-bootstrap interval (a fixed seed)."""
    if not differences:
        return 0.0, -1.0, 1.0
    random_numbers = random.Random(0)
    n = len(differences)
    means = sorted(statistics.fmean(random_numbers.choices(differences, k=n)) for _ in range(rounds))
    return statistics.fmean(differences), means[int(0.025 * rounds)], means[int(0.975 * rounds) - 1]
