"""Comparing lists of token ids. Knows no model."""


def common_prefix(first: list[int], second: list[int]) -> int:
    """How many leading tokens two lists share."""
    limit = min(len(first), len(second))
    if first[:limit] == second[:limit]:
        return limit
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle
    return low
