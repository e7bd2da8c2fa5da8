"""Tells a model's family from its chat template and the tokens that its vocabulary has for marks."""

from collections.abc import Collection

from kimi_runtime.dialects.base import Dialect
from kimi_runtime.dialects.deepseek import DeepSeek
from kimi_runtime.dialects.glm import Glm
from kimi_runtime.dialects.harmony import Harmony
from kimi_runtime.dialects.hermes import Hermes
from kimi_runtime.dialects.kimi import Kimi
from kimi_runtime.dialects.llama3 import Llama3
from kimi_runtime.dialects.mistral import Mistral
from kimi_runtime.dialects.qwen_xml import QwenXml


def detect(template: str, structural: Collection[str]) -> Dialect:
    """The dialect of a model. What the template writes counts more than what the vocabulary could."""
    return _by_template(template) or _by_tokens(template, structural) or Hermes()


def _by_template(template: str) -> Dialect | None:
    found = _marks(template)
    if found is None and ("<|tool_call_begin|>" in template or "tool_declare" in template):
        return Kimi()
    return found


def _marks(template: str) -> Dialect | None:
    if "<|channel|>" in template and "<|message|>" in template:
        return Harmony()
    if "<|tool_calls_section_begin|>" in template:
        return Kimi()
    if "<｜tool▁calls▁begin｜>" in template:
        return DeepSeek(fenced="```json" in template)
    if "<arg_key>" in template:
        return Glm(between=_gap(template))
    if "<function=" in template and "<parameter=" in template:
        return QwenXml()
    if "[TOOL_CALLS]" in template:
        return Mistral(named="[ARGS]" in template)
    if "<tool_call>" in template:
        return Hermes()
    return None


def _gap(template: str) -> str:
    """GLM 4.7 and later write a call without line ends."""
    return "\n" if "</arg_key>\n" in template or "</arg_key>\\n" in template else ""


def _by_tokens(template: str, structural: Collection[str]) -> Dialect | None:
    tokens = frozenset(structural)
    if {"<|channel|>", "<|message|>", "<|constrain|>"} <= tokens:
        return Harmony()
    if "<|tool_calls_section_begin|>" in tokens:
        return Kimi()
    if "<｜tool▁calls▁begin｜>" in tokens:
        return DeepSeek(fenced=True)
    if "<arg_key>" in tokens:
        return Glm()
    if "<tool_call>" in tokens:
        return Hermes()
    if "[TOOL_CALLS]" in tokens:
        return Mistral(named="[ARGS]" in tokens)
    if "<|python_tag|>" in tokens or "<|start_header_id|>" in template:
        return Llama3()
    return None
