"""What a model sees of the tools, whole; how its calls are checked; how long answers are cut."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from kimi_tools.base import Effect, Hands, Outcome, ToolFailure
from kimi_tools.edit import EditArguments
from kimi_tools.grep import GrepArguments
from kimi_tools.read import ReadArguments
from kimi_tools.todo import TodoItem, TodoListArguments
from kimi_tools.toolset import CONTENT_BYTES, Toolset

Call = Callable[..., Awaitable[Outcome]]
SNAPSHOT = Path(__file__).parent / "snapshots" / "specs.json"
NAMES = ["Read", "Write", "Edit", "Glob", "Grep", "Bash", "TodoList"]


def test_the_specs_are_what_they_were(toolset: Toolset) -> None:
    """A change here changes what every model sees, and makes every stored prefix void: mean it."""
    assert json.dumps(toolset.specs(), indent=1) + "\n" == SNAPSHOT.read_text()


def test_the_specs_are_schemas_in_one_piece(toolset: Toolset) -> None:
    specs = toolset.specs()
    assert [spec["name"] for spec in specs] == NAMES
    for spec in specs:
        jsonschema.Draft202012Validator.check_schema(spec["parameters"])
    text = json.dumps(specs)
    assert all(word not in text for word in ("$ref", "$defs", '"title": "', '"default"'))


def test_the_specs_are_small(toolset: Toolset) -> None:
    """In bytes, since the tokenizer is not here: about 4.4 bytes a token in this text, 950 tokens at most."""
    functions = [{"type": "function", "function": spec} for spec in toolset.specs()]
    text = "\n".join(json.dumps(function, separators=(",", ":")) for function in functions)
    assert len(text) < 3_700


def test_kimi_codes_names_are_kept(toolset: Toolset) -> None:
    fields = {spec["name"]: list(spec["parameters"]["properties"]) for spec in toolset.specs()}
    assert fields == {
        "Read": ["path", "line_offset", "n_lines"],
        "Write": ["path", "content", "mode"],
        "Edit": ["path", "old_string", "new_string", "replace_all"],
        "Glob": ["pattern", "path", "head_limit"],
        "Grep": [
            "pattern",
            "path",
            "glob",
            "output_mode",
            "-i",
            "-n",
            "-A",
            "-B",
            "-C",
            "head_limit",
            "multiline",
        ],
        "Bash": ["command", "timeout", "description"],
        "TodoList": ["todos"],
    }


@pytest.mark.parametrize(
    ("name", "arguments", "meant"),
    [
        ("Read", {"path": "a", "line_offset": "5"}, ReadArguments(path="a", line_offset=5)),
        ("Read", {"file_path": "a", "limit": 3.0}, ReadArguments(path="a", n_lines=3)),
        ("Read", {"path": "a", "n_lines": None}, ReadArguments(path="a")),
        (
            "Grep",
            {"pattern": "x", "i": "true", "-A": "2"},
            GrepArguments(pattern="x", ignore_case=True, after=2),
        ),
        (
            "Edit",
            {"path": "a", "old_str": "x", "new_str": "", "replace_all": "false"},
            EditArguments(path="a", old_string="x", new_string=""),
        ),
        (
            "TodoList",
            {"todos": '[{"content": "a", "status": "completed"}, "b"]'},
            TodoListArguments(todos=[TodoItem(title="a", status="done"), TodoItem(title="b")]),
        ),
    ],
)
def test_near_misses_are_understood(
    toolset: Toolset, name: str, arguments: dict[str, Any], meant: msgspec.Struct
) -> None:
    assert toolset.validate(name, arguments) == meant


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("Read", {}, "Read: path is missing. Read takes: path (required), line_offset, n_lines."),
        ("Read", {"path": None}, "Read: path is missing."),
        ("Read", {"path": "a", "line_offset": "x"}, "Read: line_offset: "),
        ("Read", {"path": 3}, "Read: path: "),
        ("Read", {"path": "a", "lines": 3}, "Read has no field 'lines'. Read takes: path (required)"),
        ("Bash", {"command": "ls", "disable_sandbox": True}, "Bash has no field 'disable_sandbox'."),
        ("Bash", {"command": "ls", "approved": True}, "Bash has no field 'approved'."),
        ("Write", {"path": "a", "content": "", "mode": "x"}, "Write: mode: Invalid enum value"),
        ("TodoList", {"todos": [{"title": "a", "status": "maybe"}]}, "TodoList: todos[0].status: "),
        ("TodoList", {"todos": [{"title": "a", "priority": 1}]}, "TodoList.todos has no field 'priority'."),
        ("TodoList", {"todos": "not json"}, "TodoList: todos: "),
        (
            "Reed",
            {},
            "There is no tool 'Reed'. The tools are: Read, Write, Edit, Glob, Grep, Bash, TodoList.",
        ),
    ],
)
def test_a25_wrong_calls_are_told_what_to_change(
    toolset: Toolset, name: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ToolFailure) as caught:
        toolset.validate(name, arguments)
    assert str(caught.value).startswith(said)


async def test_a_field_given_twice_under_two_names_is_an_error(toolset: Toolset) -> None:
    with pytest.raises(ToolFailure, match="file_path"):
        toolset.validate("Read", {"path": "a", "file_path": "b"})


async def test_the_plan(call: Call) -> None:
    outcome = await call("TodoList", todos=[{"title": "look", "status": "in_progress"}, {"title": "act"}])
    assert outcome.content == "[>] look\n[ ] act"
    assert outcome.details["todos"] == [
        {"title": "look", "status": "in_progress"},
        {"title": "act", "status": "pending"},
    ]


class _SayArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: str
    times: int


class _Say:
    """A tool that says as much as it is asked to."""

    name = "Say"
    Arguments = _SayArguments

    def effect(self, hands: Hands, args: _SayArguments) -> Effect:
        return Effect(kind="none", target="")

    async def run(self, hands: Hands, args: _SayArguments, output: Callable[[str], None]) -> Outcome:
        return Outcome(content=args.text * args.times)


async def test_q06_what_is_too_long_is_cut_and_kept_in_a_file(toolset: Toolset, hands: Hands) -> None:
    say = Toolset((_Say(),), hands)
    outcome = await say.run("Say", {"text": "a line of é\n", "times": 400_000}, print)
    assert len(outcome.content.encode()) < CONTENT_BYTES + 300
    assert outcome.content.startswith("a line of é\n")
    assert outcome.content.endswith("a line of é\n")
    note = next(line for line in outcome.content.splitlines() if line.startswith("[..."))
    (path,) = hands.spill.glob("Say-*.txt")
    assert f"left out of 5,200,000; all of it: {path} ...]" in note
    assert path.stat().st_size == 5_200_000
    assert path.stat().st_mode & 0o777 == 0o600
    read = await toolset.run("Read", {"path": str(path), "line_offset": 399_999}, print)
    assert read.content == "399999\ta line of é\n400000\ta line of é"


async def test_q06_one_line_without_an_end(hands: Hands) -> None:
    outcome = await Toolset((_Say(),), hands).run("Say", {"text": "é", "times": 3_000_000}, print)
    assert len(outcome.content.encode()) < CONTENT_BYTES + 300
    assert "\ufffd" not in outcome.content


async def test_what_would_hide_something_is_made_visible(hands: Hands) -> None:
    outcome = await Toolset((_Say(),), hands).run("Say", {"text": "a\x1b[8mb\u202e\tc\n", "times": 1}, print)
    assert outcome.content == "a\\x1b[8mb\\u202e\tc\n"
