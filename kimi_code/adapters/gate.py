"""The permission mode as a Gate. Knows modes, boxes and preset answers; no tool."""

from pathlib import Path
from typing import Literal

import msgspec

from kimi_code.agent.ports import Intent, Ruling
from kimi_code.errors import UsageError
from kimi_code.events import Call, Decision

GateMode = Literal["manual", "auto", "yolo", "plan"]


class Preset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of an approvals file."""

    match: str
    decision: Decision


class PermissionGate:
    """`boxed`: commands run in the sandbox; then auto mode has nothing to ask for them."""

    def __init__(self, mode: GateMode, *, boxed: bool, presets: tuple[Preset, ...] = ()) -> None:
        self._mode = mode
        self._boxed = boxed
        self._presets = presets
        self._remembered: set[tuple[str, str]] = set()

    def judge(self, call: Call, intent: Intent) -> Ruling:
        if intent.effect in ("none", "read"):
            return Ruling(decision="allow", why="it changes nothing")
        if self._mode == "plan":
            return Ruling(decision="deny", why="plan mode only reads")
        if (call.name, intent.target) in self._remembered:
            return Ruling(decision="allow", why="allowed for this session")
        if self._mode == "yolo":
            return Ruling(decision="allow", why="yolo mode")
        if self._mode == "manual":
            return Ruling(decision="ask", why="manual mode asks for every change")
        if intent.effect == "execute" and not self._boxed:
            return Ruling(decision="ask", why="there is no sandbox for this command")
        return Ruling(decision="allow", why="it stays inside the workspace")

    def preset(self, call: Call, intent: Intent) -> Decision | None:
        return None

    def remember(self, call: Call, intent: Intent) -> None:
        self._remembered.add((call.name, intent.target))


def read_presets(path: Path) -> tuple[Preset, ...]:
    """The answers of an approvals file. Raises UsageError that names the line."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"The approvals file {path} cannot be read: {error.strerror}.") from error
    presets: list[Preset] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                presets.append(msgspec.json.decode(line, type=Preset))
            except msgspec.MsgspecError as error:
                raise UsageError(
                    f"{path}, line {number}: {error}.",
                    hint='Write each line like {"match": "Bash(make *)", "decision": "once"}.',
                ) from error
    return tuple(presets)
