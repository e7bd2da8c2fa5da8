"""What the model is told by the Bash tool."""

import asyncio

import msgspec
import pytest

from kimi_tools.base import Hands, ToolFailure
from kimi_tools.bash import Bash, BashArguments
from kimi_tools.box import NoBox


@pytest.fixture
def hands(workspace, tmp_path):
    return Hands(root=workspace, spill=tmp_path / "spill")


@pytest.fixture
def bash(any_box, hands):
    async def go(command, timeout=30):
        async with asyncio.timeout(60):
            return await Bash(any_box).run(
                hands, BashArguments(command=command, timeout=timeout), lambda _: None
            )

    return go


async def test_a_command_that_succeeds(bash):
    outcome = await bash("echo hi")
    assert outcome.content == "hi"
    assert not outcome.is_error
    assert outcome.details["exit_code"] == 0
    assert outcome.details["output_bytes"] == 3


async def test_a_command_that_fails(bash):
    outcome = await bash("echo out; echo err >&2; exit 3")
    assert outcome.content == "out\nerr\n[exit code 3]"
    assert outcome.is_error


async def test_no_output_is_said(bash):
    assert (await bash("true")).content == "[no output]"


async def test_no_start_up_file_is_read(bash, workspace, monkeypatch):
    (workspace / "rc").write_text("echo canary\n")
    monkeypatch.setenv("BASH_ENV", str(workspace / "rc"))
    monkeypatch.setenv("ENV", str(workspace / "rc"))
    assert (await bash("echo hi")).content == "hi"


async def test_a_long_output_is_clipped_and_can_be_read_in_full(bash, hands, any_box):
    outcome = await bash("seq 20000")
    assert outcome.content.startswith("1\n2\n3\n")
    assert outcome.content.endswith("19999\n20000")
    assert len(outcome.content) < 33_000
    spill = outcome.details["spill"]
    assert spill in outcome.content
    assert (await bash(f"wc -l < {spill}")).content == "20000"


async def test_o03_the_time_limit_is_told(bash):
    outcome = await bash("echo begun; sleep 1000", timeout=1)
    assert outcome.content.startswith("begun\n[stopped after 1 s")
    assert outcome.details["timed_out"]
    assert outcome.is_error


async def test_o05_background_processes_are_named(bash):
    outcome = await bash("sleep 1000 & echo up")
    assert outcome.content == "up\n[background processes do not outlive the call; ended: sleep]"
    assert not outcome.is_error


@pytest.mark.parametrize("editor", ["vim", "vi x", "cd . && nano x", "EDITOR=x; emacs x", "/usr/bin/vim x"])
async def test_o07_an_editor_is_refused_with_a_way_out(bash, editor):
    with pytest.raises(ToolFailure, match=r"non-interactive.*use Edit"):
        await bash(editor)


@pytest.mark.parametrize("command", ["vim -es -c q x", "emacs --batch x", "grep vim x", "echo vi", "cat vim"])
def test_o07_a_script_or_a_word_is_no_editor(any_box, hands, command):
    assert Bash(any_box).effect(hands, BashArguments(command=command)).command == command


@pytest.mark.parametrize("command", ["python3", "sudo -S true", "read answer", "bash", "git commit", "less"])
async def test_o07_what_would_ask_ends_and_says_why(bash, repository, command):
    (repository / "a.txt").write_text("two\n")
    outcome = await bash(f"{command}")
    assert "non-interactive" in outcome.content
    assert not outcome.details["timed_out"]


@pytest.mark.parametrize(
    "command",
    [
        "git commit -a",
        "git log",
        "git rebase -i --root",
        "python3 -c 'input()'",
        "cat",
        "less a.txt",
        "ssh -o X=y h",
    ],
)
async def test_o07_nothing_hangs(bash, repository, command):
    (repository / "a.txt").write_text("two\n")
    assert not (await bash(command)).details["timed_out"]


async def test_git_that_cannot_write_is_explained(kernel_box, hands, repository):
    outcome = await Bash(kernel_box).run(hands, BashArguments(command="git add a.txt"), lambda _: None)
    assert outcome.is_error
    assert ".git is read-only" in outcome.content


async def test_without_a_box_the_reason_is_told(hands, workspace):
    with pytest.raises(ToolFailure, match=r"no sandbox here: no kernel support.*not run"):
        await Bash(NoBox("no kernel support.")).run(hands, BashArguments(command="touch x"), lambda _: None)
    assert list(workspace.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("./a.txt", "[exit code 126: found, but cannot be executed]"),
        ("nonesuch", "[exit code 127: command not found]"),
        ("kill -9 $$", "[exit code 137: ended by signal 9]"),
        ("kill -11 $$", "[exit code 139: ended by signal 11]"),
    ],
)
async def test_o13_exit_codes_are_explained(bash, workspace, command, text):
    (workspace / "a.txt").write_text("x")
    assert text in (await bash(command)).content


@pytest.mark.parametrize("command", ["", "  \n", "echo a\0b", "x" * 200_000])
def test_what_is_no_command(any_box, hands, command):
    with pytest.raises(ToolFailure):
        Bash(any_box).effect(hands, BashArguments(command=command))


@pytest.mark.parametrize(
    "arguments", [{"command": "ls", "sandbox": False}, {"command": "ls", "timeout": 0}, {}]
)
def test_arguments_are_strict(arguments):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(arguments, BashArguments)


def test_the_effect_is_the_command(any_box, hands):
    effect = Bash(any_box).effect(hands, BashArguments(command="make test"))
    assert (effect.kind, effect.command) == ("execute", "make test")
