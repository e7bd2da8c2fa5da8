"""From what was asked on the command line to a finished run: settings, engine, output, exit code."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from kimi_code.commands import Say
from kimi_code.headless.output import Format


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What `run` was asked. None: not given, the configuration decides. `resume` "" is the folder's last."""

    prompt: str
    cwd: Path
    add_dirs: tuple[Path, ...] = ()
    output_format: Format = "text"
    model: str | None = None
    model_url: str | None = None
    api_key_env: str | None = None
    approval: str | None = None
    approvals: Path | None = None
    sandbox: bool | None = None
    verify: tuple[str, ...] = ()
    no_verify: bool = False
    attempts: int | None = None
    max_steps: int | None = None
    max_tokens: int | None = None
    timeout_s: float | None = None
    thinking: bool | None = None
    preserve_thinking: bool = False
    resume: str | None = None
    fork: str | None = None
