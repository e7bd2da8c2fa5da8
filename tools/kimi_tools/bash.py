"""The Bash tool: a shell command in the workspace, never waiting for an answer.

Knows no box in particular.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec

from kimi_tools.base import Effect, Hands, Outcome, ToolFailure
from kimi_tools.box import BASH, Box, BoxFailed
from kimi_tools.runner import TIMEOUT_S, Ran, run

MAX_TIMEOUT_S = 3600
_MAX_COMMAND = 100_000

# Full-screen editors wait for keys that never come, whatever their input is; unless told to run a script.
_EDITOR = re.compile(
    r"(?:^|[;&|(\n])\s*(?:\S*/)?(vim?|nvim|vimdiff|view|emacs|nano|pico|micro)(\s[^;&|\n]*)?(?=$|[;&|)\n])"
)
_SCRIPTED = re.compile(r"\s-(?:es?|Es?|c|s|S|-batch|-script|-headless|-version|-help|V|v|h)\b|\s\+")
# Programs that talk when they have a terminal: with none they end at once, and that needs an explanation.
_TALKATIVE = re.compile(
    r"^\s*(?:(?:\S*/)?(?:python[\d.]*|node|irb|ghci|bc|sqlite3|psql|mysql|gdb|bash|sh|less|more|top|htop)\s*$"
    r"|(?:sudo|su|ssh|passwd)\b|git\s+(?:commit|rebase\s+-i|add\s+-[ip])\b|read\b)"
)
_GIT_REFUSED = re.compile(r"\.git/\S*: Read-only file system|\.git\S*': Read-only file system")
_NOT_INTERACTIVE = "This shell is non-interactive: no terminal, no input. Use options that need neither."


class BashArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    command: str
    timeout: Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMEOUT_S)] = int(TIMEOUT_S)
    description: str = ""


class Bash:
    """Runs commands in `box`. `environment` is added to what each command sees."""

    name = "Bash"
    Arguments = BashArguments

    def __init__(self, box: Box, environment: Mapping[str, str] | None = None) -> None:
        self._box = box
        self._environment = dict(environment or {})
        self._count = 0

    def effect(self, hands: Hands, args: BashArguments) -> Effect:
        if not args.command.strip():
            raise ToolFailure("The command is empty.")
        if "\0" in args.command:
            raise ToolFailure("A command cannot hold a NUL character.")
        if len(args.command) > _MAX_COMMAND:
            raise ToolFailure("The command is too long: write a script with Write and run that.")
        editor = _EDITOR.search(args.command)
        if editor and not _SCRIPTED.search(editor[2] or ""):
            raise ToolFailure(f"{_NOT_INTERACTIVE} {editor[1]} would wait for ever: use Edit, Write or Read.")
        return Effect(kind="execute", target=args.command, command=args.command)

    async def run(self, hands: Hands, args: BashArguments, output: Callable[[str], None]) -> Outcome:
        self.effect(hands, args)
        self._count += 1
        spill = hands.spill / f"bash-{os.getpid()}-{id(self):x}-{self._count}.txt"
        try:
            launch = self._box.launch(
                (BASH, "--noprofile", "--norc", "-c", args.command),
                cwd=hands.root,
                env_extra=self._environment,
            )
            ran = await run(launch, timeout_s=args.timeout, spill=spill, live=output)
        except BoxFailed as failure:
            raise ToolFailure(f"{failure} The command was not run.") from failure
        return Outcome(
            content=_content(args, ran),
            details={
                "exit_code": ran.exit_code,
                "duration_s": round(ran.duration_s, 3),
                "output_bytes": ran.output.total,
                "spill": str(ran.output.spill) if ran.output.spill else None,
                "timed_out": ran.timed_out,
                "left": list(ran.left),
            },
            is_error=ran.exit_code != 0,
        )


def _content(args: BashArguments, ran: Ran) -> str:
    parts = [ran.output.text().rstrip("\n")]
    if ran.timed_out:
        parts.append(
            f"[stopped after {args.timeout} s, with all it had started. If it only needs longer, give a "
            f"larger timeout. {_NOT_INTERACTIVE}]"
        )
    elif ran.exit_code != 0:
        parts.append(f"[exit code {ran.exit_code}{_meaning(ran.exit_code)}]")
    if not ran.timed_out and _TALKATIVE.search(args.command):
        parts.append(f"[{_NOT_INTERACTIVE}]")
    if ran.exit_code != 0 and _GIT_REFUSED.search(ran.output.tail or ran.output.head):
        parts.append("[.git is read-only for commands: leave adding and committing to the person.]")
    if ran.left:
        parts.append(f"[background processes do not outlive the call; ended: {', '.join(ran.left)}]")
    text = "\n".join(part for part in parts if part)
    return text or "[no output]"


def _meaning(code: int) -> str:
    if code == 126:
        return ": found, but cannot be executed"
    if code == 127:
        return ": command not found"
    if 128 < code <= 192:
        return f": ended by signal {code - 128}"
    return ""
