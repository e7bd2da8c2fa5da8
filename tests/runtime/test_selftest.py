"""The self-test's own schemas and verdicts."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kimi_runtime.selftest import Case, Outcome, cases, is_valid, report

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-60, 600)
    | st.floats(0, 300)
    | st.sampled_from(["red", "näh", "abcd", "ABC-123", "#00ff00", "v1", "auto", "none!", ""]),
    lambda parts: (
        st.lists(parts, max_size=4)
        | st.dictionaries(st.sampled_from(["path", "count", "x", "mode", "id"]), parts, max_size=4)
    ),
    max_leaves=6,
)


def test_the_shapes_are_many_and_the_same_for_the_same_seed() -> None:
    made = cases(100)
    assert [case.schema for case in made] == [case.schema for case in cases(100)]
    assert len({json.dumps(case.schema) for case in made}) == 100
    text = json.dumps([case.schema for case in made])
    for word in ("enum", "const", "pattern", "anyOf", "$ref", "minItems", "maximum", "null", "maxLength"):
        assert f'"{word}"' in text
    for case in made:
        Draft202012Validator.check_schema(case.schema)


@settings(max_examples=300, deadline=None)
@given(value=VALUES, number=st.integers(0, 99), data=st.data())
def test_validity_is_what_the_standard_says(value: Any, number: int, data: st.DataObject) -> None:
    schema = cases(100)[number].schema
    name = data.draw(st.sampled_from(sorted(schema["properties"])))
    part = {**schema["properties"][name], "$defs": schema.get("$defs", {})}
    standard: Any = Draft202012Validator(part)
    assert is_valid(value, part) == standard.is_valid(value)


def test_a_report_counts_what_must_be() -> None:
    case = Case(name="f", schema={"type": "object", "properties": {"n": {"type": "integer"}}}, prompt="")
    outcomes = [
        Outcome(case="f", choice="required", finish="tool_calls", calls=(("f", '{"n": 1}'),)),
        Outcome(case="f", choice="required", finish="tool_calls", calls=(("f", '{"n": "1"}'),)),
        Outcome(case="f", choice="named", finish="length"),
        Outcome(case="f", choice="none", finish="tool_calls", calls=(("g", "{}"),)),
        Outcome(case="f", choice="none", finish="stop"),
        Outcome(case="f", choice="auto", finish="tool_calls", calls=(("f", "{"),)),
    ]
    found = report([case], outcomes)
    assert (found.calls, found.valid) == (5, 1)
    assert (found.required, found.none, found.auto) == ((2, 3), (1, 2), (1, 1))
    assert found.f1 == 2 * 2 / (2 * 2 + 1 + 1)
    assert len(found.wrong) == 4
