"""Ways to ask for thoughts, and what templates are told."""

import json
from typing import Any

import pytest

from kimi_runtime.faults import BadRequest
from kimi_runtime.thinking import budget, switches
from kimi_runtime.wire import ChatRequest, decode


def request(**fields: Any) -> ChatRequest:
    return decode(json.dumps({"messages": [{"role": "user", "content": "hi"}], **fields}).encode())


OFF = {"thinking": False, "enable_thinking": False}
ON = {"thinking": True, "enable_thinking": True}


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ({}, {}),
        ({"thinking": {"type": "disabled"}}, OFF),
        ({"thinking": {"type": "enabled"}}, ON),
        (
            {"thinking": {"type": "enabled", "keep": "all"}},
            {**ON, "preserve_thinking": True, "clear_thinking": False},
        ),
        ({"thinking": {"type": "adaptive"}}, {}),
        ({"chat_template_kwargs": {"enable_thinking": False}}, OFF),
        ({"chat_template_kwargs": {"thinking": False, "x": 1}}, {**OFF, "x": 1}),
        ({"reasoning_effort": "none"}, OFF),
        ({"reasoning_effort": "high"}, {**ON, "reasoning_effort": "high"}),
    ],
)
def test_switches(fields: dict[str, Any], values: dict[str, Any]) -> None:
    assert switches(request(**fields)) == values


def test_budget() -> None:
    assert budget(request()) is None
    assert budget(request(thinking={"type": "enabled", "budget_tokens": 12})) == 12
    assert budget(request(thinking_budget=0)) == 0
    with pytest.raises(BadRequest):
        budget(request(thinking_budget=-1))
