"""The rules against bash itself: what is allowed runs nothing but what the rule names."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_code.config.lexer import read_script
from kimi_code.config.rules import RuleBook
from kimi_code.config.schema import Permission

_BOOK = RuleBook(Permission(allow=("Bash(aa *)",)), Path("/w"))
# One write, so that calls at the same time do not mix.
_STUB = '#!/bin/bash\nprintf "%s\\0" "${0##*/}" "$@" $\'\\x01\' >> "$LOG"\n'
_PIECES = [
    "aa", "aa ", "bb", "bb ", " ", "\n", ";", " && ", " | ", "&", "'", '"', "\\", "#", " #", "x", "-y ",
    "\\ ", "\\\n", "!", "[", "]", "*", "~", "2>&1", ">/dev/null", ">", "{", "}", ",", "=", "(", ")", "$",
    "\t", "é",
]  # fmt: skip


@pytest.fixture(scope="module")
def stubs() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        for stub in ("aa", "bb"):
            path = Path(name, stub)
            path.write_text(_STUB)
            path.chmod(0o755)
        Path(name, "work").mkdir()
        yield Path(name)


def _run(command: str, stubs: Path) -> list[list[str]]:
    """What bash runs of `aa` and `bb`, each with its arguments, what runs in the background included."""
    log = stubs / "log"
    log.write_bytes(b"")
    # Whoever is still running holds the pipe open.
    reader, writer = os.pipe()
    try:
        subprocess.run(
            ["/bin/bash", "--noprofile", "--norc", "-c", command],
            cwd=stubs / "work",
            env={"PATH": str(stubs), "LOG": str(log), "HOME": "/nowhere"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(writer,),
            check=False,
            timeout=20,
        )
    finally:
        os.close(writer)
        assert os.read(reader, 1) == b""
        os.close(reader)
    return [call.split("\0")[:-1] for call in log.read_bytes().decode().split("\x01\0")][:-1]


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(_PIECES), max_size=12).map(lambda pieces: "aa " + "".join(pieces)))
def test_nothing_else_runs(stubs: Path, command: str) -> None:
    if _BOOK.judge_command(command).decision != "allow":
        return
    ran = _run(command, stubs)
    assert {call[0] for call in ran} <= {"aa"}
    expected = [[word.text for word in part.words] for part in read_script(command).commands]
    if not any(sign in command for sign in "*[~?&|"):
        assert ran == expected[: len(ran)]


@pytest.mark.parametrize(
    "command",
    [
        "aa \\ #x; bb",
        "aa 'a\\'b; aa c'd'",
        "aa a\\\nb",
        'aa "a\\"b" c',
        "aa a#b;aa #c\naa d",
        "aa a''\"\"b",
    ],
)
def test_words_are_those_that_bash_passes(stubs: Path, command: str) -> None:
    read = [[word.text for word in part.words] for part in read_script(command).commands]
    assert _run(command, stubs) == read
    assert os.listdir(stubs / "work") == []
