"""Text that a model reads, as Markdown files. Knows nothing of who reads it."""

from functools import cache
from pathlib import Path
from string import Template

_HERE = Path(__file__).parent


@cache
def _template(name: str) -> Template:
    return Template((_HERE / f"{name}.md").read_text(encoding="utf-8").strip())


def load(name: str, **variables: str) -> str:
    """The text of `name`.md with `$variable`s filled in (`$$` is a dollar sign).

    Raises KeyError for a variable that the text uses and the caller did not give, FileNotFoundError
    for a name that does not exist: a prompt with a hole in it must never reach a model.
    """
    return _template(name).substitute(variables)
