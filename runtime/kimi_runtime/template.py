"""Turns a conversation into the prompt's tokens with the model's own chat template. Knows no weights.

The template runs in a process of its own (render.py) that is killed when it takes too long. Texts of users,
files and tools can never become control tokens: wherever such a text spells one, it is taken out before the
template is rendered (a private marker stays) and put back as ordinary text afterwards.
"""

import json
import re
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kimi_runtime.faults import BadTemplate
from kimi_runtime.tokens import common_prefix
from kimi_runtime.vocabulary import Vocabulary

_PATIENCE_S = 5.0
_MAX_TEXT = 8 << 20
_PRIVATE = range(0xF0000, 0xFFFFD)

FALLBACK = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
"""ChatML, for files that carry no template."""


_CONCATENATED = re.compile(r"\+\s*[\w.\[\]'\"]*arguments['\"\]]*\s*(?:\+|\}\}|-\}\})")
_STRUCTURED = re.compile(
    r"arguments['\"\]]*\s*(?:\|\s*(?:tojson|items)|is (?:not )?(?:string|mapping)|\.items)"
)


def arguments_as_text(source: str) -> bool:
    """Whether a template wants the arguments of past calls as text, and not as an object: it joins them to
    text and never looks what they are."""
    return bool(_CONCATENATED.search(source)) and not _STRUCTURED.search(source)


