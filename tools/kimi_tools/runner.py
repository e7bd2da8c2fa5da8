"""Runs one command to its end: bounded output, a time limit, nothing left behind. Knows no tool and no box.

Written on pidfd and a pipe instead of asyncio's subprocesses: those start a thread per child, and wait for a
background child that holds the output open. Starting goes through vfork, so a large parent costs nothing.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from kimi_tools.box import BoxFailed, Launch
from kimi_tools.capture import HEAD_BYTES, LIVE_INTERVAL_S, TAIL_BYTES, Capture, Live, Output
from kimi_tools.orphans import end_holders

TIMEOUT_S = 120.0
_TERM_GRACE_S = 0.5
_DRAIN_S = 0.25
_GONE_S = 1.5
_READ_BYTES = 1 << 16
_NOT_FOUND, _NOT_EXECUTABLE, _TIMED_OUT = 127, 126, 124


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """`exit_code`: 128 + n for signal n, 124 for the time limit. `left`.

    Background processes that were ended.
    """

    exit_code: int
    output: Output
    duration_s: float
    timed_out: bool = False
    left: tuple[str, ...] = ()


async def run(
    launch: Launch,
    *,
    timeout_s: float = TIMEOUT_S,
    spill: Path | None = None,
    live: Callable[[str], None] | None = None,
    keep: tuple[int, int] = (HEAD_BYTES, TAIL_BYTES),
) -> Ran:
    """Run it and close the launch. Cancelling ends the whole tree.

    keep: bytes of head and tail. Raises BoxFailed if the box never started: the command did not run.
    """
    capture = Capture(spill, head=keep[0], tail=keep[1])
    began = time.monotonic()
    try:
        try:
            process, pipe = _start(launch)
        except OSError as failure:
            return _not_started(launch, failure)
        try:
            ended = await _watch(process, pipe, launch, capture, timeout_s, live)
        finally:
            os.close(pipe)
            output = capture.close()
    finally:
        launch.close()
    timed_out, left, started = ended
    if not started and not timed_out:
        raise BoxFailed(f"The sandbox did not start: {output.head.strip()[-400:] or 'no reason was given'}")
    code = process.returncode
    return Ran(
        exit_code=_TIMED_OUT if timed_out else 128 - code if code < 0 else code,
        output=output,
        duration_s=time.monotonic() - began,
        timed_out=timed_out,
        left=left,
    )


def _start(launch: Launch) -> tuple["subprocess.Popen[bytes]", int]:
    pipe, write_end = os.pipe()
    try:
        os.set_blocking(pipe, False)
        process = subprocess.Popen(
            launch.argv,
            env=launch.env,
            cwd=launch.cwd,
            stdin=subprocess.DEVNULL,
            stdout=write_end,
            stderr=write_end,
            pass_fds=launch.pass_fds,
            start_new_session=True,
        )
    except OSError:
        os.close(pipe)
        raise
    finally:
        os.close(write_end)
    return process, pipe


def _not_started(launch: Launch, failure: OSError) -> Ran:
    """What a shell would say: 127 for a program that is not there, 126 for one that cannot be run."""
    if launch.boxed:
        raise BoxFailed(f"The sandbox did not start: {failure}") from failure
    code = _NOT_FOUND if isinstance(failure, FileNotFoundError) else _NOT_EXECUTABLE
    text = f"{launch.argv[0]}: {failure.strerror or failure}\n"
    return Ran(exit_code=code, output=Output(head=text, total=len(text)), duration_s=0.0)


async def _watch(
    process: "subprocess.Popen[bytes]",
    pipe: int,
    launch: Launch,
    capture: Capture,
    timeout_s: float,
    live: Callable[[str], None] | None,
) -> tuple[bool, tuple[str, ...], bool]:
    """Whether the limit ended it, the names of what was left behind, whether it ever started."""
    reading = _Reading(pipe, capture, live)
    timed_out = False
    try:
        try:
            async with asyncio.timeout(timeout_s):
                await _ended(process)
        except TimeoutError:
            timed_out = True
            await _stop(process, launch)
        if not launch.boxed:
            # Something may still write the rest (`> >(tee log)`); the box has ended all that by now.
            await reading.wait(_DRAIN_S)
        after = launch.aftermath(process.pid)
        if not launch.boxed and not reading.finished:
            # Whoever slipped out of group and environment, but still holds our pipe.
            end_holders(pipe)
        await reading.wait(_GONE_S)
    finally:
        if process.returncode is None:
            _kill(process, launch)
        reading.close()
    return timed_out, after.left, after.started


async def _ended(process: "subprocess.Popen[bytes]") -> None:
    """Until the leader has ended, and it was waited for."""
    descriptor = os.pidfd_open(process.pid)
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(descriptor, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    process.wait()


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def _stop(process: "subprocess.Popen[bytes]", launch: Launch) -> None:
    """End it because its time is over. Outside the box it is asked first, so that it can tidy up."""
    if not launch.boxed:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TERM_GRACE_S):
                await _ended(process)
                return
    _kill(process, launch)


def _kill(process: "subprocess.Popen[bytes]", launch: Launch) -> None:
    """End the leader now. A box dies with it; outside, its offspring are hunted."""
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()
    launch.aftermath(process.pid)


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


class _Reading:
    """Empties the pipe whenever there is something in it."""

    def __init__(self, pipe: int, capture: Capture, live: Callable[[str], None] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._pipe = pipe
        self._capture = capture
        self._live = Live(live) if live else None
        self._timer: asyncio.TimerHandle | None = None
        self._finished = self._loop.create_future()
        self._buffer = bytearray(_READ_BYTES)
        self._loop.add_reader(pipe, self._read)

    def _read(self) -> None:
        try:
            count = os.readv(self._pipe, [self._buffer])
        except BlockingIOError:
            return
        if count == 0:
            self._loop.remove_reader(self._pipe)
            _resolve(self._finished)
            return
        data = memoryview(self._buffer)[:count]
        self._capture.add(data)
        if self._live:
            self._live.add(data)
            if self._timer is None:
                self._timer = self._loop.call_later(LIVE_INTERVAL_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if self._live:
            self._live.flush()

    @property
    def finished(self) -> bool:
        """Nobody can write any more, and all was read."""
        return self._finished.done()

    async def wait(self, seconds: float) -> None:
        """Until finished, but no longer than this."""
        await asyncio.wait([self._finished], timeout=seconds)

    def close(self) -> None:
        self._loop.remove_reader(self._pipe)
        if self._timer:
            self._timer.cancel()
        self._tell()
