"""Recognises a turn that goes in circles, by what its calls were and what came of them.

A call repeated with a different outcome (polling, a test after an edit) is progress; the same calls with
the same outcomes are not, whatever the model says about them.
"""

import hashlib
from collections import deque

import msgspec

from kimi_code.events import Call

SAME_CALL = 5
SAME_CYCLE = 4
LONGEST_CYCLE = 4


class Breaker:
    """Remembers fingerprints of the last calls and their outcomes."""

    def __init__(self) -> None:
        self._seen: deque[bytes] = deque(maxlen=LONGEST_CYCLE * SAME_CYCLE)

    def note(self, call: Call, outcome: str) -> None:
        text = msgspec.json.encode((call.name, call.arguments, outcome))
        self._seen.append(hashlib.blake2b(text, digest_size=12).digest())

    def repeats(self) -> int:
        """How often the last call stands at the end, one after another, with the same outcome."""
        count = 0
        for mark in reversed(self._seen):
            if mark != self._seen[-1]:
                break
            count += 1
        return count

    def circle(self) -> str | None:
        """Why the turn should be stopped, None while it should not."""
        if self.repeats() >= SAME_CALL:
            return f"the same call was made {SAME_CALL} times with the same outcome"
        marks = list(self._seen)
        for period in range(2, LONGEST_CYCLE + 1):
            tail = marks[-period * SAME_CYCLE :]
            if len(tail) == period * SAME_CYCLE and tail == tail[:period] * SAME_CYCLE:
                return f"the same {period} calls were repeated {SAME_CYCLE} times with the same outcomes"
        return None
