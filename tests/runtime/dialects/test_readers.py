"""Each family's answers, in pieces of every size: text, thoughts and calls, and the deviations that models
are known for."""

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_runtime.dialects import CallPart, Dialect, Part, TextPart, ThinkingPart, Tools
from kimi_runtime.dialects.deepseek import DeepSeek
from kimi_runtime.dialects.glm import Glm
from kimi_runtime.dialects.harmony import Harmony
from kimi_runtime.dialects.hermes import Hermes
from kimi_runtime.dialects.kimi import Kimi
from kimi_runtime.dialects.llama3 import Llama3
from kimi_runtime.dialects.mistral import Mistral
from kimi_runtime.dialects.qwen_xml import QwenXml

FAMILIES: tuple[Dialect, ...] = (
    Kimi(),
    Hermes(),
    QwenXml(),
    Harmony(),
    DeepSeek(fenced=True),
    Glm(),
    Llama3(),
    Mistral(named=True),
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "n": {"type": "integer"}, "more": {"type": "object"}},
}
TOOLS: Tools = {"Read": SCHEMA, "Bash": {"type": "object"}}
SIZES = (1, 2, 3, 7, 1000)


class Got(NamedTuple):
    text: str
    thought: str
    calls: list[tuple[str, Any]]


def gathered(parts: list[Part]) -> Got:
    return Got(
        "".join(part.text for part in parts if isinstance(part, TextPart)),
        "".join(part.text for part in parts if isinstance(part, ThinkingPart)),
        [(part.name, json.loads(part.arguments)) for part in parts if isinstance(part, CallPart)],
    )


def read(dialect: Dialect, pieces: list[str], *, thinking: bool = False) -> Got:
    reader = dialect.reader(TOOLS, thinking=thinking)
    parts: list[Part] = [part for piece in pieces for part in reader.feed(piece)]
    return gathered(parts + reader.close())


def cut(answer: str, size: int) -> list[str]:
    return [answer[at : at + size] for at in range(0, len(answer), size)]


A = {"path": "a.py"}
K, KE = "<|tool_call_begin|>", "<|tool_call_end|>"
KS, KSE, KA = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_argument_begin|>"
KIMI = f'{K}functions.Read:0{KA}{{"path": "a.py"}}{KE}'
D, DE, DS = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
DB, DBE = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
FENCED = f'{D}function{DS}Read\n```json\n{{"path": "a.py"}}\n```{DE}'
XML = "<tool_call>\n<function=Read>\n<parameter=path>\na.py\n</parameter>\n</function>\n</tool_call>"
GLM = "<tool_call>Read\n<arg_key>path</arg_key>\n<arg_value>a.py</arg_value>\n</tool_call>"
H = "<|start|>assistant<|channel|>commentary to=functions.Read <|constrain|>json<|message|>"

