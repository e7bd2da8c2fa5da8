"""Where sessions are kept: a private folder each. Knows no engine.

sessions/20261125-101500-ab12cd/main.jsonl    the log, mode 0600
                                main.jsonl.torn-1   what a crash left half written, never read again
                                spill/        outputs too long for it
sessions/index.json                           disposable: rebuilt from the logs where it does not fit
"""

import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from kimi_code.errors import StorageFailure, UsageError
from kimi_code.events import CompactionFinished, Fact
from kimi_code.session import lock
from kimi_code.session.codec import Record
from kimi_code.session.fold import State, fold
from kimi_code.session.scan import Scan, scan_file
from kimi_code.session.session import LOG, Session

_SEE = "See: kimi-code sessions list"
_INDEX_FORMAT = 1


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a list. `started` and `updated` are seconds since 1970.

    status: that of the last turn's result; `new` before the first turn, `running` for a turn that a process
    is at, `interrupted` where a turn has no end.
    """

    id: str
    cwd: str
    title: str
    model: str
    started: float
    updated: float
    turns: int
    steps: int
    status: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found. A torn tail is no damage: it was never acknowledged.

    quarantined: files that hold tails which were torn before.
    """

    id: str
    ok: bool
    records: int
    torn_bytes: int
    problems: list[str]
    quarantined: list[str]


class _Cached(msgspec.Struct, frozen=True, kw_only=True):
    mtime_ns: int
    size: int
    info: SessionInfo


class _Index(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    sessions: dict[str, _Cached]


class Store:
    """The sessions below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, facts: Iterable[Fact] = ()) -> Session:
        """A new session that begins with `facts`. Raises StorageFailure."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageFailure(
                f"{self.root} cannot be created: {error.strerror}.",
                hint="Mend the permissions or make room; KIMI_LOCAL_HOME chooses another place.",
            ) from error
        while True:
            # Sorted by name, sessions are sorted by time.
            name = time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + os.urandom(3).hex()
            with suppress(FileExistsError):
                return Session.create(self.root / name, facts)

    def open(self, name: str) -> Session:
        """A session by its id or a unique beginning of it, healed. Raises UsageError, StorageFailure."""
        return Session.open(self.folder(name) / LOG)

    def fork(self, name: str) -> Session:
        """A new session that begins with the facts of another, which stays as it is, even while it runs.

        Their content and times are kept, what is open is closed; a SessionStarted says where they are from.
        Raises UsageError, StorageFailure.
        """
        source = self.folder(name)
        found = self.scan(source.name)
        session = self.create()
        try:
            session.log.copy(_renumbered(found.records))
            session.heal("branched off before the turn ended")
            if session.state.started is not None:
                session.append(msgspec.structs.replace(session.state.started, resumed_from=source.name))
            if (source / "spill").is_dir():
                shutil.copytree(source / "spill", session.spill_dir, dirs_exist_ok=True)
            session.sync()
        except BaseException as failure:
            session.close()
            shutil.rmtree(session.directory, ignore_errors=True)
            if isinstance(failure, OSError | shutil.Error):
                raise StorageFailure(f"Session {source.name} cannot be copied: {failure}.") from failure
            raise
        return session

    def latest(self, cwd: str) -> str:
        """The id of the folder's last session. Raises UsageError where it has none."""
        found = next((info for info in self.sessions() if info.cwd == cwd), None)
        if found is None:
            raise UsageError(f"There is no session in {cwd} to go on with.", hint=_SEE)
        return found.id

    def sessions(self) -> list[SessionInfo]:
        """All sessions, the one last used first. A log that cannot be read is left out."""
        known = self._read_index()
        cached: dict[str, _Cached] = {}
        for folder in self._folders():
            with suppress(OSError):
                cached[folder.name] = _entry(folder, known.get(folder.name))
        if cached != known:
            self._write_index(cached)
        found = [self._as_of_now(entry.info) for entry in cached.values()]
        return sorted(found, key=lambda info: (info.updated, info.id), reverse=True)

    def scan(self, name: str) -> Scan:
        """What a session's log holds, without taking its lock. Raises UsageError."""
        folder = self.folder(name)
        try:
            return _scan(folder / LOG)
        except OSError as error:
            raise UsageError(f"Session {folder.name} cannot be read: {error.strerror}.", hint=_SEE) from error

    def verify(self, name: str) -> Report:
        """Whether all acknowledged records are there, in order. Changes nothing."""
        folder = self.folder(name)
        found = self.scan(folder.name)
        problems = found.problems()
        return Report(
            id=folder.name,
            ok=not problems,
            records=len(found.records),
            torn_bytes=found.torn_bytes,
            problems=problems,
            quarantined=sorted(path.name for path in folder.glob(f"{LOG}.torn-*")),
        )

    def remove(self, name: str) -> str:
        """Delete a session that no process has open; returns its id. Raises UsageError, StorageFailure."""
        folder = self.folder(name)
        try:
            descriptor = os.open(folder / LOG, os.O_RDWR | os.O_CLOEXEC)
            try:
                # Held until all is gone, so that nobody goes on with half a session.
                if not lock.take(descriptor):
                    raise UsageError(
                        f"Session {folder.name} is in use{_by(folder)}.", hint="End that kimi-code first."
                    )
                shutil.rmtree(folder)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StorageFailure(
                f"Session {folder.name} cannot be removed: {error.strerror}.", hint="Mend the permissions."
            ) from error
        return folder.name

    def folder(self, name: str) -> Path:
        """The folder of a session. Raises UsageError for none, or several that begin so."""
        names = [folder.name for folder in self._folders()]
        found = [each for each in names if each == name] or [each for each in names if each.startswith(name)]
        if not name or not found:
            raise UsageError(f"There is no session {name!r}.", hint=_SEE)
        if len(found) > 1:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            raise UsageError(
                f"{name} is the beginning of several sessions: {', '.join(found[:5])}{more}.", hint=_SEE
            )
        return self.root / found[0]

    def _folders(self) -> list[Path]:
        try:
            with os.scandir(self.root) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        return [self.root / name for name in sorted(names) if (self.root / name / LOG).is_file()]

    def _as_of_now(self, info: SessionInfo) -> SessionInfo:
        if info.status != "interrupted" or lock.holder(self.root / info.id / LOG) is None:
            return info
        return msgspec.structs.replace(info, status="running")

    def _read_index(self) -> dict[str, _Cached]:
        try:
            index = msgspec.json.decode((self.root / "index.json").read_bytes(), type=_Index)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return {}
        return index.sessions if index.format == _INDEX_FORMAT else {}

    def _write_index(self, cached: dict[str, _Cached]) -> None:
        """Best effort: a missing index costs time, nothing else."""
        temporary = self.root / f".index.{os.getpid()}.tmp"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(_Index(format=_INDEX_FORMAT, sessions=cached)))
            temporary.replace(self.root / "index.json")
        except OSError:
            with suppress(OSError):
                temporary.unlink()


