"""The engine on a tiny real model: what batching, sharing and caching must never change is what is
answered."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kimi_runtime.faults import ContextFull
from kimi_runtime.job import Finished, Order, Progress, Text
from kimi_runtime.sampling import SamplingOptions
from kimi_runtime.vocabulary import Vocabulary
from kimi_testing.engines import Engines, Run

GREEDY = SamplingOptions(temperature=0)


def prompt(vocabulary: Vocabulary, text: str, repeat: int = 1) -> list[int]:
    return vocabulary.encode(text * repeat)


def test_an_answer_ends_at_its_limit(make: Engines, vocabulary: Vocabulary) -> None:
    run = Run(make(), Order(prompt=prompt(vocabulary, "hello"), limit=12, sampling=GREEDY)).wait()
    assert run.reasons() == ["length"]
    assert run.done.completion == 12
    assert run.done.prompt == 5
    assert isinstance(run.events[0], Progress)
    assert run.texts()[0]


def test_many_orders_at_once_answer_as_they_would_alone(make: Engines, vocabulary: Vocabulary) -> None:
    prompts = [prompt(vocabulary, f"question {i} " * (1 + 7 * i)) for i in range(6)]
    alone = [Run(make(), Order(prompt=p, limit=24, sampling=GREEDY)).wait().texts() for p in prompts]
    engine = make()
    together = [Run(engine, Order(prompt=p, limit=24, sampling=GREEDY)) for p in prompts]
    assert [run.wait().texts() for run in together] == alone


def test_candidates_share_the_prompt_and_differ(make: Engines, vocabulary: Vocabulary) -> None:
    engine = make()
    order = Order(
        prompt=prompt(vocabulary, "abc " * 50),
        count=16,
        limit=20,
        seed=7,
        sampling=SamplingOptions(temperature=1.5),
    )
    run = Run(engine, order).wait()
    assert run.done.completion == 16 * 20
    assert len(set(run.texts())) > 8
    prefilled = [event.processed for event in run.events if isinstance(event, Progress)]
    assert prefilled == [0, 64, 128, 192, len(order.prompt)]
    assert Run(make(), order).wait().texts() == run.texts()


def test_more_candidates_than_width_take_turns(make: Engines, vocabulary: Vocabulary) -> None:
    run = Run(make(width=3), Order(prompt=prompt(vocabulary, "abc"), count=10, limit=6, seed=1)).wait()
    assert len(run.texts()) == 10
    assert run.done.completion == 60


def test_a_conversation_that_goes_on_reuses_what_was_computed(make: Engines, vocabulary: Vocabulary) -> None:
    first = prompt(vocabulary, "the conversation so far. " * 10)
    engine = make()
    answered = Run(engine, Order(prompt=first, limit=10, sampling=GREEDY)).wait()
    longer = [*first, *vocabulary.encode(answered.texts()[0]), *vocabulary.encode("and then?")]
    again = Run(engine, Order(prompt=longer, limit=10, sampling=GREEDY)).wait()
    assert again.done.cached >= len(first)
    fresh = Run(make(), Order(prompt=longer, limit=10, sampling=GREEDY)).wait()
    assert fresh.done.cached == 0
    assert fresh.texts() == again.texts()


def test_orders_with_one_beginning_compute_it_once(make: Engines, vocabulary: Vocabulary) -> None:
    engine = make()
    base = prompt(vocabulary, "instructions for everyone. ", 12)
    runs = [
        Run(engine, Order(prompt=base + vocabulary.encode(f"task {i}"), limit=4, sampling=GREEDY))
        for i in range(4)
    ]
    cached = sorted(run.wait().done.cached for run in runs)
    assert cached[0] == 0
    assert min(cached[1:]) > len(base) - 64  # a difference not worth waiting for


def test_the_base_survives_a_restart(make: Engines, vocabulary: Vocabulary, tmp_path: Path) -> None:
    base = prompt(vocabulary, "system and tools ", 12)
    order = Order(prompt=base + vocabulary.encode("first question"), base=len(base), limit=8, sampling=GREEDY)
    engine = make(folder=tmp_path)
    expected = Run(engine, order).wait()
    engine.stop()
    again = Run(make(folder=tmp_path), order).wait()
    assert again.done.cached >= len(base)
    assert again.texts() == expected.texts()
    other = Order(prompt=base + vocabulary.encode("another"), base=len(base), limit=8, sampling=GREEDY)
    third = Run(make(folder=tmp_path), other).wait()
    assert third.done.cached >= len(base)
    assert third.texts() == Run(make(), other).wait().texts()


def test_a_damaged_state_is_computed_again(make: Engines, vocabulary: Vocabulary, tmp_path: Path) -> None:
    base = prompt(vocabulary, "system and tools ", 12)
    order = Order(prompt=[*base, 65], base=len(base), limit=8, sampling=GREEDY)
    engine = make(folder=tmp_path)
    expected = Run(engine, order).wait().texts()
    engine.stop()
    for path in tmp_path.rglob("*.kv"):
        path.write_bytes(path.read_bytes()[:-9])
    run = Run(make(folder=tmp_path), order).wait()
    assert run.done.cached == 0
    assert run.texts() == expected


def test_stop_strings_end_an_answer_before_them(make: Engines, vocabulary: Vocabulary) -> None:
    order = Order(prompt=prompt(vocabulary, "hello"), limit=40, sampling=GREEDY)
    text = Run(make(), order).wait().texts()[0]
    stop = text[5:7]
    run = Run(make(), Order(prompt=order.prompt, limit=40, sampling=GREEDY, stops=(stop,))).wait()
    assert run.reasons() == ["stop"]
    assert run.texts()[0] == text[: text.index(stop)]


class OnlyCycle:
    """Lets an answer say nothing but a b c, over and over."""

    def __init__(self, cycle: list[int]) -> None:
        self.cycle = cycle
        self.at = 0

    def accept(self, token: int) -> None:
        assert token == self.cycle[self.at % len(self.cycle)]
        self.at += 1

    def forced(self) -> list[int]:
        return []

    def apply(self, row: NDArray[np.float32]) -> None:
        allowed = row[self.cycle[self.at % len(self.cycle)]]
        row[:] = -np.inf
        row[self.cycle[self.at % len(self.cycle)]] = allowed


def test_an_endless_cycle_is_ended(make: Engines, vocabulary: Vocabulary) -> None:
    cycle = vocabulary.encode("abcdefg")
    order = Order(prompt=prompt(vocabulary, "a"), limit=900, constraint=lambda: OnlyCycle(cycle))
    run = Run(make(), order).wait()
    assert run.reasons() == ["loop"]
    assert 200 <= run.done.completion < 300


def test_too_long_a_prompt_is_refused_with_the_limit(make: Engines, vocabulary: Vocabulary) -> None:
    with pytest.raises(ContextFull) as caught:
        make().submit(Order(prompt=[65] * 1024), lambda _: None)
    assert caught.value.limit == 1024
    assert caught.value.needed == 1025


def test_answers_end_with_the_context(make: Engines, vocabulary: Vocabulary) -> None:
    order = Order(prompt=prompt(vocabulary, "abc"), seed=3, sampling=SamplingOptions(temperature=3.0))
    run = Run(make(context=64), order).wait()
    assert run.done.completion <= 61


def test_a_full_cache_evicts_and_then_ends_answers(make: Engines, vocabulary: Vocabulary) -> None:
    engine = make(cells=512)
    for i in range(6):
        Run(engine, Order(prompt=prompt(vocabulary, f"{i} question ", 16), limit=8, sampling=GREEDY)).wait()
    hot = SamplingOptions(temperature=3.0)
    run = Run(
        engine, Order(prompt=prompt(vocabulary, "abc ", 25), count=8, limit=200, seed=1, sampling=hot)
    ).wait()
    assert len(run.texts()) == 8
    assert set(run.reasons()) <= {"length", "stop"}
    after = Run(engine, Order(prompt=prompt(vocabulary, "abc"), limit=5, sampling=GREEDY)).wait()
    assert after.done.completion == 5


def test_a_cancelled_job_frees_the_engine(make: Engines, vocabulary: Vocabulary) -> None:
    engine = make()
    hot = SamplingOptions(temperature=3.0)
    run = Run(engine, Order(prompt=prompt(vocabulary, "abc"), count=8, limit=900, seed=1, sampling=hot))
    run.wait(until=lambda event: isinstance(event, Text))
    run.job.cancel()
    other = Run(engine, Order(prompt=prompt(vocabulary, "xyz"), limit=5, sampling=GREEDY)).wait()
    assert other.done.completion == 5
    while not run.queue.empty():
        assert not any(isinstance(event, Finished) for event in run.queue.get())