ANSWERS: dict[str, tuple[Dialect, str, Got]] = {
    "kimi": (Kimi(), f"I look.{KS}{KIMI}{KSE}", Got("I look.", "", [("Read", A)])),
    "kimi, two": (
        Kimi(),
        f"{KS}{KIMI}{K}functions.Bash:1{KA}{{}}{KE}{KSE}",
        Got("", "", [("Read", A), ("Bash", {})]),
    ),
    "kimi, singular section": (
        Kimi(),
        f"<|tool_call_section_begin|>{KIMI}<|tool_call_section_end|>",
        Got("", "", [("Read", A)]),
    ),
    "kimi, no section end": (Kimi(), f"{KS}{KIMI}", Got("", "", [("Read", A)])),
    "kimi, no section": (Kimi(), KIMI, Got("", "", [("Read", A)])),
    "kimi, in a thought": (Kimi(), f"<think>hm{KS}{KIMI}{KSE}", Got("", "hm", [("Read", A)])),
    "kimi, bare id": (Kimi(), f'{KS}{K}Read{KA}{{"path": "a.py"}}{KE}{KSE}', Got("", "", [("Read", A)])),
    "kimi, blank space": (
        Kimi(),
        f'{KS} {K} functions.Read:3 {KA} {{"path": "a.py"}} {KE} {KSE}',
        Got("", "", [("Read", A)]),
    ),
    "kimi, a mark in a text": (
        Kimi(),
        f'{KS}{K}functions.Read:0{KA}{{"path": "{KE}{KSE}"}}{KE}{KSE}',
        Got("", "", [("Read", {"path": KE + KSE})]),
    ),
    "kimi, cut": (Kimi(), f'{KS}{K}functions.Read:0{KA}{{"pa', Got(f'{K}functions.Read:0{KA}{{"pa', "", [])),
    "kimi, thought": (Kimi(), "<think>hm</think>Yes.", Got("Yes.", "hm", [])),
    "deepseek v3": (
        DeepSeek(fenced=True),
        f"Look.{DB}{FENCED}\n{FENCED}{DBE}",
        Got("Look.", "", [("Read", A), ("Read", A)]),
    ),
    "deepseek v3.1": (
        DeepSeek(fenced=False),
        f'<think>hm</think>{DB}{D}Read{DS}{{"path": "a.py"}}{DE}{DBE}',
        Got("", "hm", [("Read", A)]),
    ),
    "qwen xml": (QwenXml(), f"Look.\n\n{XML}\n", Got("Look.", "", [("Read", A)])),
    "qwen xml, typed": (
        QwenXml(),
        "<tool_call>\n<function=Read>\n<parameter=path>\n12\n</parameter>\n<parameter=n>\n12\n</parameter>\n"
        '<parameter=more>\n{"a": [1]}\n</parameter>\n</function>\n</tool_call>',
        Got("", "", [("Read", {"path": "12", "n": 12, "more": {"a": [1]}})]),
    ),
    "qwen xml, no wrapper": (
        QwenXml(),
        XML.removeprefix("<tool_call>\n"),
        Got("", "", [("Read", A)]),
    ),
    "qwen xml, open parameter": (
        QwenXml(),
        XML.replace("\n</parameter>", ""),
        Got("", "", [("Read", A)]),
    ),
    "qwen xml, marks in a text": (
        QwenXml(),
        XML.replace("a.py", "a </parameter> b </function>\n\nc"),
        Got("", "", [("Read", {"path": "a </parameter> b </function>\n\nc"})]),
    ),
    "glm": (Glm(), f"<think>hm</think>\nLook.\n{GLM}\n{GLM}", Got("Look.", "hm", [("Read", A)] * 2)),
    "glm 4.7": (Glm(between=""), GLM.replace("\n", ""), Got("", "", [("Read", A)])),
    "glm, blank space in a text": (
        Glm(),
        GLM.replace("a.py", "\n a \n"),
        Got("", "", [("Read", {"path": "\n a \n"})]),
    ),
    "glm, nothing": (Glm(), "<tool_call>Bash\n</tool_call>", Got("", "", [("Bash", {})])),
    "llama": (Llama3(), '{"name": "Read", "parameters": {"path": "a.py"}}', Got("", "", [("Read", A)])),
    "llama, tagged": (
        Llama3(),
        'Well.<|python_tag|>{"name": "Read", "parameters": {"path": "a.py"}}',
        Got("Well.", "", [("Read", A)]),
    ),
    "llama, several": (
        Llama3(),
        '{"name": "Read", "parameters": {"path": "a.py"}}; {"name": "Bash", "parameters": {}}',
        Got("", "", [("Read", A), ("Bash", {})]),
    ),
    "llama, unknown": (
        Llama3(),
        '{"name": "No", "parameters": {}}',
        Got('{"name": "No", "parameters": {}}', "", []),
    ),
    "mistral": (
        Mistral(named=True),
        'Look.[TOOL_CALLS]Read[ARGS]{"path": "a.py"}',
        Got("Look.", "", [("Read", A)]),
    ),
    "mistral, list": (
        Mistral(named=False),
        '[TOOL_CALLS] [{"name": "Read", "arguments": {"path": "a.py"}}, {"name": "Bash", "arguments": {}}]',
        Got("", "", [("Read", A), ("Bash", {})]),
    ),
    "mistral, several": (
        Mistral(named=True),
        '[THINK]hm[/THINK][TOOL_CALLS]Read[ARGS]{"path": "a.py"}[TOOL_CALLS]Bash[ARGS]{}',
        Got("", "hm", [("Read", A), ("Bash", {})]),
    ),
    "harmony": (
        Harmony(),
        f'<|channel|>analysis<|message|>hm<|end|>{H}{{"path": "a.py"}}',
        Got("", "hm", [("Read", A)]),
    ),
    "harmony, recipient of the role": (
        Harmony(),
        ' to=functions.Read<|channel|>commentary <|constrain|>json<|message|>{"path": "a.py"}<|call|>',
        Got("", "", [("Read", A)]),
    ),
    "harmony, preamble and answer": (
        Harmony(),
        "<|channel|>commentary<|message|>First.<|end|><|start|>assistant<|channel|>final<|message|>Done.",
        Got("First.Done.", "", []),
    ),
    "harmony, cut": (
        Harmony(),
        '<|channel|>commentary to=functions.Read<|message|>{"pa',
        Got('<|channel|>commentary to=functions.Read<|message|>{"pa', "", []),
    ),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dialect", "answer", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_read(dialect: Dialect, answer: str, expected: Got, size: int) -> None:
    assert read(dialect, cut(answer, size)) == expected


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dialect", FAMILIES, ids=lambda dialect: dialect.name)
def test_prose_stays_prose(dialect: Dialect, size: int) -> None:
    prose = "A list:\n- a < b\n- [x](y)\n\n```python\nf({'a': 1})\n```\nThat is <all>."
    assert read(dialect, cut(prose, size)) == Got(prose, "", [])


@pytest.mark.parametrize("dialect", FAMILIES, ids=lambda dialect: dialect.name)
def test_an_open_thought_of_the_prompt(dialect: Dialect) -> None:
    answer = f"hm{dialect.thought.closer}"
    assert read(dialect, cut(answer, 3), thinking=True) == Got("", "hm", [])


PIECES = st.sampled_from(
    (
        K,
        KE,
        KS,
        KSE,
        KA,
        D,
        DE,
        DS,
        DB,
        DBE,
        KIMI,
        FENCED,
        XML,
        GLM,
        H,
        "<tool_call>",
        "</tool_call>",
        "<think>",
        "</think>",
        "[THINK]",
        "[/THINK]",
        "[TOOL_CALLS]",
        "[ARGS]",
        "<|python_tag|>",
        "```json\n",
        "<function=Read>",
        "<parameter=path>\n",
        "</parameter>",
        "</function>",
        "<arg_key>",
        "<arg_value>",
        "<|channel|>",
        "analysis",
        "final",
        "<|message|>",
        "<|end|>",
        "<|start|>",
        "assistant",
        " to=Bash",
        '{"name": "Read", "arguments": {"path": "a"}}',
        '{"path": "',
        '"}',
        "{",
        "}",
        "[",
        "]",
        "Read",
        " ",
        "\n",
        "<",
        "x",
        "é",
        ";",
        "\\",
        '"',
        "functions.Read:0",
    )
)


@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(PIECES, max_size=14), data=st.data(), thinking=st.booleans())
def test_any_split_gives_the_same_parts(pieces: list[str], data: st.DataObject, thinking: bool) -> None:
    answer = "".join(pieces)
    places = sorted(data.draw(st.sets(st.integers(0, len(answer)), max_size=30)))
    split = [answer[a:b] for a, b in zip([0, *places], [*places, len(answer)], strict=True)]
    for dialect in FAMILIES:
        whole = read(dialect, [answer], thinking=thinking)
        assert read(dialect, split, thinking=thinking) == whole, dialect.name
        assert read(dialect, list(answer), thinking=thinking) == whole, dialect.name
