"""Guesses how an answer goes on: by where its last tokens stood before (prompt lookup). Knows no model.

After prompt lookup decoding (Saxena, 2023). An agent's answers repeat what it has just read: files under
edit, tool results, its own calls. The length of a draft is chosen by what a longer step costs and by how
often drafts of this kind were right lately.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterable

from kimi_runtime.curve import StepCurve

_GRAM = 3
_MOST_PLACES = 16
_LOOK_BACK = 24
_LENGTHS = (1, 2, 3, 4, 6, 8, 12, 15, 20, 28, 31, 44, 63)
_PRIOR_TRIES = 4.0
_DECAY = 0.85
_KINDS = (("copy", 16), ("phrase", 6), ("word", 0))
"""Kinds of drafts by how many tokens before them are the same."""
_PRIOR = {"word": 0.35, "phrase": 0.75, "copy": 0.93}

Gram = tuple[int, ...]
Places = dict[Gram, list[int]]


def index(tokens: list[int], start: int = 0) -> Places:
    """Where each run of three tokens ends in `tokens`, first places first; `start` is added."""
    places: Places = defaultdict(list)
    for at, gram in enumerate(zip(tokens, tokens[1:], tokens[2:], strict=False)):
        places[gram].append(start + at + _GRAM)
    return places


class Acceptance:
    """How likely the next token of a draft is right, by kind of draft; later tries count more."""

    def __init__(self) -> None:
        self._hits = dict.fromkeys(_PRIOR, 0.0)
        self._tries = dict.fromkeys(_PRIOR, 0.0)

    def rate(self, kind: str) -> float:
        tries = self._tries[kind]
        return (self._hits[kind] + _PRIOR[kind] * _PRIOR_TRIES) / (tries + _PRIOR_TRIES)

    def note(self, kind: str, length: int, accepted: int) -> None:
        tried = accepted + (accepted < length)
        self._hits[kind] = self._hits[kind] * _DECAY + accepted
        self._tries[kind] = self._tries[kind] * _DECAY + tried


def best_length(rate: float, curve: StepCurve, base: int, writers: int, limit: int) -> int:
    """Draft tokens that give most tokens a second, in a step that has `base` tokens for `writers` answers."""
    best, speed = 0, writers / curve.seconds(base)
    for length in _LENGTHS:
        if length > limit:
            break
        # Tokens gained: the sum over k of the chance that the first k are right.
        gained = length if rate >= 1 else rate * (1 - rate**length) / (1 - rate)
        if (faster := (writers + gained) / curve.seconds(base + length)) > speed:
            best, speed = length, faster
    return best


class Drafter:
    """Drafts for one answer. `places` index the prompt and may be shared."""

    def __init__(self, prompt: list[int], places: Places, acceptance: Acceptance) -> None:
        self._history = list(prompt)
        self._prompt = len(prompt)
        self._places = places
        self._own: Places = {}
        self._acceptance = acceptance
        self._next: int | None = None
        self._last = 0
        self._kind = "word"

    def follow(self, tokens: Iterable[int]) -> None:
        """Note what the answer went on with."""
        for token in tokens:
            if self._next is not None:
                right = self._next < len(self._history) and self._history[self._next] == token
                self._next = self._next + 1 if right else None
            self._history.append(token)
            if len(self._history) - self._prompt >= _GRAM:
                gram = tuple(self._history[-_GRAM:])
                self._own.setdefault(gram, []).append(len(self._history))

    def propose(self, curve: StepCurve, base: int, writers: int, limit: int) -> list[int]:
        """How the answer probably goes on, at most `limit` tokens; empty where a guess is not worth it."""
        at = self._find()
        if at is None:
            return []
        length = best_length(self._acceptance.rate(self._kind), curve, base, writers, limit)
        self._next, self._last = at, at
        return self._history[at : at + length]

    def note(self, length: int, accepted: int) -> None:
        """Say how much of the last proposal was right."""
        self._acceptance.note(self._kind, length, accepted)

    def _find(self) -> int | None:
        """The place in the history that most probably says what comes next."""
        if self._next is not None and self._next < len(self._history):
            best = self._next
        else:
            gram = tuple(self._history[-_GRAM:])
            places = [*self._near(self._places.get(gram, [])), *self._near(self._own.get(gram, [])[:-1])]
            if not places:
                return None
            # Of equal matches the first behind the place last copied from: files are copied forwards.
            best = max(places, key=lambda at: (self._match(at), at >= self._last, -abs(at - self._last)))
        match = self._match(best)
        self._kind = next(kind for kind, least in _KINDS if match >= least)
        return best

    def _near(self, places: list[int]) -> list[int]:
        """Those closest to where was copied from last: looking at all would cost more than it gains."""
        at = bisect.bisect_left(places, self._last)
        return places[max(0, at - _MOST_PLACES // 2) : at + _MOST_PLACES // 2]

    def _match(self, at: int) -> int:
        """How many tokens before `at` are the same as at the end, up to a limit."""
        history, end = self._history, len(self._history)
        length = 0
        while length < _LOOK_BACK and length < at and history[at - 1 - length] == history[end - 1 - length]:
            length += 1
        return length
