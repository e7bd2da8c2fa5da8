"""Runs orders on one context: one owner thread, one batch per step for all of them. Knows no protocol.

A step takes the pending tokens of every answer being written, fills the batch up with pieces of prompts,
evaluates it once and chooses the next tokens. Orders join and leave between steps. The answers of one order
share its prompt.
"""

import queue
import threading
import time
from collections.abc import Callable

import msgspec
import numpy as np

from kimi_runtime.batch import Piece, Plan
from kimi_runtime.candidate import Candidate
from kimi_runtime.cells import Sequence
from kimi_runtime.faults import ContextFull, EngineFault, RuntimeFault
from kimi_runtime.job import Ended, Event, Failed, Finished, Job, Order, Progress, Text
from kimi_runtime.llama import Context, Logits
from kimi_runtime.pool import Pool
from kimi_runtime.sampling import choose
from kimi_runtime.template import common_prefix
from kimi_runtime.vocabulary import Vocabulary

_IDLE_S = 3.0
_SAVED_WHEN_IDLE = 2
_SHARING_WORTH = 64
_ROOM_FOR_ANSWER = 64


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`context`: tokens of one prompt with its answer; `width`: answers written at the same time."""

    context: int
    width: int = 32
    chunk: int = 256


class Engine:
    """`submit` may be called from any thread; everything else happens in the engine's own."""

    def __init__(self, context: Context, vocabulary: Vocabulary, pool: Pool, options: EngineOptions) -> None:
        self.options = options
        self._context = context
        self._vocabulary = vocabulary
        self._pool = pool
        self._orders: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: list[Job] = []
        self._prefilling: list[Job] = []
        self._decoding: list[Job] = []
        self._stopping = False
        self._unsaved = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the current step; what was computed last is kept on disk."""
        self._stopping = True
        self._orders.put(None)
        self._thread.join()

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._prefilling or self._decoding)

    def submit(self, order: Order, sink: Callable[[list[Event]], None]) -> Job:
        """Raises ContextFull when the prompt leaves no room for an answer."""
        needed = len(order.prompt) + 1
        if needed > self.options.context:
            raise ContextFull(needed, self.options.context)
        job = Job(order, sink)
        self._orders.put(job)
        return job

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._take_orders()
                self._step()
            self._pool.save_newest(_SAVED_WHEN_IDLE)
        except Exception as error:  # the worker's boundary: whoever waits must be told
            self._fail_all(EngineFault(f"The engine failed: {type(error).__name__}: {error}."))
            raise
        finally:
            self._fail_all(EngineFault("The worker is ending."))
            self._pool.close()

    def _take_orders(self) -> None:
        block = not self.busy
        while True:
            try:
                job = self._orders.get(block=block, timeout=_IDLE_S if block and self._unsaved else None)
            except queue.Empty:
                if block:
                    self._pool.save_newest(_SAVED_WHEN_IDLE)
                    self._unsaved = False
                    continue
                return
            if job is None:
                return
            self._waiting.append(job)
            block = False

    def _step(self) -> None:
        for job in [*self._waiting, *self._prefilling, *self._decoding]:
            if job.cancelled:
                self._release(job)
        for job in list(self._waiting):
            self._admit(job)
        for job in list(self._decoding):
            self._start_candidates(job)
        plan = self._plan()
        if not plan.pieces:
            return
        self._unsaved = True
        try:
            rows = self._context.decode(plan.tokens, plan.positions, plan.sequences, plan.wanted)
        except RuntimeFault as fault:
            self._fail_pieces(plan.pieces, fault)
            return
        for piece in plan.pieces:
            self._pool.table.extend(piece.sequence, piece.tokens)
        self._write(plan, rows)
        self._advance_prompts(plan, rows)

    # ------------------------------------------------------------ prompts

    def _admit(self, job: Job) -> None:
        """Find what is already computed of the prompt and begin with the rest, unless waiting saves work."""
        prompt = job.order.prompt
        live = [j.trunk for j in [*self._prefilling, *self._decoding] if j.trunk is not None]
        known = max((common_prefix(s.tokens, prompt) for s in live), default=0)
        for other in self._prefilling:
            if common_prefix(other.order.prompt, prompt) > known + _SHARING_WORTH:
                return
        if not self._pool.make_room(min(len(prompt), self._context.options.batch)) and self._busy_elsewhere(
            job
        ):
            return
        job.started_at = time.monotonic()
        trunk = self._pool.begin(prompt, live)
        if trunk is None:
            return
        job.trunk = trunk
        job.cached = len(trunk)
        self._waiting.remove(job)
        self._prefilling.append(job)
        self._tell_progress(job)

    def _busy_elsewhere(self, job: Job) -> bool:
        return any(other is not job for other in [*self._prefilling, *self._decoding])

    def _advance_prompts(self, plan: Plan, rows: Logits) -> None:
        for piece in plan.pieces:
            job = piece.job
            if piece.candidate is not None or job.cancelled:
                continue
            if len(piece.sequence) == job.order.base:
                self._pool.save(piece.sequence)
            self._tell_progress(job)
            if piece.row is not None:
                job.first_row = rows[piece.row].copy()
                job.prefilled_at = time.monotonic()
                self._prefilling.remove(job)
                self._decoding.append(job)

    def _tell_progress(self, job: Job) -> None:
        assert job.trunk is not None
        job.tell(
            Progress(
                total=len(job.order.prompt),
                cached=job.cached,
                processed=len(job.trunk),
                time_ms=(time.monotonic() - job.started_at) * 1e3,
            )
        )

    # ------------------------------------------------------------ answers

    def _start_candidates(self, job: Job) -> None:
        """Begin as many of the waiting answers as width, sequences and cells allow."""
        started: list[Candidate] = []
        running = sum(len(other.running) for other in self._decoding)
        while job.waiting and running < self.options.width:
            reserve = min(job.order.limit, _ROOM_FOR_ANSWER) * (len(started) + 1)
            if running and not self._pool.make_room(reserve):
                break
            sequence = self._candidate_sequence(job)
            if sequence is None:
                break
            started.append(self._new_candidate(job, sequence))
            running += 1
        if not started or job.first_row is None:
            return
        job.running += started
        rows = np.repeat(job.first_row[None, :], len(started), axis=0)
        if not job.waiting:
            job.first_row = None
        self._choose(job, started, rows)

    def _candidate_sequence(self, job: Job) -> Sequence | None:
        assert job.trunk is not None
        if job.order.count == 1:
            return job.trunk
        return self._pool.fork(job.trunk, len(job.trunk))

    def _new_candidate(self, job: Job, sequence: Sequence) -> Candidate:
        order = job.order
        index = job.waiting.pop(0)
        seed = None if order.seed is None else [order.seed & 0xFFFFFFFF, index]
        return Candidate(
            index,
            sequence=sequence,
            limit=min(order.limit, self.options.context - len(order.prompt)),
            stops=order.stops,
            generator=np.random.default_rng(seed),
            constraint=order.constraint() if order.constraint is not None else None,
        )

    def _choose(self, job: Job, candidates: list[Candidate], rows: Logits) -> None:
        """Choose the next token of some answers of one job; `rows` (candidates, vocabulary) may be written
        to."""
        for candidate, row in zip(candidates, rows, strict=True):
            if candidate.constraint is not None:
                candidate.constraint.apply(row)
        tokens = choose(rows, [job.order.sampling] * len(candidates), [c.generator for c in candidates])
        events: list[Event] = []
        for candidate, token in zip(candidates, tokens, strict=True):
            text = candidate.add(token, self._vocabulary.piece, self._vocabulary.ends)
            if text:
                events.append(Text(index=candidate.index, text=text))
            if candidate.end is not None:
                events.append(self._end(job, candidate))
        if not job.running and not job.waiting:
            events.append(self._finish(job))
        job.tell(*events)

    def _end(self, job: Job, candidate: Candidate) -> Ended:
        assert candidate.end is not None
        job.running.remove(candidate)
        job.completion += len(candidate.tokens)
        if candidate.sequence is not job.trunk:
            self._pool.drop(candidate.sequence)
        return Ended(index=candidate.index, reason=candidate.end, tokens=len(candidate.tokens))

    def _finish(self, job: Job) -> Finished:
        self._release(job)
        return Finished(
            prompt=len(job.order.prompt),
            cached=job.cached,
            completion=job.completion,
            prompt_ms=(job.prefilled_at - job.started_at) * 1e3,
            predicted_ms=(time.monotonic() - job.prefilled_at) * 1e3,
        )

    # ------------------------------------------------------------ steps

    def _plan(self) -> Plan:
        plan = Plan(self._context.options.batch)
        for job in list(self._decoding):
            for candidate in list(job.running):
                self._plan_answer(plan, job, candidate)
        for job in list(self._prefilling):
            self._plan_prompt(plan, job)
        return plan

    def _plan_answer(self, plan: Plan, job: Job, candidate: Candidate) -> None:
        tokens = candidate.pending[: plan.room]
        if not tokens:
            return
        if not self._pool.make_room(len(plan.tokens) + len(tokens)):
            candidate.end = "length"
            events: list[Event] = [self._end(job, candidate)]
            if not job.running and not job.waiting:
                events.append(self._finish(job))
            job.tell(*events)
            return
        del candidate.pending[: len(tokens)]
        plan.add(job, candidate.sequence, tokens, candidate=candidate, wanted=not candidate.pending)

    def _plan_prompt(self, plan: Plan, job: Job) -> None:
        assert job.trunk is not None
        done = len(job.trunk)
        end = min(len(job.order.prompt), done + min(plan.room, self.options.chunk))
        if done < job.order.base < end:
            end = job.order.base  # so that a state of exactly the base can be saved
        if end <= done:
            return
        if not self._pool.make_room(len(plan.tokens) + end - done):
            if not self._busy_elsewhere(job):
                self._fail(job, ContextFull(len(job.order.prompt), self._pool.table.capacity))
            return
        plan.add(job, job.trunk, job.order.prompt[done:end], wanted=end == len(job.order.prompt))

    def _write(self, plan: Plan, rows: Logits) -> None:
        groups: dict[int, list[Piece]] = {}
        for piece in plan.pieces:
            if piece.candidate is not None and piece.row is not None:
                groups.setdefault(id(piece.job), []).append(piece)
        for pieces in groups.values():
            candidates = [piece.candidate for piece in pieces if piece.candidate is not None]
            places = [piece.row for piece in pieces if piece.row is not None]
            # Pieces of a job lie side by side, so this is a view and not a copy.
            self._choose(pieces[0].job, candidates, rows[places[0] : places[-1] + 1])

    # ------------------------------------------------------------ endings

    def _release(self, job: Job) -> None:
        """Take a job out of every list; what it computed of its prompt stays as a cache."""
        for jobs in (self._waiting, self._prefilling, self._decoding):
            if job in jobs:
                jobs.remove(job)
        for candidate in job.running:
            if candidate.sequence is not job.trunk:
                self._pool.drop(candidate.sequence)
        job.running.clear()
        job.waiting.clear()
        job.first_row = None
        if job.trunk is not None:
            self._pool.table.keep(job.trunk)
            job.trunk = None

    def _fail(self, job: Job, fault: RuntimeFault) -> None:
        self._release(job)
        job.tell(Failed(fault=fault))

    def _fail_pieces(self, pieces: list[Piece], fault: RuntimeFault) -> None:
        for piece in pieces:
            self._pool.repair(piece.sequence)
        for job in {id(piece.job): piece.job for piece in pieces}.values():
            self._fail(job, fault)

    def _fail_all(self, fault: RuntimeFault) -> None:
        while not self._orders.empty():
            job = self._orders.get()
            if job is not None:
                self._waiting.append(job)
        for job in [*self._waiting, *self._prefilling, *self._decoding]:
            job.tell(Failed(fault=fault))
        self._waiting, self._prefilling, self._decoding = [], [], []
