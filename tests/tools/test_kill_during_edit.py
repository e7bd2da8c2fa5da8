"""N01: killed at any system call of an edit, the file is old or new, and nothing is left behind."""

import collections
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kimi_tools.base import Hands
from kimi_tools.toolset import Toolset

OLD, NEW = "one\ntwo\nthree\n" * 50, "one\n2\nthree\n" * 50
CALLS = (
    "openat,write,pwrite64,fchown,fchmod,fsetxattr,fsync,rename,renameat,renameat2,unlinkat,close,newfstatat"
)

# Forks a child that stops before its edit, so that strace can be attached to just that.
SERVER = """
import os, signal, sys
from pathlib import Path
from kimi_tools.base import Hands
from kimi_tools.edit import Edit
from kimi_tools.read import Read
from kimi_tools.toolset import Toolset

root, spill = Path(sys.argv[1]), Path(sys.argv[2])

def edit():
    toolset = Toolset((Read(), Edit()), Hands(root=root, spill=spill))
    calls = (
        toolset.run("Read", {"path": "a.txt"}, print),
        toolset.run("Edit", dict(path="a.txt", old_string="two", new_string="2", replace_all=True), print),
    )
    for number, call in enumerate(calls):
        if number == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        try:
            call.send(None)
        except StopIteration:
            pass

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        edit()
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


@pytest.fixture
def traced(workspace: Path, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Do one edit of a.txt under strace with these options; what strace printed."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.fail("strace is not installed")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(workspace), str(tmp_path / "spill")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert server.stdin is not None
    assert server.stdout is not None

    def go(*options: str) -> str:
        server.stdin.write("\n")
        child = int(server.stdout.readline())
        tracer = subprocess.Popen(
            [strace, *options, "-p", str(child)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert tracer.stderr is not None
        first = tracer.stderr.readline()
        if "attached" not in first:
            subprocess.run(["kill", "-CONT", str(child)], check=True)
            pytest.fail(f"strace cannot be used here: {first}")
        subprocess.run(["kill", "-CONT", str(child)], check=True)
        _, said = tracer.communicate(timeout=30)
        assert server.stdout.readline() == "gone\n"
        return said

    with server:
        yield go
        server.stdin.close()


def test_n01_killed_at_each_system_call(traced: Callable[..., str], workspace: Path, hands: Hands) -> None:
    path = workspace / "a.txt"
    path.write_text(OLD)
    path.chmod(0o750)
    made = collections.Counter(re.findall(r"^(\w+)\(", traced(f"--trace={CALLS}"), re.MULTILINE))
    assert path.read_text() == NEW
    assert made["fsync"] == 1
    left, contents = 0, set[str]()
    for name, count in made.items():
        for number in range(1, count + 1):
            path.write_text(OLD)
            path.chmod(0o750)
            traced(f"--trace={name}", f"--inject={name}:signal=SIGKILL:when={number}")
            assert path.read_text() in (OLD, NEW), f"{name} {number}"
            assert path.stat().st_mode & 0o777 == 0o750
            contents.add(path.read_text())
            left += any(entry.name.startswith(".kimi-tmp-") for entry in workspace.iterdir())
            Toolset((), hands)
            assert [entry.name for entry in workspace.iterdir()] == ["a.txt"], f"{name} {number}"
    assert contents == {OLD, NEW}
    assert left > 0
