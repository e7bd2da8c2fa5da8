"""A model of the Hugging Face hub. Knows no store and no screen. Slow to import: loaded only when asked.

Mirrors (HF_ENDPOINT) and tokens (HF_TOKEN) are the hub library's own affair. It resumes what it had; the
sha256 that the hub gives for large files is compared at the end.
"""

import asyncio
import re
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx2
from huggingface_hub import (
    get_hf_file_metadata,  # pyright: ignore[reportUnknownVariableType]
    hf_hub_download,  # pyright: ignore[reportUnknownVariableType]
    hf_hub_url,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import logging, tqdm

from kimi_runtime.catalogue import HubSource
from kimi_runtime.progress import Progress
from kimi_runtime.store import file_size, folder_size, parts
from kimi_runtime.transfer import Lost, check_room, describe, digest

_LOOK_S = 20
_T = TypeVar("_T")
_REFUSALS = (EntryNotFoundError, HFValidationError, RevisionNotFoundError, FileMetadataError)
_NETWORK = (httpx2.HTTPError, OfflineModeIsEnabled)


class _Stopped(Exception):
    """Raised inside the hub's thread to end it."""


class _Remote:
    """One file as the hub describes it: its path, bytes, and sha256 if it is stored as a large file."""

    def __init__(self, repo: str, path: str, endpoint: str | None) -> None:
        found = get_hf_file_metadata(
            hf_hub_url(repo, path, endpoint=endpoint), timeout=_LOOK_S, endpoint=endpoint
        )
        etag = found.etag or ""
        self.repo, self.path, self.endpoint = repo, path, endpoint
        self.size = found.size or 0
        self.sha256 = etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None


async def bring(source: HubSource, folder: Path, progress: Progress, endpoint: str | None = None) -> None:
    """All parts of the model into `folder`. Raises Lost, PullFailed for a full disk, OSError."""
    logging.set_verbosity_error()
    prefix = source.path.removesuffix(source.file)
    paths = [prefix + name for name in parts(source.file)]
    remotes = [
        await _blocking(lambda path=path: _Remote(source.repo, path, endpoint), source) for path in paths
    ]
    total = sum(remote.size for remote in remotes)
    present = folder_size(folder)
    check_room(folder, total - present)
    done = 0
    stop = threading.Event()
    loop = asyncio.get_running_loop()

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(min(done, total), total, str(source))

    def from_thread(more: int) -> None:
        if stop.is_set():
            raise _Stopped
        loop.call_soon_threadsafe(count, more)

    try:
        for remote in remotes:
            target = folder / remote.path.rsplit("/", 1)[-1]
            if file_size(target) == remote.size:
                count(remote.size)
                continue
            await _blocking(lambda each=remote: _download(each, folder, from_thread), source)
            await _settle(remote, folder, target)
    finally:
        stop.set()


def _download(remote: _Remote, folder: Path, count: Callable[[int], None]) -> None:
    class Counter(tqdm):
        """The hub reports to a bar; this one only passes the numbers on."""

        def __init__(self, *args: Any, **options: Any) -> None:
            options["disable"] = True
            super().__init__(*args, **options)  # pyright: ignore[reportUnknownMemberType]
            if options.get("initial"):
                count(int(options["initial"]))

        def update(self, n: float | None = 1) -> bool | None:
            count(int(n or 0))
            return None

    hf_hub_download(
        remote.repo,
        remote.path,
        local_dir=folder,
        tqdm_class=Counter,
        endpoint=remote.endpoint,
        etag_timeout=_LOOK_S,
    )


async def _settle(remote: _Remote, folder: Path, target: Path) -> None:
    """Compare the digest and put the file where the store expects it."""
    arrived = folder / remote.path
    if remote.sha256 and await asyncio.to_thread(digest, arrived) != remote.sha256:
        arrived.unlink()
        raise Lost(f"{target.name} arrived damaged: its sha256 is not the one the hub gives")
    if arrived != target:
        arrived.replace(target)
        shutil.rmtree(folder / remote.path.split("/", 1)[0], ignore_errors=True)


async def _blocking(work: Callable[[], _T], source: HubSource) -> _T:
    """Run `work` in a thread of its own that does not keep the process alive; its failures become Lost."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[_T] = loop.create_future()

    def settle(value: _T | None, error: BaseException | None) -> None:
        if result.done():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(cast(_T, value))

    def run() -> None:
        value, error = None, None
        try:
            value = work()
        except _Stopped:
            return
        except BaseException as caught:  # noqa: BLE001 - handed over whole to the waiting coroutine
            error = caught
        with suppress(RuntimeError):
            # The loop may have ended meanwhile.
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, name="hub", daemon=True).start()
    try:
        return await result
    except (*_REFUSALS, *_NETWORK) as error:
        raise Lost(_why(error, source)) from error


def _why(error: Exception, source: HubSource) -> str:
    if isinstance(error, GatedRepoError):
        return f"{source.repo} wants its terms accepted on huggingface.co, then a token in HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return f"there is no repository {source.repo} (or it is private: a token goes into HF_TOKEN)"
    if isinstance(error, EntryNotFoundError) and not isinstance(error, FileNotFoundError):
        return f"{source.repo} has no file {source.path}"
    if isinstance(error, HfHubHTTPError):
        return f"the hub answered {error.response.status_code}"
    if isinstance(error, httpx2.RequestError):
        return describe(error, str(error.request.url))
    return str(error).splitlines()[0] if str(error) else type(error).__name__
