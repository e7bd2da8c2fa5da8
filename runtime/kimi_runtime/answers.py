"""The answers being written: begun from a finished prompt, planned into each step, chosen from its logits.

Called from the engine's thread only. Knows no queue and no thread.
"""

import time

import msgspec
import numpy as np

from kimi_runtime.batch import Piece, Plan
from kimi_runtime.candidate import Candidate
from kimi_runtime.cells import Sequence
from kimi_runtime.job import Ended, Event, Finished, Job, Text
from kimi_runtime.llama import Logits
from kimi_runtime.pool import Pool
from kimi_runtime.sampling import choose
from kimi_runtime.vocabulary import Vocabulary

_ROOM_FOR_ANSWER = 64


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`context`: tokens of one prompt with its answer; `width`: answers written at the same time.

    `chunk`: tokens of one prompt evaluated in a step; small enough for others to go on meanwhile.
    """

    context: int
    width: int = 32
    chunk: int = 256
    drafts: bool = True


class Answers:
    """`jobs` are those whose prompt is done."""

    def __init__(self, vocabulary: Vocabulary, pool: Pool, options: EngineOptions) -> None:
        self.jobs: list[Job] = []
        self._vocabulary = vocabulary
        self._pool = pool
        self._options = options

    def start(self) -> None:
        """Begin as many of the waiting answers as width, sequences and cells allow."""
        for job in list(self.jobs):
            self._start_candidates(job)

    def plan(self, plan: Plan) -> None:
        """Add the pending tokens of every answer."""
        for job in list(self.jobs):
            for candidate in list(job.running):
                self._plan_answer(plan, job, candidate)

    def write(self, plan: Plan, rows: Logits) -> None:
        """Choose what follows; `rows` (wanted, vocabulary) may be written to."""
        groups: dict[int, list[Piece]] = {}
        for piece in plan.pieces:
            if piece.candidate is not None and piece.row is not None:
                groups.setdefault(id(piece.job), []).append(piece)
        for pieces in groups.values():
            candidates = [piece.candidate for piece in pieces if piece.candidate is not None]
            places = [piece.row for piece in pieces if piece.row is not None]
            # Pieces of a job lie side by side, so this is a view and not a copy.
            self._choose(pieces[0].job, candidates, rows[places[0] : places[-1] + 1])

    def release(self, job: Job) -> None:
        """Forget a job; what was computed of its prompt stays as a cache."""
        if job in self.jobs:
            self.jobs.remove(job)
        for candidate in job.running:
            if candidate.sequence is not job.trunk:
                self._pool.drop(candidate.sequence)
        job.running.clear()
        job.waiting.clear()
        job.first_row = None
        if job.trunk is not None:
            self._pool.table.keep(job.trunk)
            job.trunk = None

    def _start_candidates(self, job: Job) -> None:
        started: list[Candidate] = []
        running = sum(len(other.running) for other in self.jobs)
        while job.waiting and running < self._options.width:
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
            limit=min(order.limit, self._options.context - len(order.prompt)),
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
        self.release(job)
        return Finished(
            prompt=len(job.order.prompt),
            cached=job.cached,
            completion=job.completion,
            prompt_ms=(job.prefilled_at - job.started_at) * 1e3,
            predicted_ms=(time.monotonic() - job.prefilled_at) * 1e3,
        )

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
