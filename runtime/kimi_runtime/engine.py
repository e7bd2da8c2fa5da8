"""Runs orders on one context: one owner thread, one batch per step for all of them. Knows no protocol.

A step takes the pending tokens of every answer being written, fills the batch up with pieces of prompts,
evaluates it once and chooses the next tokens. Orders join and leave between steps. The answers of one order
share its prompt.
"""

import queue
import threading
import time
from collections.abc import Callable

from kimi_runtime.answers import Answers, EngineOptions
from kimi_runtime.batch import Piece, Plan
from kimi_runtime.faults import ContextFull, EngineFault, RuntimeFault
from kimi_runtime.job import Event, Failed, Job, Order, Progress
from kimi_runtime.llama import Context, Logits
from kimi_runtime.pool import Pool
from kimi_runtime.tokens import common_prefix
from kimi_runtime.vocabulary import Vocabulary

_IDLE_S = 3.0
_SAVED_WHEN_IDLE = 2
_SHARING_WORTH = 64


class Engine:
    """`submit` may be called from any thread; everything else happens in the engine's own."""

    def __init__(self, context: Context, vocabulary: Vocabulary, pool: Pool, options: EngineOptions) -> None:
        self.options = options
        self._context = context
        self._pool = pool
        self._orders: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: list[Job] = []
        self._prefilling: list[Job] = []
        self._answers = Answers(vocabulary, pool, options)
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
        return bool(self._waiting or self._prefilling or self._answers.jobs)

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
        for job in [*self._waiting, *self._prefilling, *self._answers.jobs]:
            if job.cancelled:
                self._release(job)
        for job in list(self._waiting):
            self._admit(job)
        self._answers.start()
        plan = self._plan()
        if not plan.pieces:
            if self._prefilling and not self._answers.jobs:  # prompts that leave each other no room
                self._fail(
                    self._prefilling[-1],
                    ContextFull(self._pool.table.capacity + 1, self._pool.table.capacity),
                )
            return
        self._unsaved = True
        try:
            rows = self._context.decode(plan.tokens, plan.positions, plan.sequences, plan.wanted)
        except RuntimeFault as fault:
            self._fail_pieces(plan.pieces, fault)
            return
        for piece in plan.pieces:
            self._pool.table.extend(piece.sequence, piece.tokens)
        self._answers.write(plan, rows)
        self._advance_prompts(plan, rows)

    # ------------------------------------------------------------ prompts

    def _admit(self, job: Job) -> None:
        """Find what is already computed of the prompt and begin with the rest, unless waiting saves work."""
        prompt = job.order.prompt
        live = [j.trunk for j in [*self._prefilling, *self._answers.jobs] if j.trunk is not None]
        known = max((common_prefix(s.tokens, prompt) for s in live), default=0)
        for other in self._prefilling:
            if common_prefix(other.order.prompt, prompt) > known + _SHARING_WORTH:
                return
        promised = sum(len(other.order.prompt) - len(other.trunk or ()) for other in self._prefilling)
        if not self._pool.make_room(len(prompt) - known + promised) and self._busy_elsewhere(job):
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
        return any(other is not job for other in [*self._prefilling, *self._answers.jobs])

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
                self._answers.jobs.append(job)

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

    # ------------------------------------------------------------ steps

    def _plan(self) -> Plan:
        plan = Plan(self._context.options.batch)
        self._answers.plan(plan)
        for job in list(self._prefilling):
            self._plan_prompt(plan, job)
        return plan

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

    # ------------------------------------------------------------ endings

    def _release(self, job: Job) -> None:
        for jobs in (self._waiting, self._prefilling):
            if job in jobs:
                jobs.remove(job)
        self._answers.release(job)

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
        for job in [*self._waiting, *self._prefilling, *self._answers.jobs]:
            job.tell(Failed(fault=fault))
        self._waiting, self._prefilling, self._answers.jobs = [], [], []
