"""The user's rules over commands, paths and tools: deny beats ask beats allow. Knows no mode and asks nobody.

Allow is strict: a command is allowed only where two readers of shell read the same literal simple commands
and a rule allows each. Deny and ask are generous: they look through wrappers, quotes, substitutions and the
scripts that shells are given. Both are for convenience; the sandbox is the boundary.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from kimi_code.config.allow import find_allowing
from kimi_code.config.lexer import read_script
from kimi_code.config.patterns import CommandPattern, glob_matches, path_pattern
from kimi_code.config.rule import parse_rule
from kimi_code.config.schema import Permission
from kimi_code.config.script import Script, TooNested
from kimi_code.config.search import Found, find_commands
from kimi_code.config.visible import visible

MAX_COMMAND = 50_000
_MAX_PARTS = 200
_SEARCHERS = frozenset({"Grep", "Glob"})
_WRITERS = frozenset({"Write", "Edit"})
# Stands for any file in a folder that a tool searches.
_SOMETHING = "\ue000"

Effect = Literal["none", "read", "write", "execute"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`rule` is the one that decided; empty: none did, and `decision` is ask, or deny for what is too much.

    `parts`: the simple commands as far as there are any, fit to be shown.
    """

    decision: Literal["allow", "ask", "deny"]
    reason: str
    rule: str = ""
    parts: tuple[str, ...] = ()


class CompiledRule:
    """One rule, ready to match. `follow`: links at the beginning of its path are followed too."""

    def __init__(self, text: str, root: Path, *, follow: bool) -> None:
        rule = parse_rule(text)
        self.text = rule.text
        self.tool = rule.tool
        self.everything = rule.pattern is None
        self.command = CommandPattern(rule.pattern or "*")
        self._path: Callable[[str], bool] = path_pattern(rule.pattern or "/**", root, follow=follow)

    def names(self, tool: str) -> bool:
        return glob_matches(self.tool, tool)

    def covers(self, tool: str, effect: Effect) -> bool:
        """Generously: what is said of Read holds for all that reads, of Write or Edit for all that writes."""
        family = (self.tool == "Read" and effect == "read") or (self.tool in _WRITERS and effect == "write")
        return family or self.names(tool)

    def means(self, path: str) -> bool:
        return self.everything or self._path(path)

    def finds(self, found: Sequence[Found]) -> bool:
        if self.everything or (self.command.open and not self.command.words):
            return True
        return any(self.command.finds(name, words, start) for name, words, start in found)


class RuleBook:
    """The rules in one workspace. `root`, absolute and real, is where relative paths begin.

    Raises BadRule.
    """

    def __init__(self, permission: Permission, root: Path) -> None:
        self._deny = [CompiledRule(text, root, follow=True) for text in permission.deny]
        self._ask = [CompiledRule(text, root, follow=True) for text in permission.ask]
        self._allow = [CompiledRule(text, root, follow=False) for text in permission.allow]

    def judge_command(self, command: str) -> Verdict:
        """What the rules say of a shell command. Never raises."""
        if len(command.encode("utf-8", "replace")) > MAX_COMMAND:
            why = f"it is longer than {MAX_COMMAND:,} bytes; put it in a script"
            return Verdict(decision="deny", reason=why)
        try:
            script = read_script(command)
            parts = _parts(script)
            forbidden = self._find_forbidden(command, script, parts)
            if forbidden is not None:
                return forbidden
            rules = [(each.text, each.command) for each in self._allow if each.names("Bash")]
            used, why = find_allowing(command, script, rules)
        except TooNested:
            why = "it is nested too deeply to be judged; put it in a script"
            return Verdict(decision="deny", reason=why)
        if why:
            return Verdict(decision="ask", reason=why, parts=parts)
        text = ", ".join(used)
        return Verdict(decision="allow", rule=text, reason=f"allowed by {text}", parts=parts)

    def _find_forbidden(self, command: str, script: Script, parts: tuple[str, ...]) -> Verdict | None:
        deny = [each for each in self._deny if each.names("Bash")]
        ask = [each for each in self._ask if each.names("Bash")]
        if not deny and not ask:
            return None
        found = find_commands(command, script)
        for rule in deny:
            if rule.finds(found):
                return Verdict(decision="deny", rule=rule.text, reason=f"denied by {rule.text}", parts=parts)
        for rule in ask:
            if rule.finds(found):
                return Verdict(decision="ask", rule=rule.text, reason=f"{rule.text} asks", parts=parts)
        return None

    def allows_with(self, rule: CompiledRule, command: str) -> bool:
        """Whether `rule` and the allow rules together allow a command, and the former is needed for it."""
        rules = [(each.text, each.command) for each in (rule, *self._allow) if each.names("Bash")]
        try:
            used, why = find_allowing(command, read_script(command), rules)
        except TooNested:
            return False
        return not why and rule.text in used

    def finds(self, rule: CompiledRule, command: str) -> bool:
        """Whether `rule` means a command, generously; so does what cannot be read."""
        try:
            return rule.names("Bash") and rule.finds(find_commands(command, read_script(command)))
        except TooNested:
            return True

    def judge_use(self, tool: str, effect: Effect, paths: Sequence[str]) -> Verdict | None:
        """What the rules say of a tool that is no shell; None: nothing. `paths` are absolute and real."""
        probes = [*paths, *(f"{path}/{_SOMETHING}" for path in paths if tool in _SEARCHERS)]
        for rule in self._deny:
            if rule.covers(tool, effect) and _any(rule, probes):
                return Verdict(decision="deny", rule=rule.text, reason=f"denied by {rule.text}")
        for rule in self._ask:
            if rule.covers(tool, effect) and _any(rule, probes):
                return Verdict(decision="ask", rule=rule.text, reason=f"{rule.text} asks")
        for rule in self._allow:
            if allows_use(rule, tool, paths):
                return Verdict(decision="allow", rule=rule.text, reason=f"allowed by {rule.text}")
        return None


def allows_use(rule: CompiledRule, tool: str, paths: Sequence[str]) -> bool:
    """Strictly: every path is meant; what has no paths only by a rule without a pattern."""
    named = rule.names(tool) or (rule.tool == "Read" and tool in _SEARCHERS)
    return named and (rule.everything or (bool(paths) and all(rule.means(path) for path in paths)))


def _any(rule: CompiledRule, paths: Sequence[str]) -> bool:
    return rule.everything or any(rule.means(path) for path in paths)


def _parts(script: Script) -> tuple[str, ...]:
    sources = [part.source for part in script.commands]
    parts = tuple(visible(source, 300) for source in sources[:_MAX_PARTS])
    return (*parts, f"[{len(sources) - len(parts):,} parts hidden]") if len(sources) > len(parts) else parts