def _scan(path: Path) -> Scan:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return scan_file(descriptor)
    finally:
        os.close(descriptor)


def _by(folder: Path) -> str:
    pid = lock.holder(folder / LOG)
    return "" if pid is None else f" by process {pid}"


def _entry(folder: Path, known: _Cached | None) -> _Cached:
    """Raises OSError."""
    stat = (folder / LOG).stat()
    if known is not None and (known.mtime_ns, known.size) == (stat.st_mtime_ns, stat.st_size):
        return known
    state = fold(_scan(folder / LOG).records)
    return _Cached(mtime_ns=stat.st_mtime_ns, size=stat.st_size, info=_info(folder.name, state))


def _info(name: str, state: State) -> SessionInfo:
    return SessionInfo(
        id=name,
        cwd=state.started.cwd if state.started else "",
        title=state.title,
        model=state.started.model if state.started else "",
        started=state.began,
        updated=state.last_time,
        turns=state.turn,
        steps=state.steps,
        status=state.status,
    )


def _renumbered(records: list[Record]) -> list[Record]:
    """Facts that name another by its seq name it by the seq that it will have without the gaps before it."""
    renumbered: list[Record] = []
    for record in records:
        event = record.event
        if isinstance(event, CompactionFinished):
            kept_from = sum(1 for other in records if other.seq < event.kept_from)
            event = msgspec.structs.replace(event, kept_from=kept_from)
            record = msgspec.structs.replace(record, event=event)
        renumbered.append(record)
    return renumbered
