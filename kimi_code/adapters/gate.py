"""May this call run? The user's rules, the permission mode and the answers given in advance, as a Gate.

Knows modes, rules and whether commands are boxed; no tool, no session and nobody to ask. It looks at what
a call would do, never at what the call says about itself.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from kimi_code.agent.ports import Intent, Ruling
from kimi_code.config.project import read_regular
from kimi_code.config.rule import BadRule
from kimi_code.config.rules import CompiledRule, RuleBook, Verdict, allows_use
from kimi_code.config.schema import Mode, Permission
from kimi_code.config.visible import visible
from kimi_code.errors import UsageError
from kimi_code.events import Call, Decision
from kimi_tools.guards import GUARDED

GateMode = Mode

_MAX_FILE = 1 << 20
_HINT = 'Write each line like {"match": "Bash(make *)", "decision": "once"}.'
_BASH = "Bash"


class Preset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of an approvals file. `match` is a rule."""

    match: str
    decision: Decision


class PermissionGate:
    """Implements `Gate`.

    boxed: commands run in the sandbox; then auto mode has nothing to ask for them.
    roots: the folders the agent works in, absolute and real, the workspace first; none: nothing is outside.
    readable: further folders that may be read without asking.
    Raises BadRule for a rule that is none.
    """

    def __init__(
        self,
        mode: GateMode,
        *,
        boxed: bool,
        permission: Permission | None = None,
        roots: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        presets: Sequence[Preset] = (),
    ) -> None:
        base = roots[0] if roots else Path("/")
        self._mode = mode
        self._boxed = boxed
        self._roots = tuple(roots)
        self._readable = (*roots, *readable)
        self._book = RuleBook(permission or Permission(), base)
        self._presets: list[tuple[Decision, CompiledRule]] = [
            (each.decision, CompiledRule(each.match, base, follow=each.decision == "deny"))
            for each in presets
        ]
        self._remembered: set[tuple[str, ...]] = set()

    def judge(self, call: Call, intent: Intent) -> Ruling:
        verdict = self._verdict(call, intent)
        if verdict is not None and verdict.decision == "deny":
            return Ruling(decision="deny", why=verdict.reason, rule=verdict.rule)
        if (why := self._forbidden(intent)) != "":
            return Ruling(decision="deny", why=why)
        if intent.effect == "none":
            return Ruling(decision="allow", why="it changes nothing")
        if _key(call, intent) in self._remembered:
            return Ruling(decision="allow", why="it was allowed for this session")
        if self._mode == "yolo":
            return Ruling(decision="allow", why="yolo mode never asks")
        if verdict is not None and verdict.rule:
            why = verdict.reason if verdict.decision == "allow" else f"{verdict.reason}: {_what(intent)}"
            return Ruling(decision=verdict.decision, why=why, rule=verdict.rule)
        return self._by_mode(call, intent, verdict)

    def preset(self, call: Call, intent: Intent) -> Decision | None:
        for decision, rule in self._presets:
            if self._is_meant(call, intent, rule, deny=decision == "deny"):
                return decision
        return None

    def remember(self, call: Call, intent: Intent) -> None:
        self._remembered.add(_key(call, intent))

    # ------------------------------------------------------------ rules

    def _verdict(self, call: Call, intent: Intent) -> Verdict | None:
        if intent.command:
            return self._book.judge_command(intent.command)
        return self._book.judge_use(call.name, intent.effect, intent.paths)

    def _is_meant(self, call: Call, intent: Intent, rule: CompiledRule, *, deny: bool) -> bool:
        if intent.command and deny:
            return self._book.finds(rule, intent.command)
        if intent.command:
            return self._book.allows_with(rule, intent.command)
        if deny:
            return rule.covers(call.name, intent.effect) and (
                rule.everything or any(rule.means(path) for path in intent.paths)
            )
        return allows_use(rule, call.name, intent.paths)

    # ------------------------------------------------------------ modes

    def _forbidden(self, intent: Intent) -> str:
        """Why it may not be done in any case, empty where it may."""
        if intent.effect == "write":
            for path in map(Path, intent.paths):
                name = next((part for part in self._inner_parts(path) if part.casefold() in GUARDED), "")
                if name:
                    return f"what is in {name} can run programs or give rights: {visible(str(path), 500)}"
        if self._mode == "plan" and intent.effect in ("write", "execute"):
            return "plan mode only reads"
        return ""

    def _by_mode(self, call: Call, intent: Intent, verdict: Verdict | None) -> Ruling:
        outside = self._outside(intent)
        if outside and intent.effect in ("read", "write"):
            return Ruling(decision="ask", why=f"it is outside the workspace: {visible(outside, 500)}")
        if intent.effect == "read":
            return Ruling(decision="allow", why="it only reads in the workspace")
        if self._mode == "manual":
            reason = f"manual mode asks ({verdict.reason})" if verdict is not None else "manual mode asks"
            return Ruling(decision="ask", why=f"{reason}: {_what(intent)}")
        if intent.effect == "write":
            return Ruling(decision="allow", why="it stays in the workspace")
        if call.name != _BASH:
            return Ruling(decision="ask", why=f"{visible(call.name, 200)} acts outside the sandbox")
        if not self._boxed:
            return Ruling(decision="ask", why=f"there is no sandbox for this command: {_what(intent)}")
        return Ruling(decision="allow", why="it stays in the sandbox")

    def _outside(self, intent: Intent) -> str:
        """The first path that is in none of the folders."""
        if not self._roots:
            return ""
        folders = self._roots if intent.effect == "write" else self._readable
        for path in intent.paths:
            if not any(Path(path).is_relative_to(folder) for folder in folders):
                return path
        return ""

    def _inner_parts(self, path: Path) -> tuple[str, ...]:
        """The names below the workspace; all names of a path that is elsewhere."""
        root = next((folder for folder in self._roots if path.is_relative_to(folder)), None)
        return path.relative_to(root).parts if root is not None else path.parts


def _what(intent: Intent) -> str:
    """What it would do, for people: the resolved target, with nothing hidden."""
    return visible(intent.command or ", ".join(intent.paths) or intent.target)


def _key(call: Call, intent: Intent) -> tuple[str, ...]:
    """What "exactly this" is: the command, the files, or else every argument."""
    if intent.command:
        return (call.name, intent.effect, intent.command)
    if intent.paths:
        return (call.name, intent.effect, "", *intent.paths)
    arguments = msgspec.json.encode(call.arguments, order="sorted").decode()
    return (call.name, intent.effect, intent.target, arguments)


def read_presets(path: Path) -> tuple[Preset, ...]:
    """The answers of an approvals file: JSON lines, the first match wins. Raises UsageError with the line."""
    try:
        data = read_regular(Path(path).resolve(), _MAX_FILE)
    except OSError as failure:
        raise UsageError(
            f"The approvals file {path} cannot be read: {failure.strerror}.",
            hint="Give a file of JSON lines.",
        ) from failure
    if len(data) > _MAX_FILE:
        raise UsageError(f"The approvals file {path} is larger than {_MAX_FILE >> 20} MiB.", hint=_HINT)
    presets: list[Preset] = []
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            preset = msgspec.json.decode(line, type=Preset)
            CompiledRule(preset.match, Path("/"), follow=False)
        except (msgspec.MsgspecError, UnicodeDecodeError, BadRule, RecursionError) as failure:
            raise UsageError(f"{path}, line {number}: {failure}.", hint=_HINT) from failure
        presets.append(preset)
    return tuple(presets)
