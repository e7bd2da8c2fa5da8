"""The step-time curve: guesses give way to what is observed, and it never falls."""

import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kimi_runtime.curve import MEASURED, SIZES, StepCurve


@given(st.lists(st.tuples(st.integers(1, 600), st.floats(1e-4, 10)), max_size=30))
def test_more_tokens_never_take_less(steps: list[tuple[int, float]]) -> None:
    curve = StepCurve(1 << 30)
    for tokens, seconds in steps:
        curve.observe(tokens, seconds)
    for low, high in itertools.pairwise(range(1, 520)):
        assert curve.seconds(low) <= curve.seconds(high) * (1 + 1e-9)


def test_the_first_observation_corrects_every_guess() -> None:
    curve = StepCurve(1 << 30)
    before = curve.seconds(16)
    curve.observe(1, 2 * curve.seconds(1))
    assert curve.seconds(16) == 2 * before
    curve.observe(16, 0.5)
    curve.observe(1, 1e-6)
    assert curve.seconds(16) == 0.5


def test_it_says_what_fits_into_a_time() -> None:
    curve = StepCurve(1 << 30)
    for size in SIZES:
        curve.observe(size, size / 100)
    assert curve.most(1.0, 0, 512) == 64
    assert curve.most(1.0, 30, 512) == 64
    assert curve.most(0.001, 0, 512) == 0
    assert curve.most(100, 0, 256) == 256


def test_figures_survive_a_restart_and_rubbish_does_not(tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    curve = StepCurve(1 << 30)
    for size in MEASURED:
        curve.observe(size, float(size))
    curve.save(path)
    again = StepCurve(1)
    again.restore(path)
    assert again.is_measured
    assert again.seconds(8) == 8.0
    for rubbish in (b"", b"[[1],[true]]", b'{"a": 1}', b"\xff"):
        path.write_bytes(rubbish)
        fresh = StepCurve(1)
        fresh.restore(path)
        assert not fresh.is_measured
    curve.save(tmp_path / "no" / "such" / "folder")
