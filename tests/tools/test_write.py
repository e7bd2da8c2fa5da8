"""Files change at once or not at all, keep what they are, and nothing unseen is lost."""

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kimi_tools.base import Hands, Outcome

Call = Callable[..., Awaitable[Outcome]]
Refusal = Callable[..., Awaitable[str]]


async def test_a_new_file_in_a_new_folder(workspace: Path, call: Call) -> None:
    outcome = await call("Write", path="a/b/c.txt", content="one\ntwo\n")
    assert (workspace / "a/b/c.txt").read_text() == "one\ntwo\n"
    assert outcome.content == "Created a/b/c.txt (2 lines)."
    assert outcome.changed == ("a/b/c.txt",)
    assert (outcome.details["added"], outcome.details["removed"]) == (2, 0)
    assert "+++ b/a/b/c.txt" in outcome.details["diff"]


async def test_what_was_not_read_is_not_replaced(workspace: Path, call: Call, refusal: Refusal) -> None:
    (workspace / "a.txt").write_text("mine\n")
    assert "was not read" in await refusal("Write", path="a.txt", content="new\n")
    assert (workspace / "a.txt").read_text() == "mine\n"
    await call("Read", path="a.txt")
    outcome = await call("Write", path="a.txt", content="new\n")
    assert outcome.details["diff"].splitlines()[2:] == ["@@ -1 +1 @@", "-mine", "+new"]
    await call("Write", path="a.txt", content="again\n")
    assert (workspace / "a.txt").read_text() == "again\n"


async def test_n06_what_changed_since_is_not_replaced(workspace: Path, call: Call, refusal: Refusal) -> None:
    path = workspace / "a.txt"
    path.write_text("mine\n")
    await call("Read", path="a.txt")
    before = path.stat()
    path.write_text("user\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "changed since" in await refusal("Write", path="a.txt", content="new\n")
    assert "changed since" in await refusal("Edit", path="a.txt", old_string="user", new_string="new")
    assert path.read_text() == "user\n"


async def test_n06_touched_only_is_not_changed(workspace: Path, call: Call) -> None:
    (workspace / "a.txt").write_text("mine\n")
    await call("Read", path="a.txt")
    os.utime(workspace / "a.txt", (1, 1))
    await call("Write", path="a.txt", content="new\n")
    assert (workspace / "a.txt").read_text() == "new\n"


async def test_append(workspace: Path, call: Call) -> None:
    (workspace / "a.txt").write_bytes(b"one\r\n")
    outcome = await call("Write", path="a.txt", content="two\n", mode="append")
    assert (workspace / "a.txt").read_bytes() == b"one\r\ntwo\r\n"
    assert "CRLF" in outcome.content
    await call("Write", path="new.txt", content="x", mode="append")
    assert (workspace / "new.txt").read_text() == "x"


async def test_n02_a_whole_new_content_keeps_what_the_file_is(workspace: Path, call: Call) -> None:
    path = workspace / "run.sh"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    path.chmod(0o755)
    await call("Read", path="run.sh")
    await call("Write", path="run.sh", content="three\nfour\n")
    assert path.read_bytes() == b"\xef\xbb\xbfthree\r\nfour\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


async def test_extended_attributes_stay(workspace: Path, call: Call) -> None:
    path = workspace / "a.txt"
    path.write_text("one\n")
    try:
        os.setxattr(path, "user.note", b"kept")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    await call("Read", path="a.txt")
    await call("Write", path="a.txt", content="two\n")
    assert os.getxattr(path, "user.note") == b"kept"


async def test_n04_the_target_of_a_link_is_written(workspace: Path, call: Call) -> None:
    (workspace / "real.txt").write_text("one\n")
    (workspace / "link.txt").symlink_to("real.txt")
    await call("Read", path="link.txt")
    outcome = await call("Write", path="link.txt", content="two\n")
    assert (workspace / "link.txt").is_symlink()
    assert (workspace / "real.txt").read_text() == "two\n"
    assert outcome.changed == ("real.txt",)


async def test_a_hard_link_elsewhere_is_left_alone(workspace: Path, call: Call, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("one\n")
    os.link(outside, workspace / "a.txt")
    await call("Read", path="a.txt")
    await call("Write", path="a.txt", content="two\n")
    assert outside.read_text() == "one\n"


async def test_n01_a_left_temporary_file_is_swept(workspace: Path, call: Call) -> None:
    gone = workspace / ".kimi-tmp-999999999-0123abcd"
    gone.write_text("half")
    alive = workspace / f".kimi-tmp-{os.getppid()}-0123abcd"
    alive.write_text("another's")
    other = workspace / ".kimi-tmp-notes"
    other.write_text("a user's")
    await call("Write", path="a.txt", content="x")
    assert not gone.exists()
    assert alive.exists()
    assert other.exists()


async def test_the_disk_is_full(workspace: Path, call: Call, refusal: Refusal, hands: Hands) -> None:
    """/dev/full cannot be renamed over, so the disk here is a limit on the size of files."""
    import resource
    import signal

    (workspace / "a.txt").write_text("mine\n")
    await call("Read", path="a.txt")
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        said = await refusal("Write", path="a.txt", content="x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert "was not written" in said
    assert "Nothing has changed" in said
    assert [path.name for path in workspace.iterdir()] == ["a.txt"]
    assert (workspace / "a.txt").read_text() == "mine\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written(workspace: Path, call: Call, refusal: Refusal) -> None:
    (workspace / "a.txt").write_text("mine\n")
    await call("Read", path="a.txt")
    workspace.chmod(0o555)
    try:
        assert "permission denied" in await refusal("Write", path="a.txt", content="new\n")
    finally:
        workspace.chmod(0o755)
    assert (workspace / "a.txt").read_text() == "mine\n"


async def test_a_file_where_a_folder_is_needed(workspace: Path, refusal: Refusal) -> None:
    (workspace / "a").write_text("x")
    assert "is a file, not a folder" in await refusal("Write", path="a/b.txt", content="x")
    assert "too long" in await refusal("Write", path="n" * 300, content="x")


async def test_half_a_character(workspace: Path, refusal: Refusal) -> None:
    assert "half a character" in await refusal("Write", path="a.txt", content="a\ud83d")
    assert list(workspace.iterdir()) == []
