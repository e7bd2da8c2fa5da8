"""Arguments that are nearly JSON: mended where they have one reading, and only there."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_code.adapters.repair import RAW, NotReadable, raw_problem, read_arguments, read_object

MENDED: dict[str, dict[str, Any]] = {
    "": {},
    "null": {},
    '{"a": 1}': {"a": 1},
    '{"a": 1,}': {"a": 1},
    "{'a': 'it\\'s', \"b\": '\"'}": {"a": "it's", "b": '"'},
    '{a: 1, $b-c: "x"}': {"a": 1, "$b-c": "x"},
    '{"a": True, "b": False, "c": None}': {"a": True, "b": False, "c": None},
    '{"a": "one\ntwo\tthree"}': {"a": "one\ntwo\tthree"},
    '{"a": "\\d+\\.py"}': {"a": "\\d+\\.py"},
    '```json\n{"a": 1}\n```': {"a": 1},
    '{"a": "x"': {"a": "x"},
    '{"a": ["x", "y"': {"a": ["x", "y"]},
    '{"a": [1, 2}': {"a": [1, 2]},
    '{"a": {"b": [{"c": "d"': {"a": {"b": [{"c": "d"}]}},
    '{"a": 1}}': {"a": 1},
    '{"a": 1};': {"a": 1},
    '"{\\"a\\": 1}"': {"a": 1},
    '{"a": "\\ud83d\\ude00", \'b\': 1}': {"a": "😀", "b": 1},
    '{"a": -1.5e3, b: .5}': {"a": -1500.0, "b": 0.5},
    '{"a": "line \\\ncontinued",}': {"a": "line \ncontinued"},
}

UNREADABLE = [
    "ls -l",
    "[1, 2]",
    '"text"',
    "12",
    "{",
    '{"a": "rm -rf /home/me',
    '{"a": "x", ',
    '{"timeout": 12',
    '{"a":',
    '{"a": }',
    '{"a": "echo "hi""}',
    '{"a": 1 "b": 2}',
    '{"a": 1} {"b": 2}',
    '{"a": 1, "a": 2,}',
    '{"a": NaN}',
    '{"a": 1e999, }',
    '{"a": "x\\',
    "{'a':" * 100,
    "[" * 100_000,
]


@pytest.mark.parametrize("text", MENDED)
def test_what_is_mended(text: str) -> None:
    assert read_arguments(text) == MENDED[text]
    assert raw_problem(read_arguments(text)) is None


@pytest.mark.parametrize("text", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_is_not_guessed(text: str) -> None:
    arguments = read_arguments(text)
    assert arguments == {RAW: text}
    problem = raw_problem(arguments)
    assert problem is not None
    assert "Nothing was done" in problem


@pytest.mark.parametrize("text", ['{"a": "x"', "{'a': 1}", '{"a": 1,}'])
def test_nothing_is_mended_when_the_answer_was_cut(text: str) -> None:
    assert read_arguments(text, mend=False) == {RAW: text}
    assert "cut off" in (raw_problem({RAW: text}) or "")


def test_real_arguments_that_look_raw_are_no_problem() -> None:
    assert raw_problem({RAW: 1}) is None
    assert raw_problem({RAW: "x", "more": 1}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_p12_real_json_is_read_as_it_is(value: dict[str, Any]) -> None:
    expected = json.loads(json.dumps(value))
    assert read_object(json.dumps(value)) == expected
    # The same by the mending reader, which a trailing comma brings in.
    if value:
        assert read_object(json.dumps(value)[:-1] + ",}") == expected


@given(st.text(alphabet="{}[]\"':, \\abn01truefalse\n\t-.", max_size=60))
def test_p12_any_text_ends_in_an_object_or_not_readable(text: str) -> None:
    try:
        value = read_object(text)
    except NotReadable:
        return
    assert isinstance(value, dict)
    json.dumps(value, allow_nan=False)


@given(st.dictionaries(st.text(min_size=1), st.text(min_size=1), min_size=1, max_size=3), st.data())
def test_p12_a_cut_never_changes_a_value(value: dict[str, str], data: st.DataObject) -> None:
    """Cut anywhere, what can still be read holds whole values only."""
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(0, len(text)))]
    read = read_arguments(cut)
    assert RAW in read or read.items() <= value.items()
