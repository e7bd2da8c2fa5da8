"""Whose turn it is: turns, priorities and parking change when something is said, never what."""

from pathlib import Path

import numpy as np
import pytest

from kimi_runtime.engine import Engine
from kimi_runtime.faults import Busy
from kimi_runtime.job import Ended, Event, Finished, Order, Text
from kimi_runtime.sampling import SamplingOptions
from kimi_runtime.vocabulary import Vocabulary
from kimi_testing.constraints import Only
from kimi_testing.engines import Engines, Run

GREEDY = SamplingOptions(temperature=0)


class Task:
    """An order whose answer is given, and what the model thought at each of its tokens."""

    def __init__(
        self, vocabulary: Vocabulary, number: int, *, limit: int, priority: int = 0, count: int = 1
    ) -> None:
        base = vocabulary.encode("what all of them begin with. " * 3)
        said = np.random.default_rng(number).integers(33, 120, size=limit).tolist()
        self.witnesses: list[Only] = []
        self.text = vocabulary.decode(said)
        self.order = Order(
            prompt=[*base, *vocabulary.encode(f"{number} and its own question, " * 4)],
            base=len(base),
            count=count,
            limit=limit,
            priority=priority,
            sampling=GREEDY,
            constraint=lambda: self._witness(said),
        )

    def _witness(self, said: list[int]) -> Only:
        self.witnesses.append(Only(said))
        return self.witnesses[-1]

    def agrees(self, other: "Task") -> bool:
        return all(
            one.agrees(two) for one in self.witnesses for two in other.witnesses if one.tokens == two.tokens
        )


def tasks(vocabulary: Vocabulary, count: int, *, limit: int, priority: int = 0) -> list[Task]:
    """Different questions after one beginning."""
    return [Task(vocabulary, i, limit=limit, priority=priority) for i in range(count)]


def check(make: Engines, vocabulary: Vocabulary, done: list[Task], runs: list[Run]) -> None:
    """Every answer is complete, and the model thought what it thinks when it answers that alone."""
    for number, (task, run) in enumerate(zip(done, runs, strict=True)):
        assert run.texts() == [task.text]
        again = Task(vocabulary, number, limit=task.order.limit)
        Run(make(), again.order).wait()
        assert task.agrees(again)


class Diary:
    """What happened over several orders, in order."""

    def __init__(self, engine: Engine) -> None:
        self.lines: list[tuple[str, str]] = []
        self._engine = engine

    def submit(self, name: str, order: Order) -> Run:
        run = Run.__new__(Run)
        Run.__init__(run, self._engine, order)
        put = run.job.sink

        def sink(events: list[Event]) -> None:
            self.lines += [(name, type(event).__name__) for event in events]
            put(events)

        run.job.sink = sink
        return run

    def first(self, name: str, kind: type[Event]) -> int:
        return self.lines.index((name, kind.__name__))


def test_a_person_does_not_wait_for_agents_in_the_background(make: Engines, vocabulary: Vocabulary) -> None:
    engine = make(width=2)
    diary = Diary(engine)
    behind = tasks(vocabulary, 4, limit=400, priority=10)
    agents = [diary.submit(f"agent {i}", task.order) for i, task in enumerate(behind)]
    agents[0].wait(until=lambda event: isinstance(event, Text))
    person = diary.submit("person", Task(vocabulary, 9, limit=8).order)
    person.wait()
    for agent in agents:
        agent.wait()
    ends = [diary.first(f"agent {i}", Finished) for i in range(4)]
    assert diary.first("person", Finished) < min(ends)
    assert engine.pool.counts.parked >= 1
    check(make, vocabulary, behind, agents)


def test_equals_take_turns(make: Engines, vocabulary: Vocabulary) -> None:
    """Two at a time and sixteen tokens a turn: everybody has begun before anybody has ended."""
    wanted = tasks(vocabulary, 6, limit=120)
    diary = Diary(make(width=2, turn=16))
    runs = [diary.submit(str(i), task.order) for i, task in enumerate(wanted)]
    for run in runs:
        run.wait()
    check(make, vocabulary, wanted, runs)
    begun = [diary.first(str(i), Text) for i in range(6)]
    ended = [diary.first(str(i), Ended) for i in range(6)]
    assert max(begun) < min(ended)


def test_an_order_with_many_answers_leaves_slots_to_others(make: Engines, vocabulary: Vocabulary) -> None:
    diary = Diary(make(width=4))
    many = diary.submit("many", Task(vocabulary, 1, limit=200, count=12).order)
    many.wait(until=lambda event: isinstance(event, Text))
    one = diary.submit("one", Task(vocabulary, 2, limit=20).order)
    one.wait()
    many.wait()
    assert diary.first("one", Finished) < diary.first("many", Ended)
    assert len(many.texts()) == 12


@pytest.mark.parametrize("lot", ["memory", "disk", "none"])
def test_a_full_cache_parks_and_nothing_is_lost(
    make: Engines, vocabulary: Vocabulary, tmp_path: Path, lot: str
) -> None:
    """Eight answers that need several times the cells there are; state comes back from memory, from disk,
    or is computed again."""
    wanted = tasks(vocabulary, 8, limit=150)
    engine = make(
        cells=512,
        context=512,
        lot=tmp_path / "lot" if lot == "disk" else None,
        lot_bytes=256 << 20 if lot == "memory" else 0,
    )
    runs = [Run(engine, task.order) for task in wanted]
    for run in runs:
        run.wait()
    check(make, vocabulary, wanted, runs)
    counts = engine.pool.counts
    assert counts.offloaded > 0
    assert (counts.restored > 0) == (lot != "none")
    assert counts.recomputed > 0 or lot != "none"
    assert engine.pool.lot_bytes == (0, 0)


def test_three_hundred_agents_share_sixteen_sequences(make: Engines, vocabulary: Vocabulary) -> None:
    wanted = tasks(vocabulary, 300, limit=12)
    engine = make(sequences=17, width=8, turn=4, cells=1024)
    runs = [Run(engine, task.order) for task in wanted]
    for run in runs:
        run.wait()
    assert [run.texts() for run in runs] == [[task.text] for task in wanted]
    check(make, vocabulary, wanted[:8], runs[:8])
    assert engine.pool.table.used <= 1024
    assert min(run.done.cached for run in runs[1:]) >= 64


def test_a_parked_answer_can_be_cancelled(make: Engines, vocabulary: Vocabulary) -> None:
    wanted = tasks(vocabulary, 4, limit=300)
    engine = make(width=1, turn=4)
    runs = [Run(engine, task.order) for task in wanted]
    for run in runs:
        run.wait(until=lambda event: isinstance(event, Text))
    for run in runs[:3]:
        run.job.cancel()
    assert runs[3].wait().texts() == [wanted[3].text]
    assert engine.pool.lot_bytes == (0, 0)


def test_too_many_waiting_orders_are_refused(make: Engines, vocabulary: Vocabulary) -> None:
    engine = make(width=1, queue=3)
    runs = [Run(engine, Task(vocabulary, 0, limit=600).order)]
    runs[0].wait(until=lambda event: isinstance(event, Text))
    with pytest.raises(Busy):
        runs += [Run(engine, Task(vocabulary, i, limit=600).order) for i in range(8)]
    for run in runs:
        run.job.cancel()
