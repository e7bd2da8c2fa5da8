"""Choosing tokens: exact, seeded, within the limits given."""

import numpy as np

from kimi_runtime.candidate import StopFinder, loops
from kimi_runtime.sampling import SamplingOptions, choose, largest


def rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width), dtype=np.float32)


def test_the_largest_are_exact_for_every_width() -> None:
    for width in (5, 100, 128 * 80, 128 * 100 + 77, 151_936):
        logits = rows(3, width)
        logits[0, -5:] = 9  # the part beyond the last whole chunk
        found = np.sort(np.take_along_axis(logits, largest(logits, 40), axis=1), axis=1)
        assert np.array_equal(found, np.sort(logits, axis=1)[:, -min(40, width) :])


def test_zero_temperature_is_greedy() -> None:
    logits = rows(4, 1000)
    options = [SamplingOptions(temperature=0)] * 4
    assert choose(logits, options, [np.random.default_rng(0)] * 4) == logits.argmax(axis=1).tolist()


def test_a_seed_repeats_and_candidates_differ() -> None:
    logits = np.repeat(rows(1, 2000), 16, axis=0)

    def draw(seed: int) -> list[int]:
        return choose(logits, [SamplingOptions()] * 16, [np.random.default_rng([seed, i]) for i in range(16)])

    assert draw(1) == draw(1)
    assert len(set(draw(1))) > 4


def test_top_k_top_p_and_min_p_bound_what_is_drawn() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.125, 0.0625, 0.0625]], dtype=np.float32)).repeat(500, axis=0)

    def drawn(option: SamplingOptions) -> set[int]:
        return set(choose(logits, [option] * 500, [np.random.default_rng([5, i]) for i in range(500)]))

    assert drawn(SamplingOptions(temperature=1, top_p=1)) == {0, 1, 2, 3, 4}
    assert drawn(SamplingOptions(temperature=1, top_k=2, top_p=1)) == {0, 1}
    assert drawn(SamplingOptions(temperature=1, top_p=0.7)) == {0, 1}
    assert drawn(SamplingOptions(temperature=1, top_p=1, min_p=0.2)) == {0, 1, 2}


def test_frequencies_follow_the_temperature() -> None:
    logits = np.log(np.array([[0.8, 0.2]], dtype=np.float32)).repeat(4000, axis=0)
    generator = [np.random.default_rng([3, i]) for i in range(4000)]
    cold = choose(logits, [SamplingOptions(temperature=1, top_p=1)] * 4000, generator)
    hot = choose(logits, [SamplingOptions(temperature=2, top_p=1)] * 4000, generator)
    assert abs(cold.count(0) / 4000 - 0.8) < 0.03
    assert abs(hot.count(0) / 4000 - 2 / 3) < 0.03


def test_forbidden_tokens_are_never_drawn() -> None:
    logits = np.full((50, 3000), -np.inf, dtype=np.float32)
    logits[:, 7] = -3.0
    assert choose(logits, [SamplingOptions()] * 50, [np.random.default_rng(i) for i in range(50)]) == [7] * 50


def test_stop_strings_across_pieces() -> None:
    finder = StopFinder(("\n\n", "END"))
    assert finder.feed("a\n") == ("a", False)
    assert finder.feed("b E") == ("\nb ", False)
    assert finder.feed("N") == ("", False)
    assert finder.feed("x") == ("ENx", False)
    assert finder.feed("y EN") == ("y ", False)
    assert finder.feed("D more") == ("", True)
    assert StopFinder(("abc",)).feed("ab") == ("", False)


def test_loops_are_recognised_and_code_is_not() -> None:
    cycle = list(range(40))
    assert loops([9, 9, 9, *cycle * 5])
    assert loops([1] * 200)
    assert not loops(cycle * 4)
    assert not loops(list(range(1000)))
    assert not loops([*cycle * 4, 99, *cycle])
