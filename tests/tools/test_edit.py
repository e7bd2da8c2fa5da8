"""An edit changes the bytes of its span and nothing else, or says why not and what stands there."""

import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_tools.base import Outcome
from kimi_tools.match import find

Call = Callable[..., Awaitable[Outcome]]
Refusal = Callable[..., Awaitable[str]]

CODE = """\
class Queue:
    def put(self, item):
        if self.full:
            raise Full
        self.items.append(item)

    def get(self):
        if self.empty:
            raise Empty
        return self.items.pop()
"""


@pytest.fixture
async def code(workspace: Path, call: Call) -> Path:
    path = workspace / "queue.py"
    path.write_text(CODE)
    await call("Read", path="queue.py")
    return path


async def test_one_place(code: Path, call: Call) -> None:
    outcome = await call("Edit", path="queue.py", old_string="items.pop()", new_string="items.pop(0)")
    assert code.read_text() == CODE.replace("pop()", "pop(0)")
    assert outcome.content == "Edited queue.py at line 10."
    assert outcome.changed == ("queue.py",)
    assert (outcome.details["added"], outcome.details["removed"]) == (1, 1)
    assert "-        return self.items.pop()\n+        return self.items.pop(0)" in outcome.details["diff"]


async def test_edit_after_edit_needs_no_new_read(code: Path, call: Call) -> None:
    for old, new in (("pop()", "pop(0)"), ("append(item)", "append((item,))")):
        await call("Edit", path="queue.py", old_string=old, new_string=new)
    assert code.read_text() == CODE.replace("pop()", "pop(0)").replace("append(item)", "append((item,))")


async def test_n02_only_the_span_changes(workspace: Path, call: Call) -> None:
    path = workspace / "mixed"
    data = b"\xef\xbb\xbfone\r\n\ttwo  \r\nthree\n\n\x1b[0m\xe2\x80\xae four\r\rfive"
    path.write_bytes(data)
    path.chmod(0o755)
    await call("Read", path="mixed")
    await call("Edit", path="mixed", old_string="three", new_string="3")
    assert path.read_bytes() == data.replace(b"three", b"3")
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


async def test_n02_line_ends_of_the_file_are_kept(workspace: Path, call: Call) -> None:
    path = workspace / "dos.txt"
    path.write_bytes(b"one\r\ntwo\r\nthree")
    await call("Read", path="dos.txt")
    await call("Edit", path="dos.txt", old_string="one\ntwo\n", new_string="1\n1.5\n2\n")
    assert path.read_bytes() == b"1\r\n1.5\r\n2\r\nthree"
    await call("Edit", path="dos.txt", old_string="three", new_string="3\n4")
    assert path.read_bytes() == b"1\r\n1.5\r\n2\r\n3\r\n4"


async def test_n02_line_ends_given_wrongly_for_a_unix_file(workspace: Path, call: Call) -> None:
    path = workspace / "unix.txt"
    path.write_bytes(b"one\ntwo\nthree\n")
    await call("Read", path="unix.txt")
    outcome = await call("Edit", path="unix.txt", old_string="one\r\ntwo\r\n", new_string="1\r\n2\r\n")
    assert path.read_bytes() == b"1\n2\nthree\n"
    assert "line ends differed" in outcome.content


async def test_n04_the_target_changes_and_the_link_stays(code: Path, workspace: Path, call: Call) -> None:
    (workspace / "link.py").symlink_to("queue.py")
    await call("Edit", path="link.py", old_string="raise Full", new_string="return False")
    assert (workspace / "link.py").readlink() == Path("queue.py")
    assert "return False" in code.read_text()


async def test_n06_not_read_or_changed_since(code: Path, workspace: Path, refusal: Refusal) -> None:
    (workspace / "other.py").write_text(CODE)
    assert "was not read" in await refusal("Edit", path="other.py", old_string="Full", new_string="x")
    code.write_text(CODE + "# mine\n")
    assert "changed since" in await refusal("Edit", path="queue.py", old_string="raise Full", new_string="x")
    assert code.read_text() == CODE + "# mine\n"


async def test_n09_no_match_shows_the_nearest_text(code: Path, refusal: Refusal) -> None:
    said = await refusal(
        "Edit",
        path="queue.py",
        old_string="    def get(self):\n        if self.is_empty:\n            raise Empty",
        new_string="x",
    )
    assert "nothing was changed. The nearest text, lines 7-9:" in said
    assert "7\t    def get(self):\n8\t        if self.empty:\n9\t            raise Empty" in said
    assert "'        if self.empty:'" in said
    assert code.read_text() == CODE


async def test_n09_no_match_with_line_numbers_or_done_before(code: Path, refusal: Refusal) -> None:
    said = await refusal(
        "Edit", path="queue.py", old_string="10\t        return self.items.pop()", new_string="x"
    )
    assert "Leave out the line numbers" in said
    said = await refusal(
        "Edit",
        path="queue.py",
        old_string="        return nothing",
        new_string="        return self.items.pop()",
    )
    assert "perhaps the change was made before" in said
    said = await refusal("Edit", path="queue.py", old_string="%%%%%%", new_string="x")
    assert "Nothing in the file is like it" in said


