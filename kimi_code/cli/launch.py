"""From what was asked on the command line to a finished run: settings, engine, output, exit code."""

import sys
from pathlib import Path
from typing import Any

import msgspec

from kimi_code.adapters.gate import GateMode, PermissionGate, read_presets
from kimi_code.agent.budget import Limits
from kimi_code.agent.engine import Options
from kimi_code.agent.ports import ModelInfo, Sampling
from kimi_code.commands import Say
from kimi_code.config import paths
from kimi_code.config.instructions import read_instructions
from kimi_code.config.load import load
from kimi_code.config.schema import Config
from kimi_code.errors import KimiError, UsageError
from kimi_code.headless.output import Format, output_for, report_failure
from kimi_code.headless.progress import LineReporter, Reporter
from kimi_code.headless.run import run_task
from kimi_code.session.session import Session
from kimi_code.session.store import Store
from kimi_code.wiring.engine import Place, build_engine, find_sandbox, repair_wordings
from kimi_code.wiring.models import choose_model, default_attempts
from kimi_prompts import load as load_prompt


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What `run` was asked. None: not given, the configuration decides. `resume` "" is the folder's last."""

    prompt: str
    cwd: Path
    add_dirs: tuple[Path, ...] = ()
    output_format: Format = "text"
    model: str | None = None
    model_url: str | None = None
    api_key_env: str | None = None
    approval: GateMode | None = None
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


async def run_headless(task: Task) -> int:
    """Run it to its end; returns the exit code. Raises KimiError before anything was begun."""
    try:
        return await _run(task)
    except KimiError as error:
        report_failure(error, task.output_format)
        raise


async def _run(task: Task) -> int:
    root = _folder(task.cwd)
    settings = load(root, _flags(task))
    config = settings.config
    mode: GateMode = "plan" if task.approval == "plan" else config.permission.mode
    instructions, notes = read_instructions(root, max_all=config.agent.instructions)
    place = Place(
        root=root,
        add_dirs=tuple(_folder(path) for path in task.add_dirs),
        sandbox=config.sandbox.enabled,
        instructions=instructions,
    )
    store = Store(paths.sessions_dir())
    earlier = _earlier(store, task, root)
    presets = read_presets(task.approvals) if task.approvals is not None else ()
    model, name = choose_model(settings)
    session = _session(store, task, earlier)
    box, no_box = find_sandbox(place, session.spill_dir)
    engine, opening = build_engine(
        session,
        place,
        box=box,
        model=model,
        model_name=name,
        gate=PermissionGate(
            mode,
            boxed=not no_box,
            permission=config.permission,
            roots=(root, *place.add_dirs),
            readable=(session.spill_dir.resolve(),),
            presets=presets,
        ),
        approval=mode,
        options=_options(task, config),
    )
    for warning in (*settings.warnings, *notes, *_no_box_warning(config, no_box)):
        sys.stderr.write(f"kimi-code: {warning}\n")
    shown = _reporter()
    try:
        return await run_task(
            engine, opening, Say(text=task.prompt), output_for(task.output_format), shown.show
        )
    finally:
        shown.close()
        session.close()


def _reporter() -> Reporter:
    if not sys.stderr.isatty():
        return LineReporter()
    from kimi_code.headless.live import LiveReporter

    return LiveReporter()


def _folder(path: Path) -> Path:
    real = path.expanduser().resolve()
    if not real.is_dir():
        what = "is not a directory" if real.exists() else "does not exist"
        raise UsageError(f"{path} {what}.", hint="Give a folder to work in with -C.")
    return real


def _flags(task: Task) -> dict[str, Any]:
    return {
        "model": task.model,
        "model_url": task.model_url,
        "api_key_env": task.api_key_env,
        "permission.mode": None if task.approval == "plan" else task.approval,
        "sandbox.enabled": task.sandbox,
    }


def _earlier(store: Store, task: Task, root: Path) -> str | None:
    """The id of the session to go on with or to branch off from. Raises UsageError for an unknown one."""
    name = task.resume if task.fork is None else task.fork
    if name is None:
        return None
    return store.folder(name).name if name else store.latest(str(root))


def _session(store: Store, task: Task, earlier: str | None) -> Session:
    if earlier is None:
        return store.create()
    return store.fork(earlier) if task.fork is not None else store.open(earlier)


def _options(task: Task, config: Config) -> Options:
    fixed = task.attempts or config.agent.attempts

    def attempts(info: ModelInfo) -> int:
        return fixed or default_attempts(info)

    return Options(
        limits=Limits(
            steps=task.max_steps or config.agent.max_steps,
            tokens=task.max_tokens or config.agent.max_tokens,
            seconds=task.timeout_s or config.agent.timeout,
        ),
        sampling=Sampling(thinking=task.thinking, preserve_thinking=task.preserve_thinking),
        verify=() if task.no_verify else task.verify or config.verify.commands,
        detect=not task.no_verify,
        verify_timeout_s=float(config.verify.timeout),
        attempts=attempts,
        repair_system=load_prompt("repair/system"),
        repair_wordings=repair_wordings(),
    )


def _no_box_warning(config: Config, no_box: str) -> tuple[str, ...]:
    if not no_box:
        return ()
    if not config.sandbox.enabled:
        return ("the sandbox is switched off: commands can change anything you can.",)
    return (f"there is no sandbox here, so every command must be approved: {no_box}",)
