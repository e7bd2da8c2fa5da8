"""Puts an engine together from a session, a place, a model and a gate."""

import platform
import time
from functools import partial
from pathlib import Path

import msgspec

from kimi_code.adapters.toolbox import LocalToolbox
from kimi_code.adapters.workspace import LocalWorkspace
from kimi_code.agent.case import Case
from kimi_code.agent.engine import Engine, Options
from kimi_code.agent.ports import Gate, Model, Toolbox
from kimi_code.agent.repair import Wording
from kimi_code.config import paths
from kimi_code.events import Fact, PromptStored, SessionStarted
from kimi_code.session.session import Session
from kimi_code.version import __version__
from kimi_prompts import load
from kimi_tools.base import Hands
from kimi_tools.bash import Bash
from kimi_tools.box import Box, NoBox, Rules, Unboxed
from kimi_tools.bubblewrap import find_box, why_not
from kimi_tools.githead import head_branch
from kimi_tools.toolset import Toolset, core_tools
from kimi_tools.workspace import Workspace as Folder

_WORDINGS = ("code", "scratch", "docstring")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where an agent works. `instructions`: the AGENTS.md text, already bounded. All paths absolute, real."""

    root: Path
    add_dirs: tuple[Path, ...] = ()
    sandbox: bool = True
    instructions: str = ""


def find_sandbox(place: Place, spill: Path) -> tuple[Box, str]:
    """The box for a place, and why it is none: empty where commands are boxed.

    `spill`: the session's folder of long outputs, which commands may read. Without a sandbox nothing runs,
    unless the user switched it off.
    """
    rules = Rules(
        root=place.root,
        state=paths.data_dir() / "box",
        writable=place.add_dirs,
        readable=(spill,),
        hidden=(paths.data_dir(), paths.config_dir()),
    )
    if not place.sandbox:
        return Unboxed(rules), "switched off"
    box = find_box(rules)
    if box is not None:
        return box, ""
    reason = why_not(rules)
    return NoBox(reason), reason


def build_engine(
    session: Session,
    place: Place,
    *,
    box: Box,
    model: Model,
    model_name: str,
    gate: Gate,
    approval: str,
    options: Options,
) -> tuple[Engine, tuple[Fact, ...]]:
    """The engine, and the facts that open (or reopen) its session.

    A session that has a prompt keeps it: it is replayed byte for byte, so that caches hold.
    """
    hands = Hands(root=place.root, spill=session.spill_dir, extra_roots=place.add_dirs)
    toolbox = LocalToolbox(Toolset(core_tools(Bash(box)), hands))
    folder = Folder(place.root, box, paths.data_dir() / "checkpoints")
    opening: list[Fact] = [
        SessionStarted(
            version=__version__,
            cwd=str(place.root),
            model=model_name,
            approval=approval,
            sandbox=_sandbox_name(box),
            resumed_from=session.id if session.log.records else None,
        )
    ]
    if session.state.prompt is None:
        opening.append(_prompt(place, toolbox))
    engine = Engine(
        session,
        model=model,
        toolbox=toolbox,
        workspace=LocalWorkspace(folder),
        gate=gate,
        options=options,
    )
    return engine, tuple(opening)


def _sandbox_name(box: Box) -> str:
    if isinstance(box, Unboxed):
        return "off"
    return "none" if isinstance(box, NoBox) else "bubblewrap"


def repair_wordings() -> tuple[Wording, ...]:
    """The ways in which a repair is asked for, the best first; docs/benchmarks.md has what was measured."""

    def wording(name: str, case: Case) -> str:
        if name == "scratch" and not (case.blank and case.checks):
            return ""
        return load(f"repair/{name}", **case.variables())

    return tuple(partial(wording, name) for name in _WORDINGS)


def _prompt(place: Place, toolbox: Toolbox) -> PromptStored:
    branch = head_branch(place.root)
    extra = f"Git branch: {branch}\n" if branch else ""
    if place.add_dirs:
        extra += "Further folders: " + ", ".join(map(str, place.add_dirs)) + "\n"
    context = load(
        "context",
        cwd=str(place.root),
        system=f"{platform.system()} {platform.machine()}",
        date=time.strftime("%Y-%m-%d"),
        extra=extra,
    )
    if place.instructions:
        context += "\n\n" + place.instructions
    return PromptStored(
        system=load("system"),
        tools=[msgspec.to_builtins(spec) for spec in toolbox.specs()],
        context=context,
    )
