"""Text to tokens and back. Knows which tokens are structure; keeps text of strangers from becoming one."""

import ctypes
import re
from collections.abc import Iterable
from functools import cached_property

import llama_cpp.llama_cpp as lib

from kimi_runtime.llama import Model

_STRUCTURAL = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_UNKNOWN
_TAG = re.compile(r"<[^<>\s]+>|\[[A-Z_/]+\]|<[|｜].*[|｜]>", re.DOTALL)


class Vocabulary:
    """The tokenizer of a model. Safe to use from several threads."""

    def __init__(self, model: Model) -> None:
        self.pointer = model.vocabulary
        self.size = lib.llama_vocab_n_tokens(self.pointer)
        self.adds_bos = bool(lib.llama_vocab_get_add_bos(self.pointer))
        self.bos = int(lib.llama_vocab_bos(self.pointer))  # pyright: ignore[reportArgumentType]
        self.eos = int(lib.llama_vocab_eos(self.pointer))  # pyright: ignore[reportArgumentType]
        self._pieces: dict[int, bytes] = {}

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Tokens of text we trust: the texts of special tokens become those tokens."""
        data = text.encode("utf-8", "replace")
        size = len(data) + 8
        while True:
            buffer = (lib.llama_token * size)()
            count = lib.llama_tokenize(self.pointer, data, len(data), buffer, size, False, special)
            if count >= 0:
                return buffer[:count]
            size = -count

    def encode_plain(self, text: str) -> list[int]:
        """Tokens of text we do not trust: none of them is structural.

        llama.cpp itself turns the text of "user defined" tokens such as `<tool_call>` into that token in any
        text, so every such text is cut after its first character.
        """
        tokens: list[int] = []
        start = 0
        for match in self.structural_pattern.finditer(text):
            tokens += self.encode(text[start : match.start() + 1], special=False)
            start = match.start() + 1
        return tokens + self.encode(text[start:], special=False)

    def piece(self, token: int) -> bytes:
        """The bytes of a token, those of special ones included."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._read_piece(token)
        return known

    def decode(self, tokens: Iterable[int]) -> str:
        return b"".join(map(self.piece, tokens)).decode("utf-8", "replace")

    def ends(self, token: int) -> bool:
        """Whether the token ends an answer."""
        return bool(lib.llama_vocab_is_eog(self.pointer, token))

    def is_structural(self, token: int) -> bool:
        return token in self.structural

    @property
    def address(self) -> int:
        """Of the C object, for libraries that tokenise by themselves."""
        return int(self.pointer)

    @property
    def tokenize_address(self) -> int:
        """Of the C function llama_tokenize."""
        return ctypes.cast(lib._lib.llama_tokenize, ctypes.c_void_p).value or 0  # pyright: ignore

    @cached_property
    def structural(self) -> dict[int, str]:
        """Tokens that are structure rather than text, by id: control tokens and user-defined tags."""
        found: dict[int, str] = {}
        for token in range(self.size):
            attributes = lib.llama_vocab_get_attr(self.pointer, token)
            if attributes & (_STRUCTURAL | lib.LLAMA_TOKEN_ATTR_USER_DEFINED):
                text = self.piece(token).decode("utf-8", "replace")
                if text and (attributes & _STRUCTURAL or _TAG.fullmatch(text)):
                    found[token] = text
        return found

    @cached_property
    def endings(self) -> list[int]:
        """Tokens that end an answer."""
        return [token for token in {*self.structural, self.eos} if token >= 0 and self.ends(token)]

    @cached_property
    def structural_pattern(self) -> re.Pattern[str]:
        """Matches, without width, before the text of any structural token; overlapping ones too."""
        texts = sorted(set(self.structural.values()), key=len, reverse=True)
        if not texts:
            return re.compile(r"(?!)")
        return re.compile("(?=" + "|".join(map(re.escape, texts)) + ")")

    def _read_piece(self, token: int) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = lib.llama_token_to_piece(self.pointer, token, buffer, size, 0, True)
            if length >= 0:
                return buffer.raw[:length]
            size = -length
