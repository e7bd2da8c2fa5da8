"""Makes malformed calls impossible: tool schemas become a grammar that says which tokens may come next.

Free text stays free; the grammar takes over when a call is opened, or from the first token where a call is
required. Knows no engine. Schemas are input from outside: their size is bounded before anything is
compiled, and what cannot be compiled falls back to "any JSON object".
"""

import json
import threading
from collections.abc import Sequence
from typing import Any, cast

import llguidance
import msgspec
import numpy as np
from numpy.typing import NDArray

from kimi_runtime.dialects import Dialect
from kimi_runtime.vocabulary import Vocabulary

_MAX_NODES = 3000
_MAX_DEPTH = 24
_MAX_CHOICES = 256
_MAX_TEXT = 64 << 10
_SPACING = {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", ", "lenient": True}
_ANY_OBJECT: dict[str, Any] = {"type": "object"}


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function the model may call; `parameters` is a JSON Schema."""

    name: str
    parameters: dict[str, Any]


def bounded(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the spacing models are used to, or any object where it is too large to be worth
    compiling."""
    if not _is_small(schema):
        schema = _ANY_OBJECT
    if schema.get("properties") and "additionalProperties" not in schema:
        schema = {**schema, "additionalProperties": False}
    return {**schema, "x-guidance": _SPACING}


def _is_small(schema: dict[str, Any]) -> bool:
    nodes = text = 0
    stack: list[tuple[Any, int]] = [(schema, 0)]
    while stack:
        value, depth = stack.pop()
        nodes += 1
        if nodes > _MAX_NODES or depth > _MAX_DEPTH or text > _MAX_TEXT:
            return False
        if isinstance(value, dict):
            fields = cast(dict[str, Any], value)
            if _too_many(fields.get("enum")):
                return False
            text += sum(len(key) for key in fields)
            stack += [(item, depth + 1) for item in fields.values()]
        elif isinstance(value, list):
            stack += [(item, depth + 1) for item in cast(list[Any], value)]
        else:
            text += len(str(value))
    return True


def _too_many(choices: object) -> bool:
    return isinstance(choices, list) and len(cast(list[Any], choices)) > _MAX_CHOICES


class CallGrammars:
    """Compiles and keeps grammars for one model. Safe to use from several threads.

    Building the token trie takes a second or two; `prepare` may do it in the background.
    """

    def __init__(self, vocabulary: Vocabulary, dialect: Dialect) -> None:
        self._vocabulary = vocabulary
        self._dialect = dialect
        self._lock = threading.Lock()
        self._tokenizer: llguidance.LLTokenizer | None = None
        self._kept: dict[bytes, llguidance.LLMatcher] = {}
        self._limits = llguidance.LLParserLimits(max_grammar_size=100_000, verbose_errors=False)

    def prepare(self) -> None:
        with self._lock:
            self._tokens()

    def constraint(self, tools: Sequence[Tool], *, from_start: bool) -> "CallConstraint":
        """For one answer. `from_start`: the answer must begin with a call."""
        with self._lock:
            body = self._matcher(tools, opened=True)
            start = self._matcher(tools, opened=False) if from_start else None
        return CallConstraint(self._vocabulary, self._dialect.opener, body, start)

    def _tokens(self) -> llguidance.LLTokenizer:
        if self._tokenizer is None:
            self._tokenizer = _token_trie(self._vocabulary)
        return self._tokenizer

    def _matcher(self, tools: Sequence[Tool], *, opened: bool) -> llguidance.LLMatcher:
        key = msgspec.json.encode([opened, list(tools)])
        known = self._kept.get(key)
        if known is None:
            if len(self._kept) >= 32:
                self._kept.clear()
            known = self._kept[key] = self._compile(tools, opened=opened)
        return known

    def _compile(self, tools: Sequence[Tool], *, opened: bool) -> llguidance.LLMatcher:
        chosen = [(tool.name, self._usable(tool)) for tool in tools]
        matcher = self._new(self._lark(chosen, opened=opened))
        if matcher.is_error():
            matcher = self._new(
                self._lark([(tool.name, bounded(_ANY_OBJECT)) for tool in tools], opened=opened)
            )
        return matcher

    def _usable(self, tool: Tool) -> dict[str, Any]:
        schema = bounded(tool.parameters)
        alone = self._new(self._lark([(tool.name, schema)], opened=True))
        return bounded(_ANY_OBJECT) if alone.is_error() else schema

    def _new(self, lark: str) -> llguidance.LLMatcher:
        return llguidance.LLMatcher(self._tokens(), lark, log_level=0, limits=self._limits)

    def _lark(self, tools: list[tuple[str, dict[str, Any]]], *, opened: bool) -> str:
        dialect = self._dialect
        opener = "" if opened else self._mark(dialect.opener)
        end = f"{_quoted(dialect.after)} {self._mark(dialect.closer)}"
        lines = [
            "%llguidance {}",
            f"start: {opener} {_quoted(dialect.before)} call {end}",
            "call: " + " | ".join(f"call_{i}" for i in range(len(tools))),
        ]
        for i, (name, schema) in enumerate(tools):
            head, tail = dialect.call_frame(name)
            lines.append(f"call_{i}: {_quoted(head)} arguments_{i} {_quoted(tail)}")
            lines.append(f"arguments_{i}: %json {json.dumps(schema)}")
        return "\n".join(lines)

    def _mark(self, text: str) -> str:
        """A mark as a special token where the vocabulary has it as one, as text otherwise."""
        return text if text in self._vocabulary.structural.values() else _quoted(text)


