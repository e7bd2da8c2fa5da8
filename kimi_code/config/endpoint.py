"""Which model answers: one of this machine, or that of a server. Contacts nobody."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from kimi_code.config.schema import Config, Provider
from kimi_code.errors import UsageError

URL, KEY, NAME, CONTEXT = "KIMI_BASE_URL", "KIMI_API_KEY", "KIMI_MODEL_NAME", "KIMI_MODEL_MAX_CONTEXT_SIZE"
_LOCAL = "local/"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An OpenAI-compatible server. An empty `model` is the first it lists; `context` None: it is asked.

    The key is never in here: `api_key` reads it from the variable that `api_key_env` names.
    """

    base_url: str
    model: str = ""
    context: int | None = None
    api_key_env: str = ""

    def api_key(self) -> str:
        """The key, empty where none is needed. Raises UsageError where the named variable is not set."""
        key = os.environ.get(self.api_key_env, "").strip() if self.api_key_env else ""
        if not key and self.api_key_env not in ("", KEY):
            raise UsageError(
                f"The variable {self.api_key_env}, which should hold the key of {self.base_url}, is not set.",
                hint=f"export {self.api_key_env}=...",
            )
        return key


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """`endpoint` None: the local runtime runs `model`. `origin` "": the configuration chose."""

    model: str
    endpoint: Endpoint | None = None
    origin: str = ""


def choose(config: Config, flags: Mapping[str, str]) -> Choice:
    """Who answers. `flags`: model, model_url, api_key_env, as far as they were given.

    A model named by flag is, in this order: local (`local/NAME`, a .gguf file), a provider (`NAME` or
    `NAME/MODEL`), a model of the server that was given, a local model.
    """
    name = flags.get("model")
    key_env = flags.get("api_key_env", "")
    if url := flags.get("model_url"):
        if not key_env and os.environ.get(URL, url) == url:
            key_env = KEY  # a key belongs to the server it was given for
        server = Endpoint(
            base_url=url, model=name or "", context=context_of_environment(), api_key_env=key_env
        )
        return Choice(model=name or "", endpoint=server, origin="flag")
    if name is not None:
        return _named(config, name, key_env)
    if os.environ.get(URL):
        return _of_environment(os.environ.get(NAME, ""), key_env, URL)
    server = _provider(config, config.model, key_env)
    return Choice(model=server.model if server else _plain(config.model), endpoint=server)


def _named(config: Config, name: str, key_env: str) -> Choice:
    if name.startswith(_LOCAL) or name.endswith(".gguf"):
        return Choice(model=_plain(name), origin="flag")
    if server := _provider(config, name, key_env):
        return Choice(model=server.model, endpoint=server, origin="flag")
    if os.environ.get(URL):
        return _of_environment(name, key_env, "flag")
    return Choice(model=name, origin="flag")


def _of_environment(model: str, key_env: str, origin: str) -> Choice:
    server = Endpoint(
        base_url=os.environ[URL], model=model, context=context_of_environment(), api_key_env=key_env or KEY
    )
    return Choice(model=model, endpoint=server, origin=origin)


def _plain(name: str) -> str:
    """A local model's name; a file's is made absolute, so that it means the same to every process."""
    name = name.removeprefix(_LOCAL)
    return str(Path(os.path.expanduser(name)).absolute()) if name.endswith(".gguf") else name


def _provider(config: Config, name: str, key_env: str) -> Endpoint | None:
    """The provider called `name`, or the one before the first slash, with the model after it."""
    first, _, rest = name.partition("/")
    provider: Provider | None = config.providers.get(name)
    model = ""
    if provider is None:
        provider, model = config.providers.get(first), rest
    if provider is None:
        return None
    return Endpoint(
        base_url=provider.base_url,
        model=model or provider.model,
        context=provider.context,
        api_key_env=key_env or provider.api_key_env,
    )


def context_of_environment() -> int | None:
    """Tokens, from KIMI_MODEL_MAX_CONTEXT_SIZE. Raises UsageError."""
    text = os.environ.get(CONTEXT, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 256 <= int(text[:12]) <= 100_000_000:
        raise UsageError(f"{CONTEXT} is {text!r}: not a number of tokens.", hint="Give one like 131072.")
    return int(text)
