"""kimi_tools' Workspace as the port of the agent. Translates; decides nothing."""

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from kimi_code.agent.ports import CommandResult
from kimi_code.errors import StorageFailure
from kimi_tools.suspects import is_test
from kimi_tools.workspace import CommandResult as ToolsResult
from kimi_tools.workspace import Workspace as Folder


class LocalWorkspace:
    """Implements `Workspace`."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    @property
    def root(self) -> str:
        return str(self._folder.root)

    def detect_checks(self) -> tuple[str, ...]:
        return self._folder.detect_checks()

    async def check(self, command: str, *, timeout_s: float) -> CommandResult:
        return _result(await self._folder.check(command, timeout_s=timeout_s))

    async def trial(self, command: str, files: Mapping[str, str], *, timeout_s: float) -> CommandResult:
        return _result(await self._folder.trial(command, files, timeout_s=timeout_s))

    async def checkpoint(self) -> tuple[str, int]:
        try:
            made = await self._folder.checkpoint()
        except (OSError, sqlite3.Error) as error:
            raise StorageFailure(
                f"The workspace could not be recorded before the first change: {error}.",
                hint="Nothing was changed. Free space in the data folder and try again.",
            ) from error
        return made.id, made.files

    async def changed(self, checkpoint: str) -> tuple[str, ...]:
        return await self._folder.changed(checkpoint)

    async def check_at(self, checkpoint: str, command: str, *, timeout_s: float) -> CommandResult:
        return _result(await self._folder.check_at(checkpoint, command, timeout_s=timeout_s))

    def read_text(self, path: str) -> str:
        return self._folder.read_text(path)

    def is_test(self, path: str) -> bool:
        return is_test(path)

    def suspects(self, hints: Sequence[str], budget_chars: int) -> Mapping[str, str]:
        return self._folder.suspects(hints, budget_chars)


def _result(result: ToolsResult) -> CommandResult:
    return msgspec.convert(msgspec.to_builtins(result), CommandResult)