class CallConstraint:
    """Follows one answer; see candidate.Constraint. A grammar that fails lets everything through."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        opener: str,
        body: llguidance.LLMatcher,
        start: llguidance.LLMatcher | None,
    ) -> None:
        self._vocabulary = vocabulary
        self._opener = opener.encode()
        self._body = body
        self._matcher = start.deep_copy() if start is not None else None
        self._tail = b""
        self._mask = np.zeros((vocabulary.size + 31) // 32, dtype=np.int32)

    @property
    def active(self) -> bool:
        return self._matcher is not None

    def accept(self, token: int) -> None:
        if self._matcher is not None:
            if not self._matcher.consume_token(token) or self._matcher.is_stopped():
                self._matcher = None
                self._tail = b""
            return
        self._tail = (self._tail + self._vocabulary.piece(token))[-len(self._opener) :]
        if self._tail == self._opener:
            self._matcher = self._body.deep_copy()

    def forced(self) -> list[int]:
        return self._matcher.compute_ff_tokens() if self._matcher is not None else []

    def apply(self, row: NDArray[np.float32]) -> None:
        if self._matcher is None:
            return
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        allowed = np.unpackbits(self._mask.view(np.uint8), count=len(row), bitorder="little")
        if self._matcher.is_error() or not allowed.any():
            self._matcher = None
            return
        np.copyto(row, -np.inf, where=allowed == 0)


def _token_trie(vocabulary: Vocabulary) -> llguidance.LLTokenizer:
    """llguidance's view of a vocabulary; there a byte 0xFF before its text makes a token special."""
    pieces = [vocabulary.piece(token) for token in range(vocabulary.size)]
    for token in vocabulary.structural:
        pieces[token] = b"\xff" + pieces[token]
    kind: Any = llguidance.LLTokenizer  # its stubs lack from_llamacpp
    trie: llguidance.LLTokenizer = kind.from_llamacpp(
        tokens=pieces,
        vocab_ptr=vocabulary.address,
        tokenize_fptr=vocabulary.tokenize_address,
        eos_token=vocabulary.eos,
        slices=None,
    )
    return trie


def _quoted(text: str) -> str:
    return json.dumps(text) if text else ""
