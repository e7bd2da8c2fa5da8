"""The settings of a configuration file, as TOML spells them. Knows no file."""

from typing import Annotated, Literal

import msgspec

Mode = Literal["manual", "auto", "yolo"]
_Count = Annotated[int, msgspec.Meta(ge=1)]


class Provider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OpenAI-compatible server. The key itself is never in a file: `api_key_env` names its variable."""

    base_url: str
    api_key_env: str = ""
    model: str = ""
    context: _Count | None = None


class Permission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules are "Tool(pattern)"; deny beats ask beats allow."""

    mode: Mode = "auto"
    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class Sandbox(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    enabled: bool = True
    network: tuple[str, ...] = ()


class Verify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`timeout` in seconds, for each command."""

    commands: tuple[str, ...] = ()
    timeout: _Count = 600


class Agent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of a turn; none means none. `attempts`: answers to try per repair; none: by model size."""

    attempts: _Count | None = None
    max_steps: _Count | None = None
    max_tokens: _Count | None = None


class Runtime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The embedded runtime. `context` in tokens; `idle` seconds without a request end it."""

    context: _Count | None = None
    idle: _Count = 900


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`model`: a catalogue name, a .gguf file, or the name of a provider."""

    model: str = "qwen2.5-coder-1.5b"
    providers: dict[str, Provider] = {}
    permission: Permission = Permission()
    sandbox: Sandbox = Sandbox()
    verify: Verify = Verify()
    agent: Agent = Agent()
    runtime: Runtime = Runtime()
