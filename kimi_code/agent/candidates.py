"""From a model's answer to the files it would change. Pure: texts in, texts out."""

from collections.abc import Mapping

from kimi_code.agent.blocks import Block, code_blocks
from kimi_code.agent.splice import defined_names, same_code, splice


def proposed_files(answer: str, sources: Mapping[str, str]) -> dict[str, str]:
    """path -> new text of every file that the answer changes; empty where it changes nothing.

    `sources` (path -> text, most suspect first) are the files the model was shown. A block that names a file
    is for that file; a Python block goes where its functions are defined; a block that stands alone
    replaces the only source of its language.
    """
    proposed: dict[str, str] = {}
    current = dict(sources)
    for block in code_blocks(answer):
        placed = _place(block, current)
        if placed is None:
            continue
        path, text = placed
        if not same_code(text, sources[path]):
            proposed[path] = current[path] = text
    return proposed


def _place(block: Block, sources: Mapping[str, str]) -> tuple[str, str] | None:
    named = [path for path in sources if block.path and _ends_with(path, block.path)]
    if _is_python(block, sources):
        return _place_python(block, sources, named)
    others = named or [path for path in sources if not path.endswith(".py")]
    if len(named) == 1 or len(others) == 1:
        text = block.code if block.code.endswith("\n") else block.code + "\n"
        return others[0], text
    return None


def _place_python(block: Block, sources: Mapping[str, str], named: list[str]) -> tuple[str, str] | None:
    names = defined_names(block.code)
    pythons = named or [path for path in sources if path.endswith(".py")]
    pythons.sort(key=lambda path: -len(names & defined_names(sources[path])))
    for path in pythons:
        spliced = splice(sources[path], block.code)
        if spliced is not None:
            return path, spliced
    # A file that does not parse has no functions to put anything in the place of: replace it whole.
    broken = [path for path in pythons if not defined_names(sources[path])]
    if names and len(broken) == 1:
        return broken[0], block.code if block.code.endswith("\n") else block.code + "\n"
    return None


def _is_python(block: Block, sources: Mapping[str, str]) -> bool:
    if block.language in ("python", "py", "python3"):
        return True
    return not block.language and all(path.endswith(".py") for path in sources)


def _ends_with(path: str, suffix: str) -> bool:
    return path == suffix or path.endswith("/" + suffix)
