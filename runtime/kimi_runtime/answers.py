"""The answers being written: begun from a finished prompt, planned into each step, chosen from its logits.

Called from the engine's thread only. Knows no queue and no thread, and not whose turn it is.
"""

import time

import msgspec
import numpy as np

from kimi_runtime import drafts
from kimi_runtime.batch import Piece, Plan
from kimi_runtime.candidate import Candidate
from kimi_runtime.cells import Sequence
from kimi_runtime.curve import StepCurve
from kimi_runtime.job import Ended, Event, Finished, Job, Text
from kimi_runtime.llama import Logits
from kimi_runtime.pool import Pool
from kimi_runtime.sampling import choose
from kimi_runtime.tokens import common_prefix
from kimi_runtime.vocabulary import Vocabulary


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`context`: tokens of one prompt with its answer; `width`: answers written at the same time.

    `chunk`: tokens of one prompt evaluated in a step at most. `drafts`: guess ahead. `queue`: orders that
    may wait; more are refused. `turn`: tokens after which an answer makes way for another that waits.
    `patience_s`: how long a step may take for prompts while answers are being written.
    """

    context: int
    width: int = 32
    chunk: int = 256
    drafts: bool = True
    queue: int = 4096
    turn: int = 256
    patience_s: float = 0.3


class AnswerCounts(msgspec.Struct, kw_only=True):
    """Tokens since the start: written, forced by a grammar, guessed, guessed rightly."""

    written: int = 0
    forced: int = 0
    drafted: int = 0
    accepted: int = 0


class Answers:
    """`jobs` are those whose prompt is done."""

    def __init__(self, vocabulary: Vocabulary, pool: Pool, options: EngineOptions, curve: StepCurve) -> None:
        self.jobs: list[Job] = []
        self.counts = AnswerCounts()
        self._vocabulary = vocabulary
        self._pool = pool
        self._options = options
        self._curve = curve
        self._acceptance = drafts.Acceptance()

    @property
    def running(self) -> list[tuple[Job, Candidate]]:
        """Every answer being written with its job, in the order of their ranks."""
        found = [(job, candidate) for job in self.jobs for candidate in job.running]
        return sorted(found, key=lambda one: one[1].rank)

    def start(self, job: Job, count: int) -> bool:
        """Begin up to `count` of the waiting answers of a job, and choose the first token of each; False
        when there was no sequence for any."""
        started: list[Candidate] = []
        while job.waiting and len(started) < count:
            sequence = self._candidate_sequence(job)
            if sequence is None:
                break
            started.append(self._new_candidate(job, sequence))
        if not started or job.first_row is None:
            return False
        job.running += started
        rows = np.repeat(job.first_row[None, :], len(started), axis=0)
        if not job.waiting:
            job.first_row = None
            if job.trunk is not None:
                self._pool.keep(job.trunk)
                job.trunk = None
        self._tell(job, self._choose(job, started, rows))
        return True

    def plan(self, plan: Plan, job: Job, candidate: Candidate, limit: int, writers: int) -> bool:
        """Add what is pending of one answer, at most `limit` tokens, and a draft where it is worth it;
        False when there is no room in the cache."""
        tokens = candidate.pending[: min(plan.room, limit)]
        if not tokens:
            return True
        if not self._pool.make_room(len(plan.tokens) + len(tokens)):
            return False
        del candidate.pending[: len(tokens)]
        draft = [] if candidate.pending else self._draft(plan, candidate, len(tokens), writers)
        plan.add(
            job,
            candidate.sequence,
            [*tokens, *draft],
            candidate=candidate,
            wanted=not candidate.pending,
            draft=len(draft),
        )
        return True

    def write(self, plan: Plan, rows: Logits) -> None:
        """Choose what follows; `rows` (wanted, vocabulary) may be written to."""
        groups: dict[int, list[Piece]] = {}
        for piece in plan.pieces:
            if piece.candidate is not None and piece.row is not None and not piece.job.cancelled:
                groups.setdefault(id(piece.job), []).append(piece)
        for pieces in groups.values():
            job = pieces[0].job
            events = [event for piece in pieces if piece.draft for event in self._check(piece, rows)]
            plain = [piece for piece in pieces if not piece.draft]
            if plain:
                places = [piece.row for piece in plain if piece.row is not None]
                # Pieces side by side give a view and not a copy.
                together = places[-1] - places[0] + 1 == len(places)
                chosen = rows[places[0] : places[-1] + 1] if together else rows[places]
                events += self._choose(job, [p.candidate for p in plain if p.candidate is not None], chosen)
            self._tell(job, events)

    def end_full(self, job: Job, candidate: Candidate) -> None:
        """End an answer because the cache holds no more."""
        candidate.end = "length"
        self._tell(job, [self._end(job, candidate)])

    def release(self, job: Job) -> None:
        """Forget a job; what was computed of its prompt stays as a cache."""
        if job in self.jobs:
            self.jobs.remove(job)
        for candidate in job.running:
            self._put_away(job, candidate)
        for candidate in job.parked:
            if candidate.parked is not None:
                self._pool.forget(candidate.parked)
        job.running.clear()
        job.parked.clear()
        job.waiting.clear()
        job.first_row = None
        if job.trunk is not None:
            self._pool.keep(job.trunk)
            job.trunk = None

    # ------------------------------------------------------------ inside

    def _candidate_sequence(self, job: Job) -> Sequence | None:
        assert job.trunk is not None
        if job.order.count == 1:
            trunk, job.trunk = job.trunk, None
            return trunk
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
            rank=job.rank,
            drafter=self._drafter(job),
        )

    def _drafter(self, job: Job) -> drafts.Drafter | None:
        if not self._options.drafts or not self._pool.can_rewind:
            return None
        if job.places is None:
            job.places = drafts.index(job.order.prompt)
        return drafts.Drafter(job.order.prompt, job.places, self._acceptance)

    def _draft(self, plan: Plan, candidate: Candidate, pending: int, writers: int) -> list[int]:
        if candidate.drafter is None:
            return []
        base = len(plan.tokens) + pending
        limit = min(plan.room - pending, candidate.limit - len(candidate.tokens) - 1)
        draft = candidate.drafter.propose(self._curve, base, writers, max(0, limit))
        if not draft or self._pool.table.free < base + len(draft):
            return []
        return draft

    def _choose(self, job: Job, candidates: list[Candidate], rows: Logits) -> list[Event]:
        """Choose the next token of some answers of one job; `rows` (candidates, vocabulary) may be written
        to."""
        for candidate, row in zip(candidates, rows, strict=True):
            if candidate.constraint is not None:
                candidate.constraint.apply(row)
        tokens = choose(rows, [job.order.sampling] * len(candidates), [c.generator for c in candidates])
        events: list[Event] = []
        for candidate, token in zip(candidates, tokens, strict=True):
            events += self._add(job, candidate, token)
            if candidate.end is not None:
                events.append(self._end(job, candidate))
        return events

    def _add(self, job: Job, candidate: Candidate, token: int) -> list[Event]:
        before = len(candidate.tokens)
        text = candidate.add(token, self._vocabulary.piece, self._vocabulary.ends)
        added = len(candidate.tokens) - before
        self.counts.written += added
        self.counts.forced += max(0, added - 1)
        return [Text(index=candidate.index, text=text)] if text else []

    def _check(self, piece: Piece, rows: Logits) -> list[Event]:
        """Take of a draft what the model would have chosen itself.

        A guess is a distribution of one token, so choosing as ever and comparing is rejection sampling
        (Leviathan et al., 2023): what is accepted has the distribution of the model.
        """
        candidate, job = piece.candidate, piece.job
        assert candidate is not None
        assert piece.row is not None
        guesses = list(piece.tokens[len(piece.tokens) - piece.draft :])
        events: list[Event] = []
        right = 0
        while not candidate.pending and candidate.end is None:
            row = rows[piece.row + right]
            if candidate.constraint is not None:
                candidate.constraint.apply(row)
            token = choose(row[None, :], [job.order.sampling], [candidate.generator])[0]
            events += self._add(job, candidate, token)
            known = common_prefix(candidate.pending, guesses[right:])
            del candidate.pending[:known]
            right += known
        self._pool.cut(candidate.sequence, len(candidate.sequence) - piece.draft + right)
        self.counts.drafted += piece.draft
        self.counts.accepted += right
        if candidate.drafter is not None:
            candidate.drafter.note(piece.draft, right)
        if candidate.end is not None:
            events.append(self._end(job, candidate))
        return events

    def _end(self, job: Job, candidate: Candidate) -> Ended:
        assert candidate.end is not None
        job.running.remove(candidate)
        job.completion += len(candidate.tokens)
        self._put_away(job, candidate)
        return Ended(index=candidate.index, reason=candidate.end, tokens=len(candidate.tokens))

    def _put_away(self, job: Job, candidate: Candidate) -> None:
        """Keep the only answer to a prompt: the conversation probably goes on from it."""
        if job.order.count == 1:
            self._pool.keep(candidate.sequence)
        else:
            self._pool.drop(candidate.sequence)

    def _tell(self, job: Job, events: list[Event]) -> None:
        if job.is_over:
            self.release(job)
            events = [*events, self._finished(job)]
        job.tell(*events)

    def _finished(self, job: Job) -> Finished:
        return Finished(
            prompt=len(job.order.prompt),
            cached=job.cached,
            completion=job.completion,
            prompt_ms=(job.prefilled_at - job.started_at) * 1e3,
            predicted_ms=(time.monotonic() - job.prefilled_at) * 1e3,
        )
