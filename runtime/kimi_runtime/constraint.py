"""Follows one answer and says what may come next: free text, a thought and its budget, calls under a grammar.
Knows no family and no engine; see candidate.Constraint.
"""

from collections.abc import Mapping

import llguidance
import msgspec
import numpy as np
from numpy.typing import NDArray

from kimi_runtime.dialects import Thought
from kimi_runtime.vocabulary import Vocabulary


class Grammars(msgspec.Struct, frozen=True, kw_only=True):
    """Compiled grammars: what must follow each text that opens a call (anywhere, or at the very first), and
    what a `whole` answer must be. `crossing`: by opener, tokens that would run past its end."""

    after: Mapping[str, llguidance.LLMatcher] = {}
    first: Mapping[str, llguidance.LLMatcher] = {}
    whole: llguidance.LLMatcher | None = None
    crossing: Mapping[str, Mapping[int, list[int]]] = {}


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """`thinking`: the prompt ended inside a thought. `budget`: tokens of thought. `once`: one call ends the
    answer."""

    thought: Thought
    thinking: bool = False
    budget: int | None = None
    calls_in_thought: bool = False
    once: bool = False


class AnswerConstraint:
    """Free text stays free; a grammar takes over when a call is opened, or from the first token (or the end
    of the thought) where a call is required. A grammar that fails lets everything through."""

    def __init__(self, vocabulary: Vocabulary, grammars: Grammars, mode: Mode) -> None:
        self._vocabulary = vocabulary
        self._grammars = grammars
        self._mode = mode
        self._openers = [(text.encode(), matcher) for text, matcher in grammars.after.items()]
        self._first = [(text.encode(), matcher) for text, matcher in grammars.first.items()]
        self._thought = (mode.thought.opener.encode(), mode.thought.closer.encode())
        self._thinking = mode.thinking
        self._spent = 0
        self._forcing: list[int] = []
        self._awaited = grammars.whole
        self._matcher: llguidance.LLMatcher | None = None
        self._ends = grammars.whole is not None or mode.once
        if grammars.whole is not None and not mode.thinking:
            self._begin(grammars.whole)
        marks = [opener for opener, _ in (*self._openers, *self._first)]
        self._reach = max(map(len, (*marks, *self._thought)))
        self._tail = b""
        self._start = b""  # the first of the answer's text
        self._mask = np.zeros((vocabulary.size + 31) // 32, dtype=np.int32)
        self._end_spent_thought()

    @property
    def active(self) -> bool:
        """Whether a grammar says what comes next."""
        return self._matcher is not None

    def accept(self, token: int) -> None:
        if self._forcing and token == self._forcing[0]:
            del self._forcing[0]
        else:
            self._forcing.clear()
        piece = self._vocabulary.piece(token)
        self._tail = (self._tail + piece)[-self._reach :]
        if len(self._start) <= self._reach:
            self._start = (self._start + piece).lstrip()
        if self._matcher is not None:
            if not self._matcher.consume_token(token) or self._matcher.is_stopped():
                self._finish()
        elif self._may_open():
            self._look_for_call()
        self._follow_thought()

    def forced(self) -> list[int]:
        if self._forcing:
            return list(self._forcing)
        return self._matcher.compute_ff_tokens() if self._matcher is not None else []

    def apply(self, row: NDArray[np.float32]) -> None:
        if self._forcing:
            _leave_only(row, self._forcing[0])
        elif self._matcher is not None:
            self._apply_grammar(row)
        elif self._awaited is not None:
            row[self._vocabulary.endings] = -np.inf  # the call is still to come
        elif self._may_open():
            self._keep_openers_whole(row)

    # ------------------------------------------------------------ calls

    def _may_open(self) -> bool:
        return not self._thinking or self._mode.calls_in_thought

    def _look_for_call(self) -> None:
        for opener, matcher in self._openers:
            if self._tail.endswith(opener):
                self._begin(matcher)
                return
        for opener, matcher in self._first:
            if self._start == opener.lstrip():
                self._begin(matcher)
                return

    def _begin(self, matcher: llguidance.LLMatcher) -> None:
        self._matcher = matcher.deep_copy()
        self._awaited = None
        if self._thinking and self._mode.calls_in_thought and matcher is not self._grammars.whole:
            self._thinking = False

    def _finish(self) -> None:
        """A call is complete."""
        self._matcher = None
        self._tail = b""
        if self._ends and self._vocabulary.eos >= 0:
            self._forcing = [self._vocabulary.eos]

    def _apply_grammar(self, row: NDArray[np.float32]) -> None:
        assert self._matcher is not None
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        allowed = np.unpackbits(self._mask.view(np.uint8), count=len(row), bitorder="little")
        if self._matcher.is_error() or not allowed.any():
            self._matcher = None
            return
        np.copyto(row, -np.inf, where=allowed == 0)

    def _keep_openers_whole(self, row: NDArray[np.float32]) -> None:
        """An opener ends where a token ends, so that the grammar sees all that follows."""
        for text, crossing in self._grammars.crossing.items():
            opener = text.encode()
            for size, tokens in crossing.items():
                if self._tail.endswith(opener[: len(opener) - size]):
                    row[tokens] = -np.inf

    # ------------------------------------------------------------ thoughts

    def _follow_thought(self) -> None:
        opener, closer = self._thought
        if self._thinking:
            self._spent += 1
            if self._tail.endswith(closer) or closer in self._tail[-len(closer) - 4 :]:
                self._thinking = False
                if self._awaited is not None and self._matcher is None:
                    self._begin(self._awaited)
                self._forget_closer(closer)
                return
        elif self._start == opener or (self._mode.thought.anywhere and self._tail.endswith(opener)):
            self._thinking = True
        self._end_spent_thought()

    def _forget_closer(self, closer: bytes) -> None:
        if not self._mode.thought.anywhere:
            self._tail = self._tail.rpartition(closer)[2]

    def _end_spent_thought(self) -> None:
        budget = self._mode.budget
        if not self._thinking or budget is None or self._spent < budget or self._forcing:
            return
        if self._spent < budget + 4 and not _is_whole(self._tail):
            return  # in the middle of a character
        self._forcing = self._vocabulary.encode(self._mode.thought.ending)


def _leave_only(row: NDArray[np.float32], token: int) -> None:
    kept = row[token] if np.isfinite(row[token]) else np.float32(0)
    row[:] = -np.inf
    row[token] = kept


def _is_whole(data: bytes) -> bool:
    """Whether the last character is complete."""
    for size in range(1, min(4, len(data)) + 1):
        lead = data[-size]
        if lead < 0x80:
            return True
        if lead >= 0xC0:
            return size == (2 if lead < 0xE0 else 3 if lead < 0xF0 else 4)
    return True
