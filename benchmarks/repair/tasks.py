"""The repair tasks: a module with one buggy function, and tests that fail on it. Knows no agent."""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

OWN_TASKS = Path(__file__).parent / "tasks"


class Fix(msgspec.Struct, frozen=True, kw_only=True):
    """The reference repair: `old` occurs once in the source."""

    old: str
    new: str


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is the function and its module; `source` the whole module, `test` the whole test file.

    fix: the reference repair, None where the set has none. hangs: the bug makes a test run for ever.
    """

    set: str
    name: str
    kind: str
    source: str
    test: str
    hangs: bool = False
    fix: Fix | None = None

    @property
    def module_file(self) -> str:
        return f"{self.name}.py"

    @property
    def test_file(self) -> str:
        return f"test_{self.name}.py"

    @property
    def fixed_source(self) -> str:
        """The source with the reference repair. Raises ValueError where there is none, or it does not fit."""
        if self.fix is None or self.source.count(self.fix.old) != 1:
            raise ValueError(f"{self.name}: no reference repair that fits once")
        return self.source.replace(self.fix.old, self.fix.new)

    def write(self, folder: Path) -> None:
        """A repository with the bug."""
        (folder / self.module_file).write_text(self.source)
        (folder / self.test_file).write_text(self.test)


def own_tasks() -> list[Task]:
    """Our own set, one TOML file a task, by name."""
    tasks: list[Task] = []
    for path in sorted(OWN_TASKS.glob("*.toml")):
        fields = tomllib.loads(path.read_text()) | {"set": "own", "name": path.stem}
        tasks.append(msgspec.convert(fields, Task))
    return tasks


class _PublishedTask(msgspec.Struct, frozen=True):
    """A line of HumanEvalFix (bigcode-project/octopack), in the fields that are used here."""

    entry_point: str
    declaration: str
    buggy_solution: str
    bug_type: str
    test: str


def humanevalfix_tasks(path: Path) -> list[Task]:
    """The tasks of a HumanEvalFix file in JSON Lines. Raises OSError, msgspec.MsgspecError."""
    return list(_published(path))


def _published(path: Path) -> Iterator[Task]:
    for line in path.read_text().splitlines():
        each = msgspec.json.decode(line, type=_PublishedTask)
        name = each.entry_point
        module = f"{name}_function" if name in sys.stdlib_module_names else name
        # The set ends its tests with a bare call; inside a test function pytest can show what failed.
        body = each.test.strip()
        call = f"check({name})"
        body = body.removesuffix(call).rstrip()
        test = f"from {module} import *\n\n\n{body}\n\n\ndef test_{name}():\n    {call}\n"
        yield Task(
            set="humanevalfix",
            name=module,
            kind=each.bug_type,
            source=each.declaration.lstrip("\n") + each.buggy_solution.rstrip() + "\n",
            test=test,
        )
