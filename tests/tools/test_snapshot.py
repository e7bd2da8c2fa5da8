"""Checkpoints: what they hold, what differs from them, and what they cost the second time."""

import os
import subprocess

import pytest

from kimi_tools.snapshot import Snapshots, Unknown


@pytest.fixture
def snapshots(workspace, tmp_path):
    return Snapshots(workspace, tmp_path / "state")


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text)


def test_changed_added_and_removed_files_are_told(snapshots, workspace):
    write(workspace, {"same": b"1", "sub/edited": b"2", "gone": b"3", "touched": b"4"})
    made = snapshots.checkpoint()
    assert made.files == 4
    assert made.skipped == ()
    assert snapshots.changed(made.id) == ()
    write(workspace, {"sub/edited": b"2x", "new": b"5"})
    (workspace / "gone").unlink()
    os.utime(workspace / "touched")
    assert snapshots.changed(made.id) == ("gone", "new", "sub/edited")


def test_an_edit_that_keeps_size_and_time_is_seen(snapshots, workspace):
    write(workspace, {"a": b"old"})
    made = snapshots.checkpoint()
    found = (workspace / "a").stat()
    (workspace / "a").write_bytes(b"new")
    os.utime(workspace / "a", ns=(found.st_atime_ns, found.st_mtime_ns))
    assert snapshots.changed(made.id) == ("a",)


def test_a_change_of_mode_is_a_change(snapshots, workspace):
    write(workspace, {"a": b"x"})
    made = snapshots.checkpoint()
    (workspace / "a").chmod(0o755)
    assert snapshots.changed(made.id) == ("a",)


def test_contents_and_modes_come_back(snapshots, workspace):
    write(workspace, {"a": b"\x00\xff", "script": b"#!"})
    (workspace / "script").chmod(0o755)
    made = snapshots.checkpoint()
    write(workspace, {"a": b"other", "new": b"n"})
    (workspace / "script").unlink()
    assert snapshots.before(made.id, ("a", "new", "script")) == {
        "a": (b"\x00\xff", 0o644),
        "new": None,
        "script": (b"#!", 0o755),
    }


def test_several_checkpoints_live_side_by_side(snapshots, workspace):
    marks = []
    for text in (b"1", b"2", b"3"):
        write(workspace, {"a": text})
        marks.append(snapshots.checkpoint().id)
    found = [snapshots.before(mark, ("a",))["a"] for mark in marks]
    assert [content for content, _ in found] == [b"1", b"2", b"3"]
    assert snapshots.changed(marks[0]) == ("a",)
    assert snapshots.changed(marks[2]) == ()


class Counting(Snapshots):
    """Knows which files it opened."""

    def __init__(self, root, state):
        super().__init__(root, state)
        self.opened: list[str] = []

    def _read(self, path):
        self.opened.append(path)
        return super()._read(path)


def test_the_second_checkpoint_reads_only_what_changed(workspace, tmp_path):
    write(workspace, {"a": b"x", "b": b"y"})
    subprocess.run(("sleep", "0.1"), check=True)  # past the moment in which a change could go unseen
    first = Counting(workspace, tmp_path / "state")
    made = first.checkpoint()
    assert first.opened == ["a", "b"]
    write(workspace, {"b": b"z"})
    second = Counting(workspace, tmp_path / "state")
    assert second.changed(made.id) == ("b",)
    second.checkpoint()
    assert second.opened == ["b", "b"]


KEPT = {".gitignore": b"out/\n*.log\n", "a": b"1", ".github/w.yml": b"x"}
LEFT_OUT = (
    "target/CACHEDIR.TAG",
    "target/debug/x",
    "out/big",
    "b.log",
    "node_modules/m/i.js",
    "__pycache__/a.pyc",
    ".venv/bin/x",
    ".git/HEAD",
)


def test_what_is_ignored_or_installed_is_left_out(snapshots, workspace):
    write(workspace, dict.fromkeys(LEFT_OUT, b"x") | KEPT)
    made = snapshots.checkpoint()
    assert made.files == 3
    write(workspace, {"out/other": b"x", "node_modules/m/j.js": b"x"})
    assert snapshots.changed(made.id) == ()


def test_large_files_are_named_and_told_by_their_times(workspace, tmp_path):
    snapshots = Snapshots(workspace, tmp_path / "state", file_bytes=100, total_bytes=150)
    write(workspace, {"a": b"x" * 90, "b": b"y" * 90, "c": b"z" * 101})
    made = snapshots.checkpoint()
    assert made.files == 3
    assert made.skipped == ("b", "c")
    assert snapshots.changed(made.id) == ()
    write(workspace, {"c": b"w" * 101, "a": b""})
    assert snapshots.changed(made.id) == ("a", "c")
    assert set(snapshots.before(made.id, ("a", "c"))) == {"a"}


def test_links_and_pipes_are_passed_over(snapshots, workspace):
    write(workspace, {"a": b"1"})
    (workspace / "link").symlink_to("a")
    (workspace / "loop").symlink_to(".")
    os.mkfifo(workspace / "pipe")
    made = snapshots.checkpoint()
    assert made.files == 1
    (workspace / "a").unlink()
    (workspace / "a").symlink_to("/etc/hostname")
    assert snapshots.changed(made.id) == ("a",)


def test_an_unknown_checkpoint_is_an_error(snapshots):
    with pytest.raises(Unknown):
        snapshots.changed("0123")


@pytest.mark.parametrize("damage", [b"not a database at all" * 100, b""])
def test_a_damaged_store_is_begun_anew(snapshots, workspace, tmp_path, damage):
    write(workspace, {"a": b"1"})
    made = snapshots.checkpoint()
    (store,) = (tmp_path / "state" / "snapshots").glob("*.sqlite")
    store.write_bytes(damage)
    with pytest.raises(Unknown):
        snapshots.changed(made.id)
    again = snapshots.checkpoint()
    write(workspace, {"a": b"2"})
    assert snapshots.before(again.id, ("a",)) == {"a": (b"1", 0o644)}


def test_the_store_is_private(snapshots, workspace, tmp_path):
    previous = os.umask(0)
    try:
        snapshots.checkpoint()
    finally:
        os.umask(previous)
    folder = tmp_path / "state" / "snapshots"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_names_that_are_no_text_do_no_harm(snapshots, workspace):
    (workspace / os.fsdecode(b"bad\xff")).write_text("x")
    (workspace / "zwei wörter").write_text("x")
    made = snapshots.checkpoint()
    assert made.files == 1
    assert "zwei wörter" not in snapshots.changed(made.id)
