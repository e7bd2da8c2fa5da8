"""The radix tree finds what looking at every value would find."""

from hypothesis import given
from hypothesis import strategies as st

from kimi_runtime.radix import RadixTree
from kimi_runtime.tokens import common_prefix

TOKENS = st.lists(st.integers(0, 2), max_size=9)
STEPS = st.lists(st.tuples(st.integers(0, 7), st.one_of(st.none(), TOKENS)), max_size=30)


@given(STEPS, TOKENS)
def test_it_agrees_with_a_list(steps: list[tuple[int, list[int] | None]], wanted: list[int]) -> None:
    tree: RadixTree[int] = RadixTree()
    plain: dict[int, list[int]] = {}
    for value, tokens in steps:
        if tokens is None:
            tree.remove(value)
            plain.pop(value, None)
        else:
            tree.put(tokens, value)
            plain[value] = tokens
    assert set(tree) == set(plain)
    found, shared = tree.longest(wanted)
    best = max((common_prefix(tokens, wanted) for tokens in plain.values()), default=0)
    assert shared == best
    assert (found is None) == (best == 0)
    if found is not None:
        assert common_prefix(plain[found], wanted) == best
    whole = {(value, len(tokens)) for value, tokens in plain.items() if wanted[: len(tokens)] == tokens}
    assert set(tree.prefixes(wanted)) == whole


def test_prefixes_come_shortest_first() -> None:
    tree: RadixTree[str] = RadixTree()
    for text in ("abc", "a", "abcd", "ab", "x"):
        tree.put([ord(letter) for letter in text], text)
    assert [value for value, _ in tree.prefixes([ord(letter) for letter in "abcz"])] == ["a", "ab", "abc"]
