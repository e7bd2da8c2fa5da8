"""Which model a run uses: the embedded runtime's file or a server. Knows no session and no tool."""

import os
from pathlib import Path

from kimi_code.adapters.openai import OpenAIModel
from kimi_code.adapters.runtime import LocalModel
from kimi_code.agent.ports import Model, ModelInfo
from kimi_code.config import paths
from kimi_code.config.load import ENVIRONMENT_PROVIDER
from kimi_code.config.schema import Provider, Settings
from kimi_code.errors import ModelMissing, UsageError
from kimi_runtime import store
from kimi_runtime.catalogue import Entry, find

_SMALL, _MEDIUM = 4.0, 14.0  # billions of parameters


def choose_model(
    settings: Settings, url: str | None, key_env: str | None, name: str | None
) -> tuple[Model, str]:
    """The model and its name. `url`, `key_env` and `name` are flags. Raises UsageError, ModelMissing."""
    if url is not None:
        return _server(Provider(base_url=url, api_key_env=key_env or "KIMI_API_KEY", model=name or ""))
    environment = settings.providers.get(ENVIRONMENT_PROVIDER)
    if name is not None and environment is not None and _local(name) is None:
        return _server(
            Provider(base_url=environment.base_url, api_key_env=environment.api_key_env, model=name)
        )
    if (provider := settings.providers.get(settings.model)) is not None:
        return _server(provider)
    return _embedded(settings)


def default_attempts(info: ModelInfo) -> int:
    """Answers to try per repair: many for a small local model, one where each costs minutes or money."""
    if not info.local:
        return 1
    if (entry := find(info.name)) is not None:
        return entry.attempts
    if info.billions is None or info.billions > _MEDIUM:
        return 1
    return 64 if info.billions < _SMALL else 8


def _server(provider: Provider) -> tuple[Model, str]:
    key = os.environ.get(provider.api_key_env, "") if provider.api_key_env else ""
    model = OpenAIModel(provider.base_url, provider.model, key, context=provider.context)
    return model, provider.model or provider.base_url


def _local(name: str) -> Path | None:
    return store.resolve(name, paths.models_dir())


def _embedded(settings: Settings) -> tuple[Model, str]:
    name = settings.model
    path = _local(name)
    if path is None:
        raise _missing(name)
    entry: Entry | None = find(name)
    shown = name if entry is not None else path.stem
    model = LocalModel(
        path,
        name=shown,
        billions=entry.billions if entry is not None else None,
        run_dir=paths.run_dir(),
        cache_dir=paths.cache_dir(),
        context=settings.runtime.context,
        idle_s=float(settings.runtime.idle),
    )
    return model, shown


def _missing(name: str) -> UsageError | ModelMissing:
    if name.endswith(".gguf"):
        return UsageError(f"There is no model file {name}.", hint="See: kimi-code models list")
    if find(name) is None:
        return UsageError(
            f"There is no model {name!r}, and no provider of that name.", hint="See: kimi-code models list"
        )
    return ModelMissing(
        f"The model {name} is not on this machine yet.", hint=f"Run: kimi-code models pull {name}"
    )
