"""Makes malformed calls impossible: tool schemas become grammars that say which tokens may come next.

Knows no engine and no family: what a call looks like is the dialect's business. Schemas are input from
outside: their size is bounded before anything is compiled, and what cannot be compiled falls back to "any
object".
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast

import llguidance
import msgspec

from kimi_runtime.constraint import AnswerConstraint, Grammars, Mode
from kimi_runtime.dialects import Dialect
from kimi_runtime.dialects.rules import Openings, Rules
from kimi_runtime.vocabulary import Vocabulary

_MAX_NODES = 3000
_MAX_ALL_NODES = 30_000
_MAX_DEPTH = 24
_MAX_CHOICES = 256
_MAX_TEXT = 64 << 10
_KEPT = 64
_ANY_OBJECT: dict[str, Any] = {"type": "object"}


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function the model may call; `parameters` is a JSON Schema."""

    name: str
    parameters: dict[str, Any]


def bounded(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, or any object where it is too large to be worth compiling."""
    return schema if size(schema) <= _MAX_NODES else _ANY_OBJECT


def closed(schema: Any) -> Any:
    """The same schema with no properties but those it names, where it does not speak of others. Left as it
    is where parts of it are put together. Only for what is not deep."""
    if isinstance(schema, list):
        return [closed(part) for part in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast(dict[str, Any], schema)
    changed = dict(fields)
    for key in ("properties", "$defs", "definitions"):
        if isinstance(named := fields.get(key), dict):
            changed[key] = {name: closed(part) for name, part in cast(dict[str, Any], named).items()}
    for key in ("items", "prefixItems", "anyOf", "oneOf", "additionalProperties"):
        if key in fields:
            changed[key] = closed(fields[key])
    joined = any(key in fields for key in ("allOf", "anyOf", "oneOf", "if", "$ref", "patternProperties"))
    if isinstance(fields.get("properties"), dict) and not joined:
        changed.setdefault("additionalProperties", False)
    return changed


def size(schema: dict[str, Any]) -> int:
    """How many values a schema holds; more than is compiled where it is too deep or too long."""
    too_much = _MAX_NODES + 1
    nodes = text = 0
    stack: list[tuple[Any, int]] = [(schema, 0)]
    while stack:
        value, depth = stack.pop()
        nodes += 1
        if nodes > _MAX_NODES or depth > _MAX_DEPTH or text > _MAX_TEXT:
            return too_much
        if isinstance(value, dict):
            fields = cast(dict[str, Any], value)
            if _too_many(fields.get("enum")):
                return too_much
            text += sum(len(key) for key in fields)
            stack += [(item, depth + 1) for item in fields.values()]
        elif isinstance(value, list):
            stack += [(item, depth + 1) for item in cast(list[Any], value)]
        else:
            text += len(str(value))
    return nodes


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
        self._marks = {text: token for token, text in vocabulary.structural.items()}
        self._matchers: dict[str, llguidance.LLMatcher] = {}
        self._openings: dict[bytes, tuple[Rules, Openings]] = {}
        self._crossing: dict[str, dict[int, list[int]]] = {}
        self._limits = llguidance.LLParserLimits(max_grammar_size=100_000, verbose_errors=False)

    def prepare(self) -> None:
        with self._lock:
            self._tokens()

    def constraint(
        self,
        tools: Sequence[Tool],
        *,
        from_start: bool,
        many: bool = True,
        thinking: bool = False,
        budget: int | None = None,
    ) -> AnswerConstraint:
        """For one answer. `from_start`: the answer must be a call, after a thought that is open; `many`:
        calls may follow each other; `thinking`: the prompt ended inside a thought; `budget`: tokens of
        thought."""
        with self._lock:
            grammars = self._grammars(tools, whole=from_start, thinking=thinking, many=many)
        mode = Mode(
            thought=self._dialect.thought,
            thinking=thinking,
            budget=budget,
            calls_in_thought=self._dialect.calls_in_thought,
            once=not many,
        )
        return AnswerConstraint(self._vocabulary, grammars, mode)

    def _grammars(self, tools: Sequence[Tool], *, whole: bool, thinking: bool, many: bool) -> Grammars:
        if not tools:
            return Grammars()
        rules, openings = self._written(tools, many=many)
        opened = {text: self._compiled(rules, right) for text, right in openings.after.items()}
        first = {text: self._compiled(rules, right) for text, right in openings.first.items()}
        start = None
        if whole:
            blank = "/\\s{0,4}/ " if thinking else ""
            start = self._compiled(rules, f"{blank}{openings.whole}")
        return Grammars(
            after=opened,
            first=first,
            whole=start,
            crossing={text: self._crossings(text) for text in {**opened, **first}},
        )

    def _written(self, tools: Sequence[Tool], *, many: bool) -> tuple[Rules, Openings]:
        """The grammar of these tools; those whose schema cannot be compiled take any object, and so do all
        when together they are too much."""
        key = msgspec.json.encode([many, list(tools)])
        known = self._openings.get(key)
        if known is None:
            if len(self._openings) >= _KEPT:
                self._openings.clear()
                self._matchers.clear()
            room = _MAX_ALL_NODES
            schemas: dict[str, dict[str, Any]] = {}
            for tool in tools:
                room -= size(tool.parameters)
                schemas[tool.name] = self._usable(tool) if room > 0 else _ANY_OBJECT
            known = self._write(schemas, many=many)
            if self._compiled(known[0], known[1].whole).is_error():
                known = self._write(dict.fromkeys(schemas, _ANY_OBJECT), many=many)
            self._openings[key] = known
        return known

    def _usable(self, tool: Tool) -> dict[str, Any]:
        schema = bounded(tool.parameters)
        for way in (closed(schema), schema):
            rules, openings = self._write({tool.name: way}, many=False)
            if not self._compiled(rules, openings.whole).is_error():
                return way
        return _ANY_OBJECT

    def _write(self, schemas: Mapping[str, dict[str, Any]], *, many: bool) -> tuple[Rules, Openings]:
        rules = Rules(self._marks)
        return rules, self._dialect.grammar(rules, schemas, many=many)

    def _compiled(self, rules: Rules, start: str) -> llguidance.LLMatcher:
        text = rules.text(start)
        known = self._matchers.get(text)
        if known is None:
            if len(self._matchers) >= 4 * _KEPT:
                self._matchers.clear()
            known = self._matchers[text] = llguidance.LLMatcher(
                self._tokens(), text, log_level=0, limits=self._limits
            )
        return known

    def _tokens(self) -> llguidance.LLTokenizer:
        if self._tokenizer is None:
            self._tokenizer = _token_trie(self._vocabulary)
        return self._tokenizer

    def _crossings(self, opener: str) -> dict[int, list[int]]:
        """Tokens that would complete the opener and go on: by how many bytes of it they bring. A mark that is
        a token of its own has none."""
        if opener not in self._crossing:
            self._crossing[opener] = (
                {} if opener in self._marks else _crossing(self._vocabulary, opener.encode())
            )
        return self._crossing[opener]


def _crossing(vocabulary: Vocabulary, opener: bytes) -> dict[int, list[int]]:
    ends = [opener[-size:] for size in range(1, len(opener) + 1)]
    starts = {end[0] for end in ends}
    found: dict[int, list[int]] = {}
    for token in range(vocabulary.size):
        piece = vocabulary.piece(token)
        if len(piece) < 2 or piece[0] not in starts or vocabulary.is_structural(token):
            continue
        for end in ends:
            if len(piece) > len(end) and piece.startswith(end):
                found.setdefault(len(end), []).append(token)
    return found


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
