"""What one step evaluates: pieces of several sequences side by side. Knows no request."""

from collections.abc import Sequence as Tokens

import msgspec

from kimi_runtime.candidate import Candidate
from kimi_runtime.cells import Sequence
from kimi_runtime.job import Job


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """`tokens` go on at the end of `sequence`; the last `draft` of them are guesses. `candidate` None: part
    of the job's prompt. `row`: index into the logits of the step of what follows the last token that is no
    guess (those of the guesses come next), None when nothing is to be chosen after it."""

    job: Job
    sequence: Sequence
    tokens: Tokens[int]
    candidate: Candidate | None = None
    row: int | None = None
    draft: int = 0


class Plan:
    """The pieces of one step, at most `size` tokens in all."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pieces: list[Piece] = []
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.sequences: list[int] = []
        self.wanted: list[int] = []

    @property
    def room(self) -> int:
        return self.size - len(self.tokens)

    def add(
        self,
        job: Job,
        sequence: Sequence,
        tokens: Tokens[int],
        *,
        candidate: Candidate | None = None,
        wanted: bool,
        draft: int = 0,
    ) -> None:
        start = len(sequence)
        self.tokens += tokens
        self.positions += range(start, start + len(tokens))
        self.sequences += [sequence.number] * len(tokens)
        row = len(self.wanted) if wanted else None
        if wanted:
            self.wanted += range(len(self.tokens) - 1 - draft, len(self.tokens))
        self.pieces.append(
            Piece(job=job, sequence=sequence, tokens=tokens, candidate=candidate, row=row, draft=draft)
        )
