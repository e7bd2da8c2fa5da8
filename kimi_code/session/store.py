"""Where sessions are kept: a private folder each. Knows no engine.

sessions/20261125-101500-ab12cd/main.jsonl    the log, mode 0600
                                spill/        outputs too long for it
sessions/index.json                           disposable: rebuilt from the logs where it does not fit
"""

import contextlib
import os
import secrets
import shutil
import time
from pathlib import Path

import msgspec

from kimi_code.errors import KimiError, StorageFailure, UsageError
from kimi_code.events import Fact, SessionStarted
from kimi_code.session.fold import State
from kimi_code.session.log import Scan, SessionLog, scan
from kimi_code.session.session import Session

_LOG = "main.jsonl"
_SEE = "See: kimi-code sessions list"


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a list. `started` and `updated` are seconds since 1970; `status` that of the last turn."""

    id: str
    cwd: str
    title: str
    started: float
    updated: float
    turns: int
    steps: int
    status: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found. A torn tail is no damage: it was never acknowledged."""

    id: str
    ok: bool
    records: int
    torn_bytes: int
    problems: list[str]


class _Cached(msgspec.Struct, frozen=True, kw_only=True):
    mtime_ns: int
    size: int
    info: SessionInfo


class Store:
    """The sessions below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self) -> Session:
        """A new, empty session. Raises StorageFailure."""
        name = time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(3)
        folder = self.root / name
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
            folder.chmod(0o700)
        except OSError as error:
            raise StorageFailure(
                f"No session can be created in {self.root}: {error.strerror}.",
                hint="Mend the permissions or make room; KIMI_LOCAL_HOME chooses another place.",
            ) from error
        return Session(SessionLog.create(folder / _LOG, session=name))

    def open(self, name: str) -> Session:
        """A session by its id or a unique beginning of it. Raises UsageError."""
        return Session.open(self.folder(name) / _LOG)

    def fork(self, name: str) -> Session:
        """A new session that begins with the facts of another, which stays as it is."""
        source = self.folder(name)
        session = self.create()
        for record in self.scan(source.name).records:
            if isinstance(record.event, Fact):
                session.append(record.event)
        session.close_calls()
        spill = source / "spill"
        if spill.is_dir():
            shutil.copytree(spill, session.spill_dir, dirs_exist_ok=True)
        session.sync()
        return session

    def latest(self, cwd: str) -> str:
        """The id of the folder's last session. Raises UsageError where it has none."""
        found = [info for info in self.sessions() if info.cwd == cwd]
        if not found:
            raise UsageError(f"There is no session in {cwd} to go on with.", hint=_SEE)
        return found[0].id

    def sessions(self) -> list[SessionInfo]:
        """All sessions, the one last used first. A log that cannot be read is left out."""
        known = self._read_index()
        cached: dict[str, _Cached] = {}
        for folder in self._folders():
            try:
                stat = (folder / _LOG).stat()
            except OSError:
                continue
            entry = known.get(folder.name)
            if entry is None or (entry.mtime_ns, entry.size) != (stat.st_mtime_ns, stat.st_size):
                with contextlib.suppress(OSError, KimiError):
                    info = _info(folder.name, self.scan(folder.name))
                    entry = _Cached(mtime_ns=stat.st_mtime_ns, size=stat.st_size, info=info)
            if entry is not None:
                cached[folder.name] = entry
        if cached != known:
            self._write_index(cached)
        return sorted((entry.info for entry in cached.values()), key=lambda info: -info.updated)

    def scan(self, name: str) -> Scan:
        """What a session's log holds, without taking its lock."""
        path = self.folder(name) / _LOG
        try:
            return scan(path.read_bytes())
        except OSError as error:
            raise UsageError(f"Session {name} cannot be read: {error.strerror}.", hint=_SEE) from error

    def verify(self, name: str) -> Report:
        """Whether all acknowledged records are there, in order."""
        found = self.scan(name)
        problems = [f"line {number} is damaged" for number in found.damaged]
        expected = 0
        for record in found.records:
            if record.seq != expected:
                problems.append(f"record {expected} is missing: {record.seq} follows")
            expected = record.seq + 1
        return Report(
            id=self.folder(name).name,
            ok=not problems,
            records=len(found.records),
            torn_bytes=found.torn_bytes,
            problems=problems,
        )

    def remove(self, name: str) -> str:
        """Delete a session that no process has open; returns its id."""
        folder = self.folder(name)
        if (folder / _LOG).exists():
            SessionLog.open(folder / _LOG).close()
        shutil.rmtree(folder)
        return folder.name

    def folder(self, name: str) -> Path:
        """The folder of a session. Raises UsageError for none, or several that begin so."""
        names = [folder.name for folder in self._folders()]
        found = [each for each in names if each == name] or [each for each in names if each.startswith(name)]
        if not name or not found:
            raise UsageError(f"There is no session {name!r}.", hint=_SEE)
        if len(found) > 1:
            raise UsageError(
                f"{name} is the beginning of several sessions: {', '.join(found[:5])}.", hint=_SEE
            )
        return self.root / found[0]

    def _folders(self) -> list[Path]:
        try:
            return sorted(path for path in self.root.iterdir() if path.is_dir())
        except OSError:
            return []

    def _read_index(self) -> dict[str, _Cached]:
        try:
            return msgspec.json.decode((self.root / "index.json").read_bytes(), type=dict[str, _Cached])
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return {}

    def _write_index(self, cached: dict[str, _Cached]) -> None:
        """Best effort: a missing index costs time, nothing else."""
        temporary = self.root / f"index.{os.getpid()}.tmp"
        with contextlib.suppress(OSError):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(cached))
            temporary.replace(self.root / "index.json")


def _info(name: str, found: Scan) -> SessionInfo:
    state = State()
    for record in found.records:
        state.apply(record)
    started = next((r.time for r in found.records if isinstance(r.event, SessionStarted)), 0.0)
    status = "interrupted" if state.open_turn else state.result.status if state.result else "new"
    return SessionInfo(
        id=name,
        cwd=state.started.cwd if state.started else "",
        title=state.title,
        started=started,
        updated=state.last_time,
        turns=state.turn,
        steps=state.steps,
        status=status,
    )
