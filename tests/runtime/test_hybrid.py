"""Models whose memory cannot be cut: beginnings are kept as checkpoints, nothing is guessed ahead, and
answers are what they would be without either."""

from collections.abc import Generator
from pathlib import Path

import pytest

from kimi_runtime.job import Order
from kimi_runtime.llama import LoadOptions, Model
from kimi_runtime.sampling import SamplingOptions
from kimi_runtime.vocabulary import Vocabulary
from kimi_testing.constraints import Only
from kimi_testing.engines import Engines, Run
from kimi_testing.hybrid_model import write_hybrid_model


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Generator[Model]:
    model = Model(write_hybrid_model(tmp_path_factory.mktemp("hybrid") / "hybrid.gguf"), LoadOptions())
    yield model
    model.close()


@pytest.fixture
def make_hybrid(hybrid: Model) -> Generator[Engines]:
    engines = Engines(hybrid, Vocabulary(hybrid))
    yield engines
    engines.close()


BASE = "instructions for everyone, told once. " * 3


class Talk:
    """Questions after one beginning, with given answers whose logits are remembered."""

    def __init__(self, model: Model) -> None:
        self.vocabulary = Vocabulary(model)
        self.witnesses: list[Only] = []

    def order(self, text: str, *, limit: int = 60) -> Order:
        base = self.vocabulary.encode(BASE)
        witness = Only(
            self.vocabulary.encode("an answer that repeats an answer that repeats an answer")[:limit]
        )
        self.witnesses.append(witness)
        return Order(
            prompt=[*base, *self.vocabulary.encode(text)],
            base=len(base),
            limit=len(witness.tokens),
            sampling=SamplingOptions(temperature=0),
            constraint=lambda: witness,
        )


def test_its_memory_cannot_be_cut(hybrid: Model) -> None:
    assert not hybrid.can_rewind


def test_a_checkpoint_of_the_base_serves_other_questions(make_hybrid: Engines, hybrid: Model) -> None:
    talk = Talk(hybrid)
    engine = make_hybrid()
    Run(engine, talk.order("first question")).wait()
    second = Run(engine, talk.order("second question")).wait()
    assert second.done.cached == len(talk.vocabulary.encode(BASE))
    alone = Run(make_hybrid(), talk.order("second question")).wait()
    assert alone.done.cached == 0
    assert talk.witnesses[1].agrees(talk.witnesses[2])
    assert engine.answers.counts.drafted == 0


def test_a_prompt_that_goes_on_uses_the_checkpoint_at_its_end(make_hybrid: Engines, hybrid: Model) -> None:
    talk = Talk(hybrid)
    engine = make_hybrid()
    first = talk.order("a question that is long enough to matter")
    Run(engine, first).wait()
    longer = Run(engine, talk.order("a question that is long enough to matter, put otherwise")).wait()
    assert longer.done.cached == len(first.prompt)
    Run(make_hybrid(), talk.order("a question that is long enough to matter, put otherwise")).wait()
    assert talk.witnesses[1].agrees(talk.witnesses[2])


def test_the_base_survives_a_restart(make_hybrid: Engines, hybrid: Model, tmp_path: Path) -> None:
    talk = Talk(hybrid)
    engine = make_hybrid(folder=tmp_path)
    Run(engine, talk.order("first question")).wait()
    engine.stop()
    again = Run(make_hybrid(folder=tmp_path), talk.order("another")).wait()
    assert again.done.cached == len(talk.vocabulary.encode(BASE))
    Run(make_hybrid(), talk.order("another")).wait()
    assert talk.witnesses[1].agrees(talk.witnesses[2])


def test_parked_answers_go_on(make_hybrid: Engines, hybrid: Model) -> None:
    talk = Talk(hybrid)
    engine = make_hybrid(sequences=6, width=3, turn=8, cells=512, context=512)
    runs = [Run(engine, talk.order(f"question {i} " * 4)) for i in range(6)]
    for run in runs:
        run.wait()
    assert engine.pool.counts.offloaded > 0
    for i in range(6):
        Run(make_hybrid(), talk.order(f"question {i} " * 4)).wait()
    assert all(talk.witnesses[i].agrees(talk.witnesses[i + 6]) for i in range(6))
