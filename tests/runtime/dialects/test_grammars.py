"""Calls under each family's grammar: whatever the logits say, the family's reader finds calls that satisfy
their schema."""

import json
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from jsonschema import validate

from kimi_runtime.constraint import AnswerConstraint, Grammars, Mode
from kimi_runtime.dialects import CallPart, Dialect, TextPart, ThinkingPart
from kimi_runtime.dialects.deepseek import DeepSeek
from kimi_runtime.dialects.glm import Glm
from kimi_runtime.dialects.harmony import Harmony
from kimi_runtime.dialects.hermes import Hermes
from kimi_runtime.dialects.kimi import Kimi
from kimi_runtime.dialects.llama3 import Llama3
from kimi_runtime.dialects.mistral import Mistral
from kimi_runtime.dialects.qwen_xml import QwenXml
from kimi_runtime.grammar import CallGrammars, Tool
from kimi_runtime.llama import LoadOptions, Model
from kimi_runtime.selftest import cases
from kimi_runtime.vocabulary import Vocabulary
from kimi_testing.tiny_model import write_tiny_model

CONTROL = (
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    "<|start|>",
    "<|channel|>",
    "<|constrain|>",
    "<|message|>",
    "<|end|>",
    "<|call|>",
    "<|return|>",  # without it llama.cpp takes "<|end|>" for the end of an answer
    "<think>",
    "</think>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "<|python_tag|>",
)
TAGS = ("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
DIALECTS: dict[str, Dialect] = {
    "kimi": Kimi(),
    "hermes": Hermes(),
    "qwen-xml": QwenXml(),
    "harmony": Harmony(),
    "deepseek-v3": DeepSeek(fenced=True),
    "deepseek-v3.1": DeepSeek(fenced=False),
    "glm": Glm(),
    "glm-4.7": Glm(between=""),
    "llama3": Llama3(),
    "mistral": Mistral(named=True),
    "mistral-list": Mistral(named=False),
}
CASES = cases(26)


@pytest.fixture(scope="module", params=["marks are tokens", "marks are text"])
def wide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Vocabulary]:
    """A vocabulary with the control tokens of all families, or with those of none."""
    control = (*CONTROL, *TAGS) if request.param == "marks are tokens" else ()
    path = write_tiny_model(tmp_path_factory.mktemp("wide") / "wide.gguf", control=control)
    model = Model(path, LoadOptions(repack=False))
    yield Vocabulary(model)
    model.close()


def write(constraint: AnswerConstraint, vocabulary: Vocabulary, seed: int, begin: str = "") -> str:
    """What random logits write under a constraint, from `begin` on, until the answer or a call ends."""
    generator = np.random.default_rng(seed)
    tokens: list[int] = []
    wanted = vocabulary.encode(begin)
    while len(tokens) < 6000:
        row = generator.standard_normal(vocabulary.size).astype(np.float32) * 3
        constraint.apply(row)
        chosen = wanted.pop(0) if wanted else int(row.argmax())
        following = [chosen]
        while following:
            for token in following:
                if vocabulary.ends(token):
                    return vocabulary.decode(tokens)
                constraint.accept(token)
                tokens.append(token)
            following = constraint.forced()
        if begin and not wanted and not constraint.active:
            return vocabulary.decode(tokens)
    raise AssertionError("endless: " + vocabulary.decode(tokens)[-200:])


def check(dialect: Dialect, text: str, schemas: dict[str, dict[str, Any]]) -> list[CallPart]:
    reader = dialect.reader(schemas)
    parts = [*reader.feed(text), *reader.close()]
    calls = [part for part in parts if isinstance(part, CallPart)]
    assert [part.text for part in parts if isinstance(part, TextPart) and part.text.strip()] == [], text
    for call in calls:
        validate(json.loads(call.arguments), schemas[call.name])
    return calls


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_a_forced_call_is_valid(dialect: Dialect, wide: Vocabulary) -> None:
    if dialect.name == "harmony" and "<|call|>" not in wide.structural.values():
        pytest.skip("chance never spells the end of a thought; every model of the family has the tokens")
    grammars = CallGrammars(wide, dialect)
    for seed, case in enumerate(CASES):
        constraint = grammars.constraint(
            [Tool(name=case.name, parameters=case.schema)], from_start=True, many=False
        )
        (call,) = check(dialect, write(constraint, wide, seed), {case.name: case.schema})
        assert call.name == case.name


