"""What can be configured, as types. Knows neither files nor where a value comes from."""

from typing import Annotated, Literal

import msgspec

Mode = Literal["manual", "auto", "yolo", "plan"]
STRICTNESS: tuple[Mode, ...] = ("plan", "manual", "auto", "yolo")
"""The modes, the strictest first."""

_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Seconds = Annotated[float, msgspec.Meta(gt=0)]
# As far as a window can be thought of; a typing error should not ask for a terabyte of KV cache.
_Window = Annotated[int, msgspec.Meta(ge=256, le=100_000_000)]


class Provider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OpenAI-compatible server. `api_key_env` names the variable with the key: no key is ever in a file.

    An empty `model` is the first that the server lists. `context` in tokens; None: the server is asked.
    """

    base_url: str
    api_key_env: str = ""
    model: str = ""
    context: _Window | None = None


class Permission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules are `Tool(pattern)`; deny beats ask beats allow."""

    mode: Mode = "auto"
    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class Sandbox(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`network`: hosts that boxed commands may reach."""

    enabled: bool = True
    network: tuple[str, ...] = ()


class Verify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`commands` must exit 0 at the end; none: they are found in the repository. `timeout`: seconds each."""

    commands: tuple[str, ...] = ()
    timeout: _Seconds = 600.0


class Agent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Budgets of one turn; None is no limit. `attempts` None: by the model's size. `timeout` in seconds.

    `instructions`: how many bytes of AGENTS.md files are given to the model, at most.
    """

    attempts: _Positive | None = None
    max_steps: _Positive | None = None
    max_tokens: _Positive | None = None
    timeout: _Seconds | None = None
    instructions: Annotated[int, msgspec.Meta(ge=0)] = 32_768


class Runtime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The local model's process. None: as suits the machine. `idle`: seconds without work until it ends."""

    context: _Window | None = None
    threads: _Positive | None = None
    idle: _Seconds = 900.0


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole config.toml. `model`: a local model's name or file, or the name of a provider."""

    model: str = ""
    providers: dict[str, Provider] = {}
    permission: Permission = Permission()
    sandbox: Sandbox = Sandbox()
    verify: Verify = Verify()
    agent: Agent = Agent()
    runtime: Runtime = Runtime()
