"""What a trusted project's configuration may set: it can be stricter than the user's, never laxer.

Knows tables and values, no file.
"""

from collections.abc import Callable
from typing import Any, cast

from kimi_code.config.schema import STRICTNESS
from kimi_code.config.table import Table

Taken = dict[str, object]
_Rule = Callable[[object, Any], tuple[object, str]]
# A rule gives what is taken (None: nothing) of a project's value, and why not all of it was, else "".


def tighten(current: dict[str, object], table: Table) -> tuple[Taken, tuple[str, ...]]:
    """What of a project's (valid) table takes effect, by dotted key, and what was left out, with the reason.

    `current` is what holds without it, by dotted key.
    """
    taken: Taken = {}
    left_out: list[str] = []
    for key, value in _flat(table):
        rule = _RULES.get(key)
        if rule is None:
            left_out.append(f"{key}: only your own configuration can set it")
            continue
        accepted, why = rule(current[key], value)
        if accepted is not None and accepted != current[key]:
            taken[key] = accepted
        if why:
            left_out.append(f"{key}: {why}")
    return taken, tuple(left_out)


def _flat(table: Table) -> list[tuple[str, Any]]:
    """Dotted key -> value; a provider or a model is one key, for it is left out as a whole."""
    found: list[tuple[str, Any]] = []
    for section, value in table.items():
        if section in ("model", "providers"):
            found.append((section, value))
        else:
            found += [(f"{section}.{key}", inner) for key, inner in cast(Table, value).items()]
    return found


def _mode(current: object, value: Any) -> tuple[object, str]:
    if STRICTNESS.index(value) <= [*STRICTNESS].index(current):  # type: ignore[arg-type]
        return value, ""
    return None, f"{value} asks less than your {current}"


def _more(current: object, value: Any) -> tuple[object, str]:
    return (*_words(current), *(word for word in value if word not in _words(current))), ""


def _sandbox(current: object, value: Any) -> tuple[object, str]:
    return (True, "") if value else (None, "a project cannot switch the sandbox off" if current else "")


def _fewer(current: object, value: Any) -> tuple[object, str]:
    own = _words(current)
    refused = [host for host in value if host not in own]
    why = f"{', '.join(refused)}: not among your own hosts" if refused else ""
    return tuple(host for host in own if host in value), why


def _less(current: object, value: Any) -> tuple[object, str]:
    if not isinstance(current, int | float) or value <= current:
        return value, ""
    return None, f"{value} is more than your {current}"


def _any(current: object, value: Any) -> tuple[object, str]:
    return value, ""


def _words(value: object) -> tuple[str, ...]:
    return cast(tuple[str, ...], value) if isinstance(value, tuple) else ()


_RULES: dict[str, _Rule] = {
    "permission.mode": _mode,
    "permission.ask": _more,
    "permission.deny": _more,
    "sandbox.enabled": _sandbox,
    "sandbox.network": _fewer,
    "verify.commands": _more,
    "verify.timeout": _any,
    "agent.attempts": _less,
    "agent.max_steps": _less,
    "agent.max_tokens": _less,
    "agent.timeout": _less,
    "agent.instructions": _less,
}