class Renderer:
    """The rendering process: started on first use, again after a failure. Safe to use from several
    threads."""

    def __init__(self, source: str, *, patience_s: float = _PATIENCE_S) -> None:
        self._source = source or FALLBACK
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def render(self, values: dict[str, Any]) -> str:
        """Raises BadTemplate when the template fails, refuses, writes too much or does not end in time."""
        order = json.dumps({"template": self._source, "values": values, "limit": _MAX_TEXT})
        with self._lock:
            line = self._exchange(order.encode() + b"\n")
        answer: dict[str, str] = json.loads(line)
        if "text" not in answer:
            raise BadTemplate(
                f"The model's chat template failed: {answer.get('error', 'no reason given')}.",
                hint="The model file may be damaged or made to do harm; fetch it from a source you trust.",
            )
        return answer["text"]

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _exchange(self, order: bytes) -> bytes:
        process = self._process
        if process is None or process.poll() is not None:
            self._stop()
            process = self._process = _start()
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + self._patience_s
        writer = threading.Thread(target=_feed, args=(process, order), daemon=True)
        writer.start()
        line = _read_line(process, deadline)
        if not line.endswith(b"\n"):
            self._stop()
            writer.join()
            raise BadTemplate(
                "The model's chat template does not end in time, or needs too much memory.",
                hint="The model file may be made to do harm; fetch it from a source you trust.",
            )
        writer.join()
        return line

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _start() -> subprocess.Popen[bytes]:
    program = Path(__file__).with_name("render.py")
    return subprocess.Popen(
        [sys.executable, "-I", str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
        bufsize=0,
    )


def _feed(process: subprocess.Popen[bytes], order: bytes) -> None:
    assert process.stdin is not None
    view = memoryview(order)
    try:
        while view:
            view = view[process.stdin.write(view) :]
    except (OSError, ValueError):
        return  # the process was stopped meanwhile


def _read_line(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    assert process.stdout is not None
    parts: list[bytes] = []
    with selectors.DefaultSelector() as waiter:
        waiter.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not waiter.select(left):
                break
            part = process.stdout.read(1 << 20)
            if not part:
                break
            parts.append(part)
            if part.endswith(b"\n"):
                break
    return b"".join(parts)


class Marks:
    """Takes control-token texts out of a conversation and puts them back as plain text."""

    def __init__(self, pattern: re.Pattern[str], texts: list[str]) -> None:
        self._pattern = pattern
        starts = {text[:size] for text in texts for size in range(1, len(text))}
        self._tails = re.compile(
            "(?:" + "|".join(map(re.escape, sorted(starts, key=len, reverse=True))) + r")\Z"
        )
        self._has_tails = bool(starts)
        self._taken: list[str] = []
        self._open = self._close = ""

    def protect(self, values: dict[str, Any]) -> dict[str, Any]:
        """The same values with every control-token text, and every beginning of one at an end, marked."""
        used = set(json.dumps(values, ensure_ascii=False))
        free = (chr(code) for code in _PRIVATE if chr(code) not in used)
        self._open, self._close = next(free), next(free)
        return {key: self._walk(value) for key, value in values.items()}

    def split(self, text: str) -> list[tuple[str, bool]]:
        """The rendered text as (text, may hold control tokens) pairs."""
        pieces: list[tuple[str, bool]] = []
        start = 0
        for match in re.finditer(f"{self._open}(\\d+){self._close}", text):
            pieces.append((text[start : match.start()], True))
            pieces.append((self._taken[int(match[1])], False))
            start = match.end()
        pieces.append((text[start:], True))
        return [piece for piece in pieces if piece[0]]

    def _walk(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._mark(value)
        if isinstance(value, list):
            return [self._walk(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, dict):
            return {self._mark(str(key)): self._walk(item) for key, item in value.items()}  # pyright: ignore
        return value

    def _mark(self, text: str) -> str:
        parts: list[str] = []
        start = 0
        for match in self._pattern.finditer(text):
            parts += (text[start : match.start()], self._take(text[match.start()]))
            start = match.start() + 1
        rest = text[start:]
        # A text that ends like the beginning of a control token could become one with what follows it.
        if self._has_tails and (tail := self._tails.search(rest, max(0, len(rest) - 64))):
            return "".join([*parts, rest[: tail.start()], self._take(tail[0])])
        return "".join([*parts, rest])

    def _take(self, text: str) -> str:
        self._taken.append(text)
        return f"{self._open}{len(self._taken) - 1}{self._close}"


class Prompter:
    """Conversations to prompt tokens for one model."""

    def __init__(self, vocabulary: Vocabulary, source: str) -> None:
        self.source = source
        self._vocabulary = vocabulary
        self._renderer = Renderer(source)
        self._texts = list(vocabulary.structural.values())
        self._bases: dict[str, list[int]] = {}

    def prompt(self, values: dict[str, Any]) -> list[int]:
        """Tokens of the whole prompt; `values` are what the template is given (messages, tools, switches)."""
        marks = Marks(self._vocabulary.structural_pattern, self._texts)
        text = self._renderer.render(self._with_names(marks.protect(values)))
        return tokenise(self._vocabulary, marks.split(text))

    def base_length(self, values: dict[str, Any], prompt: list[int]) -> int:
        """How many tokens of `prompt` depend on the system message and the tools alone."""
        fixed = {key: value for key, value in values.items() if key != "messages"}
        messages: list[dict[str, Any]] = values["messages"]
        system = [m for m in messages[:1] if m.get("role") in ("system", "developer")]
        key = json.dumps([fixed, system], sort_keys=True)
        if key not in self._bases:
            if len(self._bases) > 64:
                self._bases.clear()
            # Beginnings that merge differently with what stands before them.
            first, second = (
                self.prompt({**fixed, "messages": [*system, {"role": "user", "content": text}]})
                for text in ("a", "\n\nb")
            )
            self._bases[key] = first[: common_prefix(first, second)]
        return common_prefix(prompt, self._bases[key])

    def close(self) -> None:
        self._renderer.close()

    def _with_names(self, values: dict[str, Any]) -> dict[str, Any]:
        piece: Callable[[int], bytes] = self._vocabulary.piece
        names = {"bos_token": self._vocabulary.bos, "eos_token": self._vocabulary.eos}
        named = {name: piece(token).decode("utf-8", "replace") for name, token in names.items() if token >= 0}
        return {**named, **values}


def tokenise(vocabulary: Vocabulary, pieces: list[tuple[str, bool]]) -> list[int]:
    """Tokens of marked text; a beginning-of-text token where the model wants one and the template wrote
    none."""
    tokens: list[int] = []
    for text, trusted in pieces:
        tokens += vocabulary.encode(text) if trusted else vocabulary.encode_plain(text)
    if vocabulary.adds_bos and tokens[:1] != [vocabulary.bos]:
        tokens.insert(0, vocabulary.bos)
    return tokens
