"""How many recorded answers of other people's models are read rightly: the fixtures of the PyPI package
`canitoolcall`.

    python -m benchmarks.toolcalls [--family NAME]... [--failures] [--data FOLDER]

An answer is right when text, thought and calls are what the fixture expects (blank space around text and
thought aside), whole and in pieces of one to nine characters alike. Outputs cut short are right when no call
is made of what was cut. The package is fetched with pip into a temporary folder unless --data names its
fixtures.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from kimi_runtime.dialects import CallPart, Dialect, Part, TextPart, ThinkingPart
from kimi_runtime.dialects.deepseek import DeepSeek
from kimi_runtime.dialects.glm import Glm
from kimi_runtime.dialects.harmony import Harmony
from kimi_runtime.dialects.hermes import Hermes
from kimi_runtime.dialects.kimi import Kimi
from kimi_runtime.dialects.llama3 import Llama3
from kimi_runtime.dialects.mistral import Mistral
from kimi_runtime.dialects.qwen_xml import QwenXml

PACKAGE = "canitoolcall==0.1.1"
DIALECTS: dict[str, Dialect] = {
    "kimi": Kimi(),
    "qwen3-hermes": Hermes(),
    "qwen3-xml": QwenXml(),
    "gpt-oss": Harmony(),
    "deepseek": DeepSeek(fenced=True),
    "glm": Glm(),
    "llama": Llama3(),
    "mistral": Mistral(named=True),
}
FOREIGN = ("Kimi-K3", "Llama-4", "DeepSeek-V3.2", "DeepSeek-V4")
"""Models of these families that write formats which are not read here."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    thought: str
    calls: list[tuple[str, Any]]


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or _fetch(Path(folder))
        print(f"{'family':<14}{'right':>7}{'of':>6}{'not ours':>10}")
        for family in options.family or DIALECTS:
            counts: Counter[str] = Counter()
            for fixture in fixtures(data / family):
                result = judge(DIALECTS[family], fixture)
                counts[result or "right"] += 1
                if options.failures and result not in ("", "foreign"):
                    print(f"  {fixture['id']}: {result}\n    {fixture['raw_output'][:300]!r}")
            wrong = sum(counts.values()) - counts["right"] - counts["foreign"]
            print(f"{family:<14}{counts['right']:>7}{counts['right'] + wrong:>6}{counts['foreign']:>10}")
    return 0


def fixtures(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            yield msgspec.json.decode(line)


def judge(dialect: Dialect, fixture: dict[str, Any]) -> str:
    """What is wrong; nothing when it is right, "foreign" when the format is not one of ours."""
    if any(name in model for name in FOREIGN for model in fixture["models"]):
        return "foreign"
    raw: str = fixture["raw_output"]
    whole = read(dialect, fixture, [raw])
    pieces = random.Random(raw)
    for most in (1, 4, 9):
        split: list[str] = []
        at = 0
        while at < len(raw):
            size = pieces.randint(1, most)
            split.append(raw[at : at + size])
            at += size
        if read(dialect, fixture, split) != whole:
            return "pieces are read differently"
    expected: dict[str, Any] | None = fixture.get("expected")
    if expected is None:
        return "a call of what was cut" if whole.calls else ""
    made: list[dict[str, Any]] = expected["tool_calls"] or []
    calls = [(call["name"], call["arguments"]) for call in made]
    if msgspec.json.encode(whole.calls, order="sorted") != msgspec.json.encode(calls, order="sorted"):
        return f"calls {whole.calls} for {calls}"
    if whole.text.strip() != (expected["content"] or "").strip():
        return f"text {whole.text!r} for {expected['content']!r}"
    if whole.thought.strip() != (expected["reasoning_content"] or "").strip():
        return f"thought {whole.thought!r} for {expected['reasoning_content']!r}"
    return ""


def read(dialect: Dialect, fixture: dict[str, Any], pieces: list[str]) -> Outcome:
    offered: list[dict[str, dict[str, Any]]] = fixture["tools"] or []
    tools: dict[str, dict[str, Any]] = {
        tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in offered
    }
    reader = dialect.reader(tools, thinking=_in_thought(dialect, fixture))
    parts: list[Part] = [part for piece in pieces for part in reader.feed(piece)]
    parts += reader.close()
    return Outcome(
        text="".join(part.text for part in parts if isinstance(part, TextPart)),
        thought="".join(part.text for part in parts if isinstance(part, ThinkingPart)),
        calls=[
            (part.name, msgspec.json.decode(part.arguments)) for part in parts if isinstance(part, CallPart)
        ],
    )


def _in_thought(dialect: Dialect, fixture: dict[str, Any]) -> bool:
    """Whether the prompt ended inside a thought; the fixtures of some families leave it to the model."""
    prompt: str | None = fixture.get("generation_prompt")
    if prompt is not None:
        return prompt.rstrip().endswith(dialect.thought.opener)
    if fixture.get("thinking") is False:
        return False
    expected: dict[str, Any] = fixture.get("expected") or {}
    raw: str = fixture["raw_output"]
    marked = dialect.thought.opener in raw or "<think>" in raw
    return not marked and ("</think>" in raw or bool(expected.get("reasoning_content")))


def _fetch(folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, PACKAGE],
        check=True,
        capture_output=True,
    )
    return folder / "canitoolcall" / "_data" / "fixtures"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.toolcalls", description="Recorded answers, read.")
    parser.add_argument("--family", action="append", choices=list(DIALECTS))
    parser.add_argument("--failures", action="store_true", help="say what is wrong with each")
    parser.add_argument("--data", type=Path, help="the package's folder of fixtures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