OPENERS = {
    "kimi": "<|tool_calls_section_begin|>",
    "hermes": "<tool_call>",
    "qwen-xml": "<tool_call>",
    "harmony": "<|channel|>commentary to=functions.",
    "deepseek-v3": "<｜tool▁calls▁begin｜>",
    "glm": "<tool_call>",
    "llama3": '{"name": ',
    "mistral": "[TOOL_CALLS]",
}


@pytest.mark.parametrize("name", OPENERS)
def test_a_call_that_the_model_opens_is_valid(name: str, wide: Vocabulary) -> None:
    dialect = DIALECTS[name]
    schemas = {case.name: case.schema for case in CASES[:6]}
    grammars = CallGrammars(wide, dialect)
    tools = [Tool(name=name, parameters=schema) for name, schema in schemas.items()]
    for seed in range(6):
        constraint = grammars.constraint(tools, from_start=False, many=False)
        assert len(check(dialect, write(constraint, wide, seed, OPENERS[name]), schemas)) == 1


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_a_spent_thought_ends(dialect: Dialect, wide: Vocabulary) -> None:
    """The budget's last token is followed by what ends a thought, and then a call must come."""
    grammars = CallGrammars(wide, dialect)
    case = CASES[5]
    tools = [Tool(name=case.name, parameters=case.schema)]
    thinking = dialect.name != "harmony"  # whose prompts never end inside a thought
    constraint = grammars.constraint(tools, from_start=True, many=False, thinking=thinking, budget=7)
    text = write(constraint, wide, 3)
    reader = dialect.reader({case.name: case.schema}, thinking=thinking)
    parts = [*reader.feed(text), *reader.close()]
    thought = "".join(part.text for part in parts if isinstance(part, ThinkingPart))
    assert len(thought) <= 7 + 4
    assert [part.name for part in parts if isinstance(part, CallPart)] == [case.name]
    if thinking:
        assert dialect.thought.ending.strip() in text


def test_no_thought_at_all(wide: Vocabulary) -> None:
    constraint = CallGrammars(wide, Kimi()).constraint([], from_start=False, thinking=True, budget=0)
    row = np.zeros(wide.size, dtype=np.float32)
    constraint.apply(row)
    assert next(wide.piece(int(token)) for token in np.flatnonzero(np.isfinite(row))) in (b"</think>", b"<")
    assert np.isfinite(row).sum() == 1


def test_no_token_runs_past_what_opens_a_call(wide: Vocabulary) -> None:
    """A token that ends a mark and goes on ("the" after "...t") would hide the call's beginning."""
    constraint = AnswerConstraint(
        wide,
        Grammars(crossing={"<ca": {1: wide.encode("an")}}),
        Mode(thought=Kimi().thought),
    )
    row = np.zeros(wide.size, dtype=np.float32)
    constraint.apply(row)
    assert np.isfinite(row).all()
    for token in wide.encode("say <c"):
        constraint.accept(token)
    constraint.apply(row)
    assert [wide.piece(int(token)) for token in np.flatnonzero(~np.isfinite(row))] == [b"an"]


def test_tokens_that_run_past_an_opener_are_found(wide: Vocabulary) -> None:
    dialect = Llama3()
    tool = Tool(name="x", parameters={"type": "object"})
    grammars = CallGrammars(wide, dialect)
    constraint = grammars.constraint([tool], from_start=False)
    assert not constraint.active
    for token in wide.encode('{"name": '):
        constraint.accept(token)
    assert constraint.active
