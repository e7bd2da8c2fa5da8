"""A session: a log, its fold, and the folder they live in. Heals what a crash left."""

from pathlib import Path

from kimi_code.events import (
    CallFinished,
    CallStatus,
    Fact,
    Signal,
    TurnEnded,
)
from kimi_code.session.codec import Record
from kimi_code.session.fold import State
from kimi_code.session.log import SessionLog
from kimi_code.session.redact import redacted

_NOT_STARTED = "Interrupted before it began: nothing was done."
_UNKNOWN = (
    "Interrupted while it ran: the outcome is unknown. Look at what it did before you repeat it; "
    "it may have happened in part or in full."
)


class Session:
    """One agent's session. `spill_dir` holds outputs too long for the log."""

    def __init__(self, log: SessionLog) -> None:
        self.log = log
        self.directory = log.path.parent
        self.id = self.directory.name
        self.spill_dir = self.directory / "spill"
        self.spill_dir.mkdir(mode=0o700, exist_ok=True)
        self.state = State()
        for record in log.records:
            self.state.apply(record)
        log.listen(self.state.apply)

    @classmethod
    def open(cls, path: Path) -> "Session":
        """Open for writing. Calls and turns that a crash left open are closed, as facts."""
        session = cls(SessionLog.open(path))
        session.close_calls()
        if session.state.open_turn:
            detail = "the program ended before the turn did"
            session.append(TurnEnded(turn=session.state.turn, reason="interrupted", detail=detail))
        return session

    def append(self, fact: Fact) -> Record:
        """Write, then tell. Raises StorageFailure; then nothing was written and nobody told."""
        return self.log.append(redacted(fact))

    def signal(self, event: Signal) -> Record:
        return self.log.signal(event)

    def sync(self) -> None:
        """Everything appended is on the disk when this returns."""
        self.log.sync()

    def close_calls(self) -> None:
        """Give each call without an outcome one: interrupted, or unknown where its effect had begun."""
        for call_id, (name, started) in list(self.state.pending.items()):
            status: CallStatus = "unknown" if started else "interrupted"
            content = _UNKNOWN if started else _NOT_STARTED
            self.append(CallFinished(id=call_id, name=name, status=status, content=content))

    def close(self) -> None:
        self.log.close()
