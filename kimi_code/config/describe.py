"""What would take effect if a project were trusted, in lines for the person who decides. Trusts nothing."""

import json
from typing import Any, cast

from kimi_code.config import trust
from kimi_code.config.limits import tighten
from kimi_code.config.load import default_values
from kimi_code.config.table import read_table
from kimi_code.errors import UsageError

_MAX_LINES = 200


def describe(shot: trust.Snapshot) -> tuple[str, ...]:
    """One line for each setting, command and server, at most 200; what is more is counted."""
    lines = [*_settings(shot), *_servers(shot)]
    lines += [
        f"{name} ({len(data):,} bytes)" for name, data in sorted(shot.files.items()) if name != trust.CONFIG
    ]
    if len(lines) > _MAX_LINES:
        lines = [*lines[:_MAX_LINES], f"... and {len(lines) - _MAX_LINES:,} more"]
    return tuple(lines)


def _settings(shot: trust.Snapshot) -> list[str]:
    data = shot.files.get(trust.CONFIG)
    if data is None:
        return []
    try:
        taken, left_out = tighten(default_values(), read_table(trust.CONFIG, data))
    except UsageError as failure:
        return [f"{failure.message} It would be ignored."]
    lines: list[str] = []
    for key, value in taken.items():
        if key == "verify.commands" and isinstance(value, tuple):
            lines += [f"runs in the sandbox to verify: {command}" for command in cast(tuple[str, ...], value)]
        else:
            lines.append(f"sets {key} = {json.dumps(value)}")
    return lines + [f"ignored: {entry}" for entry in left_out]


def _servers(shot: trust.Snapshot) -> list[str]:
    """The programs that .mcp.json would start."""
    data = shot.files.get(".mcp.json")
    if data is None:
        return []
    try:
        servers = cast(dict[str, dict[str, Any]], json.loads(data)["mcpServers"])
        return [
            f"MCP server {name}: {json.dumps(server.get('command') or server.get('url'))} "
            f"{json.dumps(server.get('args', []))} env {json.dumps(sorted(server.get('env', {})))}"
            for name, server in servers.items()
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return [".mcp.json: not a list of MCP servers"]
