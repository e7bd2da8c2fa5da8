"""Which model a run uses: the embedded runtime's file or a server. Knows no session and no tool."""

from pathlib import Path

from kimi_code.adapters.openai import OpenAIModel
from kimi_code.adapters.runtime import LocalModel
from kimi_code.agent.ports import Model, ModelInfo
from kimi_code.config import paths
from kimi_code.config.load import Settings
from kimi_code.config.schema import Config
from kimi_code.errors import ModelFailure, ModelMissing, UsageError
from kimi_runtime import store
from kimi_runtime.catalogue import Entry, find
from kimi_runtime.failures import BadModel
from kimi_runtime.header import read_header

DEFAULT = "qwen2.5-coder-1.5b"
_SMALL, _MEDIUM = 4.0, 14.0  # billions of parameters


def choose_model(settings: Settings) -> tuple[Model, str]:
    """The model and its name. Raises UsageError, ModelMissing."""
    if (endpoint := settings.endpoint) is not None:
        model = OpenAIModel(endpoint.base_url, endpoint.model, endpoint.api_key(), context=endpoint.context)
        return model, endpoint.model or endpoint.base_url
    return _embedded(settings.config)


def default_attempts(info: ModelInfo) -> int:
    """Answers to try per repair: many for a small local model, one where each costs minutes or money."""
    if not info.local:
        return 1
    if (entry := find(info.name)) is not None:
        return entry.attempts
    if info.billions is None or info.billions > _MEDIUM:
        return 1
    return 64 if info.billions < _SMALL else 8


def _embedded(config: Config) -> tuple[Model, str]:
    name = config.model or DEFAULT
    path = store.resolve(name, paths.models_dir())
    if path is None:
        raise _missing(name)
    entry: Entry | None = find(name)
    shown = name if entry is not None else path.stem
    model = LocalModel(
        path,
        name=shown,
        billions=entry.billions if entry is not None else _billions(path),
        run_dir=paths.run_dir(),
        cache_dir=paths.cache_dir(),
        context=config.runtime.context,
        idle_s=float(config.runtime.idle),
    )
    return model, shown


def _billions(path: Path) -> float:
    """From the file's header, which is checked on the way. Raises ModelFailure."""
    try:
        return read_header(path).parameters / 1e9
    except BadModel as bad:
        raise ModelFailure(bad.message, hint=bad.hint) from bad


def _missing(name: str) -> UsageError | ModelMissing:
    if name.endswith(".gguf"):
        return UsageError(f"There is no model file {name}.", hint="See: kimi-code models list")
    entry = find(name)
    if entry is None:
        return UsageError(
            f"There is no model {name!r}, and no provider of that name.", hint="See: kimi-code models list"
        )
    return ModelMissing(
        f"The model {name} is not on this machine yet.",
        hint=f"Run: kimi-code models pull {name}",
        name=name,
        size=f"{entry.size / 1e9:.1f} GB",
    )
