"""A tiny real model, loaded once per run for all tests of the runtime."""

from collections.abc import Generator
from pathlib import Path

import llama_cpp._utils
import pytest

from kimi_runtime.llama import LoadOptions, Model
from kimi_runtime.vocabulary import Vocabulary
from kimi_testing.engines import Engines
from kimi_testing.tiny_model import write_tiny_model


@pytest.fixture(scope="session", autouse=True)
def _library_files_closed() -> Generator[None]:
    """llama_cpp opens /dev/null when imported and never closes it, which Python would complain about."""
    yield
    llama_cpp._utils.outnull_file.close()
    llama_cpp._utils.errnull_file.close()


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> Generator[Model]:
    model = Model(tiny_path, LoadOptions(repack=False))
    yield model
    model.close()


@pytest.fixture(scope="session")
def vocabulary(tiny: Model) -> Vocabulary:
    return Vocabulary(tiny)


@pytest.fixture
def make(tiny: Model, vocabulary: Vocabulary) -> Generator[Engines]:
    engines = Engines(tiny, vocabulary)
    yield engines
    engines.close()
