"""Intervals against published values."""

import pytest

from benchmarks.repair.statistics import mean_difference, paired_difference, wilson


def _pairs(both: int, first: int, second: int, neither: int) -> list[tuple[bool, bool]]:
    return (
        [(True, True)] * both
        + [(True, False)] * first
        + [(False, True)] * second
        + [(False, False)] * neither
    )


def test_wilson() -> None:
    assert wilson(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_newcombe_gives_the_published_intervals() -> None:
    # Newcombe 1998 (Statistics in Medicine 17, 2635-2650), method 10.
    assert paired_difference(_pairs(36, 12, 2, 0)) == pytest.approx((0.2, 0.0569, 0.3404), abs=1e-4)
    assert paired_difference(_pairs(36, 14, 0, 0)) == pytest.approx((0.28, 0.1528, 0.4167), abs=1e-4)


def test_the_difference_changes_its_sign_with_the_order() -> None:
    forth, back = paired_difference(_pairs(20, 9, 3, 8)), paired_difference(_pairs(20, 3, 9, 8))
    assert back == pytest.approx((-forth[0], -forth[2], -forth[1]))


def test_no_pairs_say_nothing() -> None:
    assert paired_difference([]) == (0.0, -1.0, 1.0)
    assert mean_difference([]) == (0.0, -1.0, 1.0)


def test_the_bootstrap_is_repeatable_and_holds_the_mean() -> None:
    differences = [1.0, 0.0, 0.5, 0.25, -0.5, 1.0, 0.0, 0.75]
    mean, low, high = mean_difference(differences)
    assert (mean, low, high) == mean_difference(differences)
    assert mean == 0.375
    assert -0.5 < low < mean < high < 1.0


def test_equal_differences_leave_no_doubt() -> None:
    assert mean_difference([0.5] * 20) == (0.5, 0.5, 0.5)
