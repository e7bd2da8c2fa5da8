"""Windows of numbered lines; what is binary is named; what is huge is read in bounds."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kimi_tools.base import Hands, Outcome

Call = Callable[..., Awaitable[Outcome]]
Refusal = Callable[..., Awaitable[str]]


async def test_a_whole_small_file(workspace: Path, call: Call) -> None:
    (workspace / "a.py").write_text("one\n\ttwo\n")
    outcome = await call("Read", path="a.py")
    assert outcome.content == "1\tone\n2\t\ttwo"


async def test_a_window_says_how_to_go_on(workspace: Path, call: Call) -> None:
    (workspace / "a.txt").write_text("".join(f"line {n}\n" for n in range(1, 2501)))
    first = (await call("Read", path="a.txt")).content.splitlines()
    assert first[-2:] == ["1000\tline 1000", "[lines 1-1000 of 2,500; go on with line_offset=1001]"]
    last = (await call("Read", path="a.txt", line_offset=2001)).content.splitlines()
    assert (last[0], last[-1], len(last)) == ("2001\tline 2001", "2500\tline 2500", 500)
    tail = (await call("Read", path="a.txt", line_offset=-2)).content
    assert tail == "2499\tline 2499\n2500\tline 2500"
    middle = (await call("Read", path="a.txt", line_offset=7, n_lines=1)).content
    assert middle == "7\tline 7\n[lines 7-7 of 2,500; go on with line_offset=8]"


async def test_a_window_is_bounded_in_bytes(workspace: Path, call: Call) -> None:
    (workspace / "a.txt").write_text("".join("é" * 500 + "\n" for _ in range(200)))
    outcome = await call("Read", path="a.txt")
    assert len(outcome.content.encode()) < 60_300
    last = outcome.details["lines"]
    assert 50 < last < 70
    assert outcome.content.endswith(f"go on with line_offset={last + 1}]")


async def test_a_long_line_is_cut_and_says_so(workspace: Path, call: Call) -> None:
    (workspace / "a.txt").write_text("x" * 5000 + "\nnext\n")
    lines = (await call("Read", path="a.txt")).content.splitlines()
    assert lines[0] == "1\t" + "x" * 2000 + " [... line cut, it has 5.0 kB]"
    assert lines[1] == "2\tnext"


async def test_what_is_special_is_told(workspace: Path, call: Call) -> None:
    (workspace / "crlf.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert (await call("Read", path="crlf.txt")).content == (
        "1\tone\n2\ttwo\n[lines end with CRLF; begins with a byte order mark; no newline at the end]"
    )
    (workspace / "latin.txt").write_bytes("café\n".encode("latin-1"))
    assert "not UTF-8" in (await call("Read", path="latin.txt")).content
    (workspace / "empty").touch()
    assert (await call("Read", path="empty")).content == "[the file is empty]"


async def test_hidden_characters_are_made_visible(workspace: Path, call: Call) -> None:
    (workspace / "a.txt").write_text("a\x1b[2Jb\u202ec\u200bd\U000e0041e\rf 👩‍💻 é\n", newline="")
    content = (await call("Read", path="a.txt")).content
    assert content.splitlines()[0] == "1\ta\\x1b[2Jb\\u202ec\\u200bd\\U000e0041e\\rf 👩‍💻 é"
    assert "shown as escapes" in content


async def test_a_missing_file_brings_near_names(workspace: Path, refusal: Refusal) -> None:
    (workspace / "src").mkdir()
    (workspace / "src" / "parser.py").touch()
    assert await refusal("Read", path="src/parsers.py") == (
        "src/parsers.py does not exist. Near names: src/parser.py."
    )
    assert "src/parser.py" in await refusal("Read", path="parser.py")
    assert "Glob" in await refusal("Read", path="nothing/like/it.c")


async def test_an_offset_behind_the_end(workspace: Path, refusal: Refusal) -> None:
    (workspace / "a.txt").write_text("one\n")
    assert "only 1 line" in await refusal("Read", path="a.txt", line_offset=5)
    assert "n_lines" in await refusal("Read", path="a.txt", n_lines=0)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x7fELF\x02\x01\x01\0", "ELF"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
        (b"SQLite format 3\0\x10\0", "SQLite"),
        (b"abc\0def", "binary"),
        ("text".encode("utf-16"), "UTF-16"),
    ],
)
async def test_n13_binary_files_are_named(workspace: Path, refusal: Refusal, head: bytes, kind: str) -> None:
    data = head + bytes(range(256))
    (workspace / "file").write_bytes(data)
    assert kind in await refusal("Read", path="file")
    assert kind in await refusal("Edit", path="file", old_string="a", new_string="b")
    assert kind in await refusal("Write", path="file", content="text")
    assert (workspace / "file").read_bytes() == data


async def test_n11_a_file_larger_than_what_is_held(workspace: Path, call: Call, hands: Hands) -> None:
    block = "".join(f"{n:09d} some words to fill a line of text\n" for n in range(20_000))
    with open(workspace / "big.txt", "w") as file:
        for _ in range(30):
            file.write(block)
    first = (await call("Read", path="big.txt", n_lines=2)).content.splitlines()
    assert first[0].startswith("1\t000000000 some")
    assert first[2] == "[lines 1-2 of a file of 26 MB; go on with line_offset=3]"
    deep = (await call("Read", path="big.txt", line_offset=599_999)).content.splitlines()
    assert [line.split("\t")[0] for line in deep] == ["599999", "600000"]
    tail = (await call("Read", path="big.txt", line_offset=-1)).content
    assert tail.startswith("600000\t000019999 some")
    assert hands.seen[str(workspace / "big.txt")].digest == ""


async def test_n12_ten_sparse_gigabytes(workspace: Path, refusal: Refusal, call: Call) -> None:
    (workspace / "zeros").touch()
    os.truncate(workspace / "zeros", 10**10)
    assert await refusal("Read", path="zeros") == "zeros is binary data (10 GB), which Read does not show."
    (workspace / "log.txt").write_text("a line\n" * 2000)
    os.truncate(workspace / "log.txt", 10**10)
    tail = (await call("Read", path="log.txt", line_offset=1999)).content.splitlines()
    assert tail[0] == "1999\ta line"
    assert tail[2].startswith("2001\t\\x00")
    assert "does not end within 8.0 MB" in tail[-1]


async def test_n12_a_line_without_an_end(workspace: Path, call: Call, refusal: Refusal) -> None:
    with open(workspace / "line.txt", "w") as file:
        for _ in range(20):
            file.write("x" * 1_000_000)
        file.write("\nend\n")
    content = (await call("Read", path="line.txt")).content
    assert len(content) < 2300
    assert "line 1 does not end within 8.0 MB" in content
    assert (await call("Read", path="line.txt", line_offset=2)).content == "2\tend"
    assert "only 2 lines" in await refusal("Read", path="line.txt", line_offset=9)
    assert "large" in await refusal("Edit", path="line.txt", old_string="end", new_string="END")
