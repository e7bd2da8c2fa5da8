"""Counts tokens with the embedded model's own tokenizer and chat template; loads no weights."""

from pathlib import Path
from typing import Any

from kimi_code.config.paths import models_dir
from kimi_runtime.catalogue import DEFAULT
from kimi_runtime.llama import LoadOptions, Model
from kimi_runtime.store import resolve
from kimi_runtime.template import Prompter
from kimi_runtime.vocabulary import Vocabulary


def embedded_model() -> Path | None:
    """The default model's file in the store; None where it was not pulled."""
    return resolve(DEFAULT, models_dir())


class Tokenizer:
    """`count(text)` tokens of a text; `prompt(...)` the tokens a model is really given."""

    def __init__(self, path: Path) -> None:
        self._model = Model(path, LoadOptions(vocab_only=True))
        self._vocabulary = Vocabulary(self._model)
        self._prompter = Prompter(self._vocabulary, self._model.template())

    def count(self, text: str) -> int:
        return len(self._vocabulary.encode_plain(text))

    def prompt(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[int]:
        """Rendered by the chat template of the model."""
        return self._prompter.prompt({"messages": messages, "tools": tools, "add_generation_prompt": False})

    def close(self) -> None:
        self._prompter.close()
        self._model.close()
