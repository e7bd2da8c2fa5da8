"""A repair case: what fails, the sources that may be wrong, and what the tests ask for. Pure texts."""

import re
from collections.abc import Mapping

import msgspec

from kimi_code.agent.splice import blanked, defined_functions

FAILURE_CHARS = 1500
CHECK_CHARS = 1200
_ASSERTION = re.compile(
    r"^[>\s]*((?:assert\b|self\.assert\w+\(|with pytest\.raises|expect\().*)$", re.MULTILINE
)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """The variables of the repair prompts.

    sources: the suspect files, fenced. blank: the file of the most suspect function with its body taken out,
    empty where none can be told. checks: assertions of the failing tests, a line each.
    """

    task: str
    sources: str
    failures: str
    blank: str
    checks: str

    def variables(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__struct_fields__}


def make_case(task: str, sources: Mapping[str, str], tests: Mapping[str, str], failures: str) -> Case:
    """`sources` and `tests`: path -> text as shown to the model, most suspect first."""
    return Case(
        task=task.strip(),
        sources="\n\n".join(_fenced(path, text) for path, text in sources.items()),
        failures=failures[:FAILURE_CHARS],
        blank=_blank(sources, tests, failures),
        checks=_checks(tests, failures),
    )


def _fenced(path: str, text: str) -> str:
    language = "python" if path.endswith(".py") else ""
    return f"{path}:\n```{language}\n{text.rstrip()}\n```"


def _blank(sources: Mapping[str, str], tests: Mapping[str, str], failures: str) -> str:
    """Only where the failures, or else the tests, name a function of the sources."""
    for text in (failures, "\n".join(tests.values())):
        words = re.findall(r"[A-Za-z_]\w*", text)
        best: tuple[int, str, str] | None = None
        for path, source in sources.items():
            for name in defined_functions(source):
                count = words.count(name)
                if count and (best is None or count > best[0]):
                    best = (count, path, name)
        if best is not None:
            _, path, name = best
            blank = blanked(sources[path], name)
            return _fenced(path, blank) if blank else ""
    return ""


def _checks(tests: Mapping[str, str], failures: str) -> str:
    """What the failing tests assert, the assertions that are known to fail first, without repeats."""
    lines = [line.strip() for text in (failures, *tests.values()) for line in _ASSERTION.findall(text)]
    kept: list[str] = []
    room = CHECK_CHARS
    for line in dict.fromkeys(lines):
        if len(line) <= room:
            kept.append(line)
            room -= len(line) + 1
    return "\n".join(kept)
