"""One file over HTTP: resumed, retried, verified. Knows no index, no hub and no model.

What arrived stays in the target file when a transfer fails or is killed; the next one asks for the rest.
"""

import asyncio
import errno
import hashlib
import os
import ssl
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import httpx2

from kimi_runtime.failures import PullFailed
from kimi_runtime.store import file_size

_ATTEMPTS = 5
_TIMEOUT = httpx2.Timeout(60, connect=20)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ROOM_TO_SPARE = 64 << 20

Count = Callable[[int], None]
"""Told how many bytes came (or, negative, were thrown away)."""


class Lost(Exception):
    """This source cannot deliver the file; the text says why."""


class _Again(Exception):
    """A passing failure: worth another attempt after a pause."""


def client(*, proxy: str | None = None, ca_file: str | None = None) -> httpx2.AsyncClient:
    """An HTTP client that honours the environment (proxies, certificates); the arguments go before it."""
    verify: ssl.SSLContext | bool = True
    if ca_file:
        verify = ssl.create_default_context(cafile=ca_file)
    return httpx2.AsyncClient(
        timeout=_TIMEOUT,
        follow_redirects=True,
        proxy=proxy,
        verify=verify,
        headers={"user-agent": "kimi-code-local", "accept-encoding": "identity"},
    )


def describe(error: httpx2.HTTPError, url: str) -> str:
    """A network failure as a clause; a user's password in the URL is left out."""
    host = httpx2.URL(url).host
    if isinstance(error, httpx2.ConnectTimeout):
        return f"{host} does not answer"
    if isinstance(error, httpx2.ConnectError):
        return f"{host} cannot be reached ({error})"
    if isinstance(error, httpx2.TimeoutException):
        return f"{host} stopped sending"
    return f"{host}: {error or type(error).__name__}"


def disk_full(error: OSError) -> bool:
    return error.errno in _FULL


def no_room(folder: Path, error: OSError) -> PullFailed:
    """What a user is told when writing failed: full, or not writable."""
    if disk_full(error):
        return PullFailed(
            f"The disk is full (or a file size limit was reached) while writing in {folder}.",
            hint="Make room and run the same command again: it goes on where it stopped.",
        )
    return PullFailed(
        f"{folder} cannot be written: {error.strerror or error}.",
        hint="Check its owner and mode, or set KIMI_LOCAL_HOME to another folder.",
    )


def check_room(folder: Path, needed: int) -> None:
    """Raise PullFailed unless `needed` bytes and a little more are free where `folder` is."""
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if needed > 0 and free < needed + _ROOM_TO_SPARE:
        raise PullFailed(
            f"Too little disk space in {folder}: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free.",
            hint="Make room, or set KIMI_LOCAL_HOME to a folder on a larger disk.",
        )


def digest(path: Path) -> str:
    """The file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def fetch(
    http: httpx2.AsyncClient, url: str, target: Path, *, sha256: str | None, count: Count, pause_s: float = 1
) -> None:
    """Bring `url` into `target`, going on from what is there; returns when it is complete and verified.

    A file that does not match `sha256` is thrown away and fetched once more. Raises Lost, and OSError when
    the disk refuses.
    """
    mismatched = False
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await _go_on(http, url, target, count, digest_known=sha256 is not None)
        except _Again as error:
            if attempt == _ATTEMPTS:
                raise Lost(str(error)) from error
            await asyncio.sleep(pause_s * 2 ** (attempt - 1))
            continue
        if sha256 is None or await asyncio.to_thread(digest, target) == sha256:
            _tag_path(target).unlink(missing_ok=True)
            return
        _discard(target, count)
        if mismatched:
            break
        mismatched = True
    name = httpx2.URL(url).path.rsplit("/", 1)[-1]
    raise Lost(f"{name} arrived damaged: its sha256 is not the one the index gives")


async def _go_on(
    http: httpx2.AsyncClient, url: str, target: Path, count: Count, *, digest_known: bool
) -> None:
    """One request for what is missing of `target`."""
    have, tag = file_size(target), _tag(target)
    if have and not digest_known and not tag:
        # Nothing could prove that the rest belongs to what is here.
        _discard(target, count)
        have = 0
    headers = {"range": f"bytes={have}-"} if have else {}
    if have and tag:
        headers["if-range"] = tag
    try:
        async with http.stream("GET", url, headers=headers) as response:
            if response.status_code == 416 and response.headers.get("content-range") == f"bytes */{have}":
                return
            if response.status_code == 416:
                _discard(target, count)
                raise _Again("the server cannot go on where the last transfer stopped")
            _check(response, url)
            if have and response.status_code != 206:
                _discard(target, count)
            elif have:
                _check_start(response, have)
            await _write(response, target, count)
    except httpx2.HTTPError as error:
        raise _Again(describe(error, url)) from error


async def _write(response: httpx2.Response, target: Path, count: Count) -> None:
    tag = response.headers.get("etag", "")
    if tag and not tag.startswith("W/"):
        _tag_path(target).write_text(tag)
    expected = response.headers.get("content-length")
    got = 0
    # Unbuffered, in the pieces that come: whatever arrived before a cut or a kill is there for the next time.
    with _append(target) as file:
        async for chunk in response.aiter_raw():
            rest = memoryview(chunk)
            while rest:
                written = file.write(rest)
                count(written)
                rest = rest[written:]
            got += len(chunk)
    if expected is not None and got != int(expected):
        raise _Again("the connection was cut")


def _append(path: Path) -> FileIO:
    return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _check(response: httpx2.Response, url: str) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    text = f"{httpx2.URL(url).host} answered {status} {response.reason_phrase}".rstrip()
    if status in (408, 425, 429) or status >= 500:
        raise _Again(text)
    raise Lost(text)


def _check_start(response: httpx2.Response, have: int) -> None:
    start = response.headers.get("content-range", "").removeprefix("bytes ").split("-")[0]
    if start != str(have):
        raise _Again("the server sent another part than was asked for")


def _discard(target: Path, count: Count) -> None:
    if target.exists():
        count(-target.stat().st_size)
        target.unlink()
    _tag_path(target).unlink(missing_ok=True)


def _tag(target: Path) -> str:
    """The ETag under which the bytes in `target` came, empty if unknown."""
    try:
        return _tag_path(target).read_text()
    except FileNotFoundError:
        return ""


def _tag_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.etag")
