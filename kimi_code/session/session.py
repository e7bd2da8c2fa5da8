"""A session: a log, its fold, and the folder they live in. Heals what a crash left."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from kimi_code.errors import StorageFailure
from kimi_code.events import CallFinished, CallRequested, CallStatus, Fact, Signal, TurnEnded
from kimi_code.session.codec import Record
from kimi_code.session.fold import State
from kimi_code.session.log import SessionLog
from kimi_code.session.redact import redacted

LOG = "main.jsonl"
_NOT_STARTED = "Interrupted before it was done: nothing was changed."
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
        self.state = State()
        for record in log.records:
            self.state.apply(record)
        log.listen(self.state.apply)

    @classmethod
    def create(cls, directory: Path, facts: Iterable[Fact] = ()) -> "Session":
        """A new session in a folder that is not there yet; its id is the folder's name.

        Raises FileExistsError, StorageFailure. What fails leaves no folder behind.
        """
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            raise
        except OSError as error:
            raise _no_folder(directory, error) from error
        try:
            directory.chmod(0o700)  # the umask may have taken rights of our own
            session = cls(SessionLog.create(directory / LOG, session=directory.name))
            try:
                session._make_spill_dir()
                for fact in facts:
                    session.append(fact)
            except BaseException:
                session.close()
                raise
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return session

    @classmethod
    def open(cls, path: Path) -> "Session":
        """Open a log for writing. Calls and turns that a crash left open are closed, as facts.

        Raises UsageError where another process has it open, StorageFailure.
        """
        session = cls(SessionLog.open(path))
        try:
            session._make_spill_dir()
            session.heal("the program ended before the turn did")
        except BaseException:
            session.close()
            raise
        return session

    def append(self, fact: Fact) -> Record:
        """Write, then tell. Raises StorageFailure; then nothing was written and nobody told."""
        return self.log.append(redacted(fact))

    def signal(self, event: Signal) -> Record:
        """Tell, without writing."""
        return self.log.signal(event)

    def sync(self) -> None:
        """Everything appended is on the disk when this returns. Raises StorageFailure."""
        self.log.sync()

    def heal(self, detail: str) -> None:
        """Close the calls and the turn that are open; `detail` says why the turn has no end of its own."""
        self.close_calls()
        if self.state.open_turn:
            self.append(TurnEnded(turn=self.state.turn, reason="interrupted", detail=detail))

    def close_calls(self) -> None:
        """Give each call without an outcome one: interrupted, or unknown where its effect may have begun.

        A call that the model made and the loop never took up is requested first, so that it is on record.
        """
        for call_id, pending in list(self.state.pending.items()):
            call = pending.call
            if pending.stage == "made":
                self.append(CallRequested(id=call_id, name=call.name, arguments=call.arguments))
            started = pending.stage == "started"
            status: CallStatus = "unknown" if started else "interrupted"
            content = _UNKNOWN if started else _NOT_STARTED
            self.append(CallFinished(id=call_id, name=call.name, status=status, content=content))

    def close(self) -> None:
        """Give up the lock; what comes after needs the session opened anew."""
        self.log.close()

    def _make_spill_dir(self) -> None:
        try:
            self.spill_dir.mkdir(mode=0o700, exist_ok=True)
            self.spill_dir.chmod(0o700)
        except OSError as error:
            raise _no_folder(self.spill_dir, error) from error


def _no_folder(path: Path, error: OSError) -> StorageFailure:
    return StorageFailure(
        f"{path} cannot be created: {error.strerror}.",
        hint="Mend the permissions or make room; KIMI_LOCAL_HOME chooses another place.",
    )
