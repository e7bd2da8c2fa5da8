"""`kimi-code sandbox -- PROGRAM`: an argument vector, its exit code, and nothing else."""

import os
import signal
import subprocess
import sys
import time

import pexpect
import pytest

ENTRY = [sys.executable, "-c", "from kimi_code.cli.entry import main; main()", "sandbox"]


@pytest.fixture
def sandbox(workspace, monkeypatch):
    monkeypatch.chdir(workspace)

    def go(*arguments, **settings):
        return subprocess.run(
            [*ENTRY, *arguments], capture_output=True, text=True, timeout=60, check=False, **settings
        )

    return go


def test_o13_the_exit_code_and_the_output_are_the_programs(sandbox):
    ran = sandbox("--", "bash", "-c", "echo out; echo err >&2; exit 7")
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, "out\n", "err\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("true",), 0),
        (("no-such-program",), 127),
        (("/etc/passwd",), 126),
        (("bash", "-c", "kill -9 $$"), 137),
    ],
)
def test_o13_exit_codes(sandbox, arguments, code):
    assert sandbox("--", *arguments).returncode == code


def test_arguments_are_passed_as_they_are(sandbox):
    words = ["a b", "$HOME", "*", "", "--help", "-c", "'\""]
    ran = sandbox("--", "printf", "<%s>", *words)
    assert ran.stdout == "".join(f"<{word}>" for word in words)


def test_standard_input_is_passed_on(sandbox):
    assert sandbox("--", "cat", input="hello").stdout == "hello"


def test_c01_only_the_folder_is_written(sandbox, workspace, tmp_path):
    assert sandbox("--", "touch", str(workspace / "here")).returncode == 0
    assert sandbox("--", "touch", str(tmp_path / "there")).returncode != 0
    assert (workspace / "here").exists()
    assert not (tmp_path / "there").exists()


def test_c22_there_is_no_terminal_although_the_caller_has_one(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    probe = "echo x > /dev/tty && touch wrote; test -t 0 && touch stdin; true"
    control = pexpect.spawn("bash", ["-c", probe], timeout=30)
    control.expect(pexpect.EOF)
    control.close()
    assert sorted(os.listdir(workspace)) == ["stdin", "wrote"]
    for name in ("stdin", "wrote"):
        (workspace / name).unlink()
    boxed = pexpect.spawn(ENTRY[0], [*ENTRY[1:], "--", "bash", "-c", probe], timeout=30)
    boxed.expect(pexpect.EOF)
    boxed.close()
    assert boxed.exitstatus == 0
    assert os.listdir(workspace) == []


def test_an_interrupt_ends_the_program(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    running = subprocess.Popen([*ENTRY, "--", "bash", "-c", "touch up; sleep 1000"], start_new_session=True)
    for _ in range(400):
        if (workspace / "up").exists():
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    assert running.wait(20) == 130
    assert os.listdir(workspace) == ["up"]


@pytest.mark.parametrize(
    "arguments", [(), ("--cwd", "/no/such/folder", "--", "true"), ("--nonsense", "true")]
)
def test_bad_usage_is_told(sandbox, arguments):
    ran = sandbox(*arguments)
    assert ran.returncode == 2
    assert ran.stderr.startswith("kimi-code: ")
    assert "Traceback" not in ran.stderr


def test_c20_in_a_box_there_is_no_second_one_and_nothing_runs(sandbox, workspace):
    ran = sandbox("--", *ENTRY, "--", "touch", str(workspace / "canary"))
    assert ran.returncode == 2
    assert "no sandbox here, so nothing was run" in ran.stderr
    assert not (workspace / "canary").exists()
