"""Whose turn it is: which prompts are read and which answers are written, and who makes way for whom.

A prompt being read and an answer being written take a slot each; there are as many as the engine is wide.
Lower priorities go first; of equals, whoever has waited longest, and no order holds several slots while
another has none. Nobody is turned away because the cache is full: the last in rank is put aside and goes on
later. Called from the engine's thread only.
"""

import time
from collections.abc import Iterator

import msgspec

from kimi_runtime.answers import Answers, EngineOptions
from kimi_runtime.candidate import Candidate
from kimi_runtime.job import Job, Progress
from kimi_runtime.pool import Pool
from kimi_runtime.tokens import common_prefix

_SHARING_WORTH = 64
_ROOM_FOR_ANSWER = 64


class _Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who waits for a slot. `candidate` None: a job, whose prompt is to be read or of which more
    answers are to be begun."""

    rank: tuple[int, int]
    job: Job
    candidate: Candidate | None = None


class Schedule:
    """`waiting`: jobs without a slot; `reading`: those whose prompts are being read; the others are among
    the answers."""

    def __init__(self, pool: Pool, answers: Answers, options: EngineOptions) -> None:
        self.waiting: list[Job] = []
        self.reading: list[Job] = []
        self._pool = pool
        self._answers = answers
        self._options = options
        self._tickets = 0

    @property
    def jobs(self) -> list[Job]:
        return list(dict.fromkeys([*self.waiting, *self.reading, *self._answers.jobs]))

    @property
    def writers(self) -> int:
        """Answers being written."""
        return sum(len(job.running) for job in self._answers.jobs)

    @property
    def parked(self) -> int:
        return sum(len(job.parked) for job in self._answers.jobs)

    def add(self, job: Job) -> None:
        job.ticket = self._ticket()
        self.waiting.append(job)

    def remove(self, job: Job) -> None:
        for jobs in (self.waiting, self.reading):
            if job in jobs:
                jobs.remove(job)
        self._answers.release(job)

    def grant(self) -> None:
        """Give the free slots, and those that somebody must make way from, to who comes first."""
        for claim in self._claims():
            if self._free > 0 or self._make_way(claim):
                self._grant(claim)
            elif not claim.job.running:
                break  # nobody behind has a better claim

    def prompt_read(self, job: Job) -> None:
        """The prompt of a job is done: its answers begin."""
        self.reading.remove(job)
        if job not in self._answers.jobs:
            self._answers.jobs.append(job)
        if not self._answers.start(job, max(1, self._free)):
            self._retreat(job)

    def park_last(self, keep: Candidate, planned: set[int]) -> bool:
        """Put aside the answer that comes last, or a prompt that is being read, so that there is more room
        in the cache; False when there is nobody but `keep` and the `planned` (ids)."""
        others = [
            (job, one) for job, one in self._answers.running if one is not keep and id(one) not in planned
        ]
        readers = [job for job in self.reading if id(job) not in planned]
        idle = [job for job in self._answers.jobs if job.trunk is not None and not job.running]
        last = max([*readers, *idle], key=lambda job: job.rank, default=None)
        if last is not None and (not others or last.rank >= others[-1][1].rank):
            self._retreat(last)
            return True
        if others:
            self.park(*others[-1])
            return True
        return False

    def retreat_last(self, keep: Job) -> bool:
        """Send the last prompt being read back to those that wait; False when there is only `keep`."""
        others = [job for job in self.reading if job is not keep]
        if others:
            self._retreat(max(others, key=lambda job: job.rank))
        return bool(others)

    # ------------------------------------------------------------ claims

    @property
    def _free(self) -> int:
        return self._options.width - len(self.reading) - self.writers

    def _claims(self) -> list[_Claim]:
        return sorted(self._all_claims(), key=lambda claim: claim.rank)

    def _all_claims(self) -> Iterator[_Claim]:
        for job in self.waiting:
            yield _Claim(rank=job.rank, job=job)
        for job in self._answers.jobs:
            for candidate in job.parked:
                yield _Claim(rank=candidate.rank, job=job, candidate=candidate)
            if job.waiting and job.trunk is not None and job not in self.reading:
                yield _Claim(rank=job.rank, job=job)

    def _grant(self, claim: _Claim) -> None:
        job = claim.job
        if claim.candidate is not None:
            self._resume(job, claim.candidate)
        elif job in self.waiting:
            self._admit(job)
        elif self._has_room(_ROOM_FOR_ANSWER):
            self._answers.start(job, self._free)

    def _make_way(self, claim: _Claim) -> bool:
        """Put aside one whose turn is over for one who claims a slot."""
        for job, candidate in reversed(self._answers.running):
            if job is claim.job and claim.candidate is None:
                continue
            if self._yields(job, candidate, claim):
                self.park(job, candidate)
                return True
        for job in self.reading:
            if job.order.priority > claim.rank[0]:
                self._retreat(job)
                return True
        return False

    def _yields(self, job: Job, candidate: Candidate, claim: _Claim) -> bool:
        if job.order.priority != claim.rank[0]:
            return job.order.priority > claim.rank[0]
        turn_over = len(candidate.tokens) - candidate.resumed_at >= self._options.turn
        return turn_over or len(job.running) > len(claim.job.running) + 1

    # ------------------------------------------------------------ moves

    def _admit(self, job: Job) -> None:
        """Find what is already computed of the prompt and begin with the rest, unless waiting saves work."""
        prompt = job.order.prompt
        known = self._pool.shared(prompt)
        for other in self.reading:
            if common_prefix(other.order.prompt, prompt) > known + _SHARING_WORTH:
                return
        promised = sum(len(other.order.prompt) - len(other.trunk or ()) for other in self.reading)
        if not self._has_room(len(prompt) - known + promised):
            return
        trunk = self._pool.begin(prompt)
        if trunk is None:
            return
        if not job.started_at:
            job.started_at = time.monotonic()
            job.cached = len(trunk)
        job.trunk = trunk
        self._pool.index(trunk)
        self.waiting.remove(job)
        self.reading.append(job)
        self.tell_progress(job)

    def tell_progress(self, job: Job) -> None:
        assert job.trunk is not None
        job.tell(
            Progress(
                total=len(job.order.prompt),
                cached=job.cached,
                processed=len(job.trunk),
                time_ms=(time.monotonic() - job.started_at) * 1e3,
            )
        )

    def _has_room(self, cells: int) -> bool:
        """Whether there is room, or nobody else from whom it could come by waiting."""
        return self._pool.make_room(cells) or not (self.reading or self.writers)

    def _resume(self, job: Job, candidate: Candidate) -> None:
        parked = candidate.parked
        assert parked is not None
        if not self._has_room(_ROOM_FOR_ANSWER):
            return
        if parked.sequence is None:
            missing = len(parked.history) - self._pool.shared(parked.history)
            if not self._has_room(missing + _ROOM_FOR_ANSWER):
                return
        sequence = self._pool.resume(parked)
        if sequence is None:
            return
        candidate.pending = [*job.order.prompt, *candidate.tokens][len(sequence) :]
        candidate.sequence = sequence
        candidate.parked = None
        candidate.resumed_at = len(candidate.tokens)
        job.parked.remove(candidate)
        job.running.append(candidate)

    def park(self, job: Job, candidate: Candidate) -> None:
        """Put an answer aside; of its priority, it is the last now."""
        candidate.rank = (job.order.priority, self._ticket())
        candidate.parked = self._pool.park(candidate.rank[1], candidate.sequence, candidate.rank)
        job.running.remove(candidate)
        job.parked.append(candidate)

    def _retreat(self, job: Job) -> None:
        """Send a job without answers being written back to those that wait; what was read stays cached."""
        if job in self.reading:
            self.reading.remove(job)
        if job in self._answers.jobs and not job.parked:
            self._answers.jobs.remove(job)
        if job.trunk is not None:
            self._pool.keep(job.trunk)
            job.trunk = None
        self.waiting.append(job)

    def _ticket(self) -> int:
        self._tickets += 1
        return self._tickets
