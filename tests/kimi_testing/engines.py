"""Engines over a small real model, and orders that are waited for: for tests of what an engine does."""

import queue
from collections.abc import Callable
from pathlib import Path

from kimi_runtime.answers import EngineOptions
from kimi_runtime.candidate import EndReason
from kimi_runtime.engine import Engine
from kimi_runtime.job import Ended, Event, Failed, Finished, Job, Order, Text
from kimi_runtime.kvcache import KvCache
from kimi_runtime.llama import Context, ContextOptions, Model
from kimi_runtime.pool import Pool
from kimi_runtime.vocabulary import Vocabulary


class Run:
    """One order's events until the last."""

    def __init__(self, engine: Engine, order: Order) -> None:
        self.queue: queue.SimpleQueue[list[Event]] = queue.SimpleQueue()
        self.events: list[Event] = []
        self.job: Job = engine.submit(order, self.queue.put)

    def wait(self, until: Callable[[Event], bool] | None = None) -> "Run":
        while True:
            for event in self.queue.get(timeout=60):
                self.events.append(event)
                if isinstance(event, Failed):
                    raise event.fault
                if isinstance(event, Finished) or (until is not None and until(event)):
                    return self

    @property
    def done(self) -> Finished:
        return next(event for event in self.events if isinstance(event, Finished))

    def texts(self) -> list[str]:
        texts: dict[int, str] = {event.index: "" for event in self.events if isinstance(event, Ended)}
        for event in self.events:
            if isinstance(event, Text):
                texts[event.index] += event.text
        return [texts[index] for index in sorted(texts)]

    def reasons(self) -> list[EndReason]:
        return [event.reason for event in self.events if isinstance(event, Ended)]


class Engines:
    """Makes engines for one model and puts them away together. Called with what differs from a small
    engine: `cells` and `context` in tokens."""

    def __init__(self, model: Model, vocabulary: Vocabulary) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._made: list[tuple[Engine, Context]] = []

    def __call__(
        self,
        *,
        cells: int = 2048,
        sequences: int = 64,
        folder: Path | None = None,
        lot: Path | None = None,
        lot_bytes: int = 256 << 20,
        **options: int | bool | float,
    ) -> Engine:
        inner = Context(self._model, ContextOptions(cells=cells, batch=128, sequences=sequences, threads=1))
        disk = KvCache(folder, "k" * 64) if folder is not None else None
        pool = Pool(inner, disk, can_rewind=self._model.can_rewind, lot=lot, lot_bytes=lot_bytes)
        values = {"context": 1024, "width": 32, "chunk": 64, **options}
        engine = Engine(inner, self._vocabulary, pool, EngineOptions(**values))  # pyright: ignore[reportArgumentType]
        engine.start()
        self._made.append((engine, inner))
        return engine

    def close(self) -> None:
        for engine, inner in self._made:
            engine.stop()
            inner.close()