async def test_n09_two_matches_name_their_lines(code: Path, call: Call, refusal: Refusal) -> None:
    said = await refusal("Edit", path="queue.py", old_string="raise ", new_string="return ")
    assert "stands 2 times in queue.py (lines 4, 9)" in said
    assert code.read_text() == CODE
    outcome = await call("Edit", path="queue.py", old_string="raise ", new_string="return ", replace_all=True)
    assert code.read_text() == CODE.replace("raise ", "return ")
    assert outcome.content == "Edited queue.py at 2 places."


async def test_n09_overlapping_matches_change_nothing(workspace: Path, call: Call, refusal: Refusal) -> None:
    (workspace / "a.txt").write_text("aaa\n")
    await call("Read", path="a.txt")
    assert "2 times" in await refusal("Edit", path="a.txt", old_string="aa", new_string="b")
    said = await refusal("Edit", path="a.txt", old_string="aa", new_string="b", replace_all=True)
    assert "overlap" in said
    assert (workspace / "a.txt").read_text() == "aaa\n"


async def test_the_same_or_nothing(code: Path, refusal: Refusal) -> None:
    assert "are the same" in await refusal("Edit", path="queue.py", old_string="x", new_string="x")
    assert "is empty" in await refusal("Edit", path="queue.py", old_string="", new_string="x")


async def test_other_indentation_is_followed_and_said(code: Path, call: Call) -> None:
    outcome = await call(
        "Edit",
        path="queue.py",
        old_string="if self.empty:\n    raise Empty\nreturn self.items.pop()\n",
        new_string=(
            "if self.empty:\n    if self.wait:\n        self.sleep()\n\n"
            "    raise Empty\nreturn self.items.pop()\n"
        ),
    )
    assert "indentation differed" in outcome.content
    assert code.read_text() == CODE.replace(
        "            raise Empty\n",
        "            if self.wait:\n                self.sleep()\n\n            raise Empty\n",
    )


async def test_white_space_at_the_end_of_lines_is_overlooked_and_said(workspace: Path, call: Call) -> None:
    (workspace / "a.txt").write_text("one  \ntwo\t\nthree\n")
    await call("Read", path="a.txt")
    outcome = await call("Edit", path="a.txt", old_string="one\ntwo\n", new_string="1\n2\n")
    assert "trailing white space differed" in outcome.content
    assert (workspace / "a.txt").read_text() == "1\n2\nthree\n"


async def test_tabs_where_the_model_wrote_spaces(workspace: Path, call: Call) -> None:
    (workspace / "a.go").write_text("func f() {\n\tif x {\n\t\treturn\n\t}\n}\n")
    await call("Read", path="a.go")
    await call(
        "Edit",
        path="a.go",
        old_string="    if x {\n        return\n    }",
        new_string="    if x {\n        log()\n        return\n    }",
    )
    assert (workspace / "a.go").read_text() == "func f() {\n\tif x {\n\t\tlog()\n\t\treturn\n\t}\n}\n"


async def test_what_is_like_it_in_two_places_is_not_guessed(
    workspace: Path, call: Call, refusal: Refusal
) -> None:
    text = "if a:\n    go()\n    stop()\nif b:\n        go()\n        stop()\n"
    (workspace / "a.py").write_text(text)
    await call("Read", path="a.py")
    said = await refusal(
        "Edit", path="a.py", old_string="go()\nstop()", new_string="stop()", replace_all=True
    )
    assert "2 places are like it (lines 2, 5)" in said
    assert (workspace / "a.py").read_text() == text


async def test_indentation_that_follows_no_one_rule_is_refused(code: Path, refusal: Refusal) -> None:
    said = await refusal(
        "Edit",
        path="queue.py",
        old_string="def get(self):\n  if self.empty:\n      raise Empty",
        new_string="pass",
    )
    assert "does not stand" in said
    assert code.read_text() == CODE


async def test_n13_text_that_is_not_utf8_is_not_rewritten(
    workspace: Path, call: Call, refusal: Refusal
) -> None:
    data = "café = 1\n".encode("latin-1")
    (workspace / "a.py").write_bytes(data)
    await call("Read", path="a.py")
    assert "not UTF-8" in await refusal("Edit", path="a.py", old_string="= 1", new_string="= 2")
    assert (workspace / "a.py").read_bytes() == data


async def test_a_missing_file(workspace: Path, refusal: Refusal) -> None:
    assert "does not exist" in await refusal("Edit", path="no.py", old_string="a", new_string="b")


async def test_hidden_differences_are_visible_in_the_answer(
    workspace: Path, call: Call, refusal: Refusal
) -> None:
    (workspace / "a.py").write_text("if user == 'admin\u200b':\n")
    await call("Read", path="a.py")
    said = await refusal("Edit", path="a.py", old_string="if user == 'admin':", new_string="x")
    assert "\\u200b" in said
    assert "\u200b" not in said


LINES = st.lists(st.sampled_from(["a", "b  ", "    a", "\tb", "", "a\r", "é"]), max_size=8).map("\n".join)


@given(text=LINES, old=LINES.filter(bool), new=LINES)
def test_n02_whatever_is_found_is_like_what_was_asked_for(text: str, old: str, new: str) -> None:
    """Each span holds what was asked for, but for white space; and an exact match comes before all others."""
    found = find(text, old, new)
    for span in found.spans:
        assert text[span.start : span.stop].split() == old.split()
        assert span.line == text.count("\n", 0, span.start) + 1
    if old in text:
        assert found.note == ""
        assert all(text[span.start : span.stop] == old for span in found.spans)
