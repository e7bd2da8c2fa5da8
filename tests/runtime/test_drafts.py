"""Drafts: what is guessed, how much of it, and that no answer ever depends on it."""

import pytest

from kimi_runtime import drafts
from kimi_runtime.curve import SIZES, StepCurve
from kimi_runtime.job import Order
from kimi_runtime.sampling import SamplingOptions
from kimi_runtime.vocabulary import Vocabulary
from kimi_testing.constraints import Dice, Only
from kimi_testing.engines import Engines, Run


def flat() -> StepCurve:
    """A machine where a step takes as long for 512 tokens as for one."""
    curve = StepCurve(1 << 30)
    for size in SIZES:
        curve.observe(size, 1.0)
    return curve


def steep() -> StepCurve:
    """A machine where every token costs the same."""
    curve = StepCurve(1 << 30)
    for size in SIZES:
        curve.observe(size, float(size))
    return curve


def drafter(prompt: list[int]) -> drafts.Drafter:
    return drafts.Drafter(prompt, drafts.index(prompt), drafts.Acceptance())


def test_a_copy_goes_on_where_it_was_read() -> None:
    prompt = [*range(100, 160), 1, 2]
    one = drafter(prompt)
    one.follow([110, 111, 112])
    assert one.propose(flat(), 1, 1, 8) == [113, 114, 115, 116, 117, 118, 119, 120]
    one.note(8, 8)
    one.follow(range(113, 122))
    assert one.propose(flat(), 1, 1, 2) == [122, 123]


def test_after_a_change_the_copy_is_found_again_and_goes_forwards() -> None:
    line = [50, 51, 52, 53]
    prompt = [*line, 1, 2, 3, *line, 4, 5, 6, *line, 7, 8, 9, 0, 0]
    one = drafter(prompt)
    one.follow([1, 2, 3])
    assert one.propose(flat(), 1, 1, 4) == [50, 51, 52, 53]
    one.follow([99, 51, 52, 53])
    assert one.propose(flat(), 1, 1, 3) == [4, 5, 6]


def test_nothing_known_is_nothing_guessed() -> None:
    assert drafter([1, 2, 3, 4]).propose(flat(), 1, 1, 8) == []
    assert drafter([]).propose(flat(), 1, 1, 8) == []


def test_the_length_follows_the_costs_and_the_luck() -> None:
    assert drafts.best_length(0.9, flat(), 1, 1, 64) == 63
    assert drafts.best_length(0.9, steep(), 1, 1, 64) == 0
    assert drafts.best_length(0.0, flat(), 1, 1, 64) == 0
    curve = StepCurve(1 << 30)
    lengths = [drafts.best_length(rate, curve, 1, 1, 64) for rate in (0.2, 0.5, 0.8, 0.95, 1.0)]
    assert lengths == sorted(lengths)
    assert lengths[-1] > 8


def test_being_wrong_makes_careful_and_being_right_bold() -> None:
    acceptance = drafts.Acceptance()
    start = acceptance.rate("phrase")
    for _ in range(5):
        acceptance.note("phrase", 8, 0)
    low = acceptance.rate("phrase")
    for _ in range(20):
        acceptance.note("phrase", 8, 8)
    assert low < start < acceptance.rate("phrase")


class Cheap(StepCurve):
    """Drafts are always worth it."""

    def __init__(self) -> None:
        super().__init__(1 << 20)

    def seconds(self, tokens: int) -> float:
        return 1.0 + tokens / 1e4

    def observe(self, tokens: int, seconds: float) -> None:
        pass


def answered(make: Engines, order: Order, *, guess: bool) -> tuple[Run, int]:
    engine = make(drafts=guess)
    engine.answers._curve = Cheap()  # pyright: ignore[reportPrivateUsage]
    run = Run(engine, order).wait()
    return run, engine.answers.counts.accepted


@pytest.mark.parametrize("heat", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 5])
def test_an_answer_is_the_same_with_and_without(
    make: Engines, vocabulary: Vocabulary, heat: float, count: int
) -> None:
    """The chances are given, so that equal draws give equal answers: guesses that fail change nothing."""
    cycle = vocabulary.encode("abcdefghijklmnopqrstuv")
    order = Order(
        prompt=cycle * 4,
        count=count,
        limit=150,
        seed=5,
        sampling=SamplingOptions(temperature=heat),
        constraint=lambda: Dice(cycle, 4.0),
    )
    plain, none = answered(make, order, guess=False)
    guessed, accepted = answered(make, order, guess=True)
    assert none == 0
    assert accepted > 20
    assert guessed.texts() == plain.texts()
    assert guessed.reasons() == plain.reasons()


def test_the_model_thinks_the_same_with_and_without(make: Engines, vocabulary: Vocabulary) -> None:
    """The text repeats itself with changes, so that some guesses are right and others are taken back."""
    line = "a line of a file that comes again and again "
    said = vocabulary.encode(
        "".join(line.replace("file", name) for name in ["file", "tree", "file", "leaf", "file"])
    )
    witnesses = [Only(said), Only(said)]
    counts: list[int] = []
    for witness, guess in zip(witnesses, (False, True), strict=True):
        order = Order(
            prompt=vocabulary.encode(line * 2),
            limit=len(said),
            constraint=lambda witness=witness: witness,
        )
        counts.append(answered(make, order, guess=guess)[1])
    assert 0 == counts[0] < counts[1] < len(said)
    assert witnesses[0].agrees(witnesses[1])


def test_a_copy_under_a_constraint_takes_few_steps(make: Engines, vocabulary: Vocabulary) -> None:
    text = "".join(f"line {i} of a file = {i * 7919 % 1000}\n" for i in range(20))
    tokens = vocabulary.encode(text)
    order = Order(prompt=tokens, limit=len(tokens), constraint=lambda: Only(tokens))
    run, accepted = answered(make, order, guess=True)
    assert run.texts() == [text]
    assert accepted > 0.8 * len(tokens)


def test_stops_and_limits_hold_within_a_draft(make: Engines, vocabulary: Vocabulary) -> None:
    text = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma "
    tokens = vocabulary.encode(text)
    for limit in range(5, 40, 7):
        order = Order(prompt=tokens * 2, limit=limit, constraint=lambda: Only(tokens))
        run, _ = answered(make, order, guess=True)
        assert run.texts() == [vocabulary.decode(tokens[:limit])]
        assert run.done.completion == limit
    order = Order(prompt=tokens * 2, limit=90, stops=("theta",), constraint=lambda: Only(tokens))
    run, _ = answered(make, order, guess=True)
    assert run.texts() == [text[: text.index("theta")]]
