"""Runs orders on one context: one owner thread, one batch per step for all of them. Knows no protocol.

A step takes the pending tokens of every answer being written with the guesses that go with them, fills the
batch up with pieces of prompts as far as the time allows, evaluates it once and chooses the next tokens.
Orders join and leave between steps. Whose turn it is, is decided in schedule.py.
"""

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kimi_runtime.answers import Answers, EngineOptions
from kimi_runtime.batch import Piece, Plan
from kimi_runtime.curve import MEASURED, StepCurve
from kimi_runtime.faults import Busy, ContextFull, EngineFault, RuntimeFault
from kimi_runtime.job import Event, Failed, Job, Order
from kimi_runtime.llama import Context, Logits
from kimi_runtime.pool import Pool
from kimi_runtime.schedule import Schedule
from kimi_runtime.vocabulary import Vocabulary

_IDLE_S = 1.0
_SAVED_WHEN_IDLE = 2
_READING_S = 1.2
_LEAST_CHUNK = 32


class Engine:
    """`submit` may be called from any thread; everything else happens in the engine's own.

    `curve_file`: where the step times are kept from one start to the next.
    """

    def __init__(
        self,
        context: Context,
        vocabulary: Vocabulary,
        pool: Pool,
        options: EngineOptions,
        *,
        curve: StepCurve | None = None,
        curve_file: Path | None = None,
    ) -> None:
        self.options = options
        self.steps = 0
        self.seconds_outside = 0.0
        """Of all steps, what was spent besides evaluating the model."""
        self.curve = curve or StepCurve(1 << 20)
        self._curve_file = curve_file
        if curve_file is not None:
            self.curve.restore(curve_file)
        self._context = context
        self._pool = pool
        self._orders: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.answers = Answers(vocabulary, pool, options, self.curve)
        self.schedule = Schedule(pool, self.answers, options)
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
        return bool(self.schedule.jobs)

    @property
    def pool(self) -> Pool:
        """For reading its figures only."""
        return self._pool

    def submit(self, order: Order, sink: Callable[[list[Event]], None]) -> Job:
        """Raises ContextFull when the prompt leaves no room for an answer, Busy when too many wait."""
        needed = len(order.prompt) + 1
        if needed > self.options.context:
            raise ContextFull(needed, self.options.context)
        if len(self.schedule.waiting) + self._orders.qsize() >= self.options.queue:
            raise Busy("Too many requests are waiting.", hint="Try again in a moment.")
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
            useful = block and (self._unsaved or not self.curve.is_measured)
            try:
                job = self._orders.get(block=block, timeout=_IDLE_S if useful else None)
            except queue.Empty:
                if block:
                    self._use_idle_time()
                    continue
                return
            if job is None:
                return
            self.schedule.add(job)
            block = False

    def _use_idle_time(self) -> None:
        """Keep what was computed last on disk; learn how long steps take."""
        if self._unsaved:
            self._pool.save_newest(_SAVED_WHEN_IDLE)
            self._unsaved = False
        for size in MEASURED:
            if not self._orders.empty() or self.curve.is_measured:
                return
            if size <= self._context.options.batch:
                self.curve.observe(size, min(self._pool.probe(size), self._pool.probe(size)))
        if self._curve_file is not None:
            self.curve.save(self._curve_file)

    def _step(self) -> None:
        begun = time.perf_counter()
        for job in self.schedule.jobs:
            if job.cancelled:
                self.schedule.remove(job)
        self.schedule.grant()
        plan = self._plan()
        if not plan.pieces:
            return
        self._unsaved = True
        model_begun = time.perf_counter()
        try:
            rows = self._context.decode(plan.tokens, plan.positions, plan.sequences, plan.wanted)
        except RuntimeFault as fault:
            self._fail_pieces(plan.pieces, fault)
            return
        model_s = time.perf_counter() - model_begun
        if len(plan.wanted) == len(plan.tokens) or len(plan.tokens) > MEASURED[-1]:
            self.curve.observe(len(plan.tokens), model_s)
        for piece in plan.pieces:
            self._pool.table.extend(piece.sequence, piece.tokens)
        self.answers.write(plan, rows)
        self._advance_prompts(plan, rows)
        self.steps += 1
        self.seconds_outside += time.perf_counter() - begun - model_s

    # ------------------------------------------------------------ steps

    def _plan(self) -> Plan:
        plan = Plan(self._context.options.batch)
        self._plan_answers(plan)
        self._plan_prompts(plan)
        return plan

    def _plan_answers(self, plan: Plan) -> None:
        """What is pending of every answer; the last make way where the cache is full."""
        writers = self.schedule.writers
        planned: set[int] = set()
        for job, candidate in self.answers.running:
            while candidate.parked is None:
                if self.answers.plan(plan, job, candidate, self.options.chunk, writers):
                    planned.add(id(candidate))
                    break
                if self.schedule.park_last(candidate, planned):
                    continue
                if plan.pieces:
                    self.schedule.park(job, candidate)
                else:  # alone, and still no room
                    self.answers.end_full(job, candidate)
                    break

    def _plan_prompts(self, plan: Plan) -> None:
        """Pieces of prompts, as many tokens as the time of a step allows, shared by those of the best
        priority."""
        readers = sorted(self.schedule.reading, key=lambda job: job.rank)
        if not readers:
            return
        patience = self.options.patience_s if plan.tokens else _READING_S
        base = len(plan.tokens)
        budget = max(_LEAST_CHUNK, self.curve.most(patience, base, self.options.chunk))
        equals = sum(job.order.priority == readers[0].order.priority for job in readers)
        share = max(_LEAST_CHUNK, budget // equals)
        for job in readers:
            if job not in self.schedule.reading:
                continue
            budget -= self._plan_prompt(plan, job, min(budget, share))
            if budget <= 0:
                return

    def _plan_prompt(self, plan: Plan, job: Job, limit: int) -> int:
        """The tokens added."""
        assert job.trunk is not None
        done = len(job.trunk)
        end = min(len(job.order.prompt), done + min(plan.room, limit))
        if done < job.order.base < end:
            end = job.order.base  # so that a state of exactly the base can be kept
        if end <= done:
            return 0
        while not self._pool.make_room(len(plan.tokens) + end - done):
            if plan.pieces or self.schedule.writers:
                return 0
            if not self.schedule.retreat_last(job):
                self._fail(job, ContextFull(len(job.order.prompt), self._pool.table.capacity))
                return 0
        plan.add(job, job.trunk, job.order.prompt[done:end], wanted=end == len(job.order.prompt))
        return end - done

    def _advance_prompts(self, plan: Plan, rows: Logits) -> None:
        for piece in plan.pieces:
            job = piece.job
            if piece.candidate is not None or job.cancelled:
                continue
            self._pool.index(piece.sequence)
            if len(piece.sequence) == job.order.base:
                self._pool.save(piece.sequence)
                self._pool.pin(piece.sequence)
            self.schedule.tell_progress(job)
            if piece.row is not None:
                self._pool.checkpoint(piece.sequence)
                job.first_row = rows[piece.row].copy()
                job.prefilled_at = time.monotonic()
                self.schedule.prompt_read(job)

    # ------------------------------------------------------------ endings

    def _fail(self, job: Job, fault: RuntimeFault) -> None:
        self.schedule.remove(job)
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
                self.schedule.add(job)
        for job in self.schedule.jobs:
            job.tell(Failed(fault=fault))
            self.schedule.remove(job)
