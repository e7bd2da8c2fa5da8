"""Verification commands in the workspace, in throw-away copies and at checkpoints."""

import os
import sys

import pytest

from kimi_tools.bubblewrap import Bubblewrap, bwrap_path
from kimi_tools.workspace import Workspace

BUGGY = "def add(a, b):\n    return a - b\n"
FIXED = "def add(a, b):\n    return a + b\n"
TEST = "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
PYTEST = f"{sys.executable} -m pytest -q"


class WithoutOverlay(Bubblewrap):
    """As on a kernel that does not lay folders over each other for this user."""

    overlay = property(lambda self: False)  # type: ignore[assignment]


@pytest.fixture(params=["overlay", "copy", "unboxed"])
def place(request, rules, workspace, tmp_path):
    (workspace / "calc.py").write_text(BUGGY)
    (workspace / "test_calc.py").write_text(TEST)
    if request.param == "copy":
        program = bwrap_path()
        assert program is not None
        return Workspace(workspace, WithoutOverlay(program, rules), tmp_path / "state")
    if request.param == "overlay":
        box = request.getfixturevalue("kernel_box")
        assert box.overlay
        return Workspace(workspace, box, tmp_path / "state")
    from kimi_tools.box import Unboxed

    return Workspace(workspace, Unboxed(rules), tmp_path / "state")


async def test_a_failing_check_says_what_fails(place, workspace):
    result = await place.check(PYTEST, timeout_s=60)
    assert result.exit_code == 1
    assert result.failures == ("test_calc.py::test_add",)
    assert "assert add(1, 2) == 3" in result.summary
    assert "1 failed" in result.summary
    assert sorted(os.listdir(workspace)) == ["calc.py", "test_calc.py"], "a check leaves nothing behind"


async def test_a_trial_shows_the_change_and_the_workspace_does_not(place, workspace):
    result = await place.trial(PYTEST, {"calc.py": FIXED}, timeout_s=60)
    assert result.exit_code == 0, result.output
    assert result.summary.startswith("1 passed")
    assert (workspace / "calc.py").read_text() == BUGGY
    assert sorted(os.listdir(workspace)) == ["calc.py", "test_calc.py"]
    assert list((place._state / "trials").iterdir()) == []


async def test_a_trial_can_add_files_and_folders(place, workspace):
    result = await place.trial("cat a/b/new.txt", {"a/b/new.txt": "hello"}, timeout_s=60)
    assert result.output == "hello"
    assert not (workspace / "a").exists()


async def test_a_trial_keeps_the_mode_of_what_it_replaces(place, workspace):
    (workspace / "go.sh").write_text("exit 1\n")
    (workspace / "go.sh").chmod(0o755)
    result = await place.trial("./go.sh", {"go.sh": "#!/bin/sh\necho ran\n"}, timeout_s=60)
    assert result.output == "ran\n"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", ".git/config", "link/x", "."])
async def test_a_trial_outside_the_workspace_is_not_made(place, workspace, path):
    (workspace / "link").symlink_to("/tmp")
    result = await place.trial("touch canary", {path: "x"}, timeout_s=60)
    assert result.exit_code is None
    assert result.summary


async def test_what_a_trial_writes_is_thrown_away(place, workspace):
    await place.trial("echo x > calc.py; rm test_calc.py; mkdir d", {}, timeout_s=60)
    assert (workspace / "calc.py").read_text() == BUGGY
    assert sorted(os.listdir(workspace)) == ["calc.py", "test_calc.py"]


async def test_a_command_that_hangs_is_cut_off(place):
    result = await place.trial("echo begun; sleep 1000", {}, timeout_s=1)
    assert result.timed_out
    assert result.exit_code == 124
    assert "begun" in result.summary
    assert "did not end within 1 s" in result.summary


async def test_a_check_at_a_checkpoint_sees_what_was_there(place, workspace):
    (workspace / "old.txt").write_text("old")
    made = await place.checkpoint()
    assert made.files == 3
    (workspace / "calc.py").write_text(FIXED)
    (workspace / "old.txt").unlink()
    (workspace / "new").mkdir()
    (workspace / "new" / "file.txt").write_text("x")
    assert await place.changed(made.id) == ("calc.py", "new/file.txt", "old.txt")
    result = await place.check_at(made.id, f"cat old.txt; test ! -e new/file.txt && {PYTEST}", timeout_s=60)
    assert result.failures == ("test_calc.py::test_add",)
    assert result.output.startswith("old")
    assert (await place.check(PYTEST, timeout_s=60)).exit_code == 0
    assert not (workspace / "old.txt").exists()


async def test_a_quick_change_of_the_same_size_is_not_hidden_by_cached_bytecode(place, workspace):
    run = f"{sys.executable} -c 'import calc; print(calc.add(2, 1))'"
    (workspace / "calc.py").write_text(BUGGY)
    os.utime(workspace / "calc.py")
    command = f"env -u PYTHONDONTWRITEBYTECODE {run}"
    assert (await place.check(command, timeout_s=60)).output == "1\n"
    assert (workspace / "__pycache__").is_dir()
    assert len(FIXED) == len(BUGGY)
    assert (await place.trial(command, {"calc.py": FIXED}, timeout_s=60)).output == "3\n"


async def test_pytest_that_is_not_there_could_not_start(place, workspace):
    result = await place.check("echo '/usr/bin/python3: No module named pytest'; exit 1", timeout_s=60)
    assert result.exit_code is None


async def test_a_command_that_is_not_there(place):
    assert (await place.check("no-such-tool", timeout_s=60)).exit_code == 127


async def test_without_a_box_a_check_could_not_start(rules, workspace, tmp_path):
    place = Workspace(workspace, Bubblewrap(tmp_path / "no-bwrap", rules), tmp_path / "state")
    result = await place.check("touch canary", timeout_s=60)
    assert result.exit_code is None
    assert "sandbox" in result.summary
    assert (await place.trial("touch canary", {}, timeout_s=60)).exit_code is None
    assert not (workspace / "canary").exists()


async def test_checks_and_suspects_are_found(place, workspace):
    (command,) = place.detect_checks()
    assert command.endswith("-m pytest -q")
    result = await place.check(PYTEST, timeout_s=60)
    shown = place.suspects(["make the tests pass", result.output], 9000)
    assert list(shown) == ["calc.py", "test_calc.py"]
    assert shown["calc.py"] == place.read_text("calc.py")
