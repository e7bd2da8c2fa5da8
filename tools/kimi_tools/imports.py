"""Follows the imports of a source file to other files of the same workspace. Reads text, runs nothing."""

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

_SCRIPTS = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx")
_JS_IMPORT = re.compile(r"""(?:from|import|require\()\s*\(?["'](\.{1,2}/[^"']+)["']""")
_PYTHON_ROOTS = ("", "src", "lib")


def imported(path: str, text: str, known: frozenset[str]) -> list[str]:
    """Files in `known` that `path` imports, in order. Paths are relative to the workspace."""
    suffix = PurePosixPath(path).suffix
    if suffix == ".py":
        found = _of_python(path, text, known)
    elif suffix in _SCRIPTS:
        found = _of_script(path, text, known)
    elif suffix == ".go":
        # A Go test and what it tests are one package: one folder.
        here = posixpath.dirname(path)
        found = (each for each in sorted(known) if posixpath.dirname(each) == here and each.endswith(".go"))
    else:
        return []
    return list(dict.fromkeys(each for each in found if each != path))


def _of_python(path: str, text: str, known: frozenset[str]) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    here = posixpath.dirname(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module(alias.name, here, known)
        elif isinstance(node, ast.ImportFrom):
            yield from _from(node, here, known)


def _from(node: ast.ImportFrom, here: str, known: frozenset[str]) -> Iterator[str]:
    """`from a import b`: b may be a module of a, else a itself is meant."""
    if node.level:
        base = here
        for _ in range(node.level - 1):
            base = posixpath.dirname(base)
        stem = "/".join(filter(None, [base, *(node.module or "").split(".")]))
        inner = [f for alias in node.names for f in _files(posixpath.join(stem, alias.name), known)]
        yield from inner or _files(stem, known)
        return
    name = node.module or ""
    inner = [f for alias in node.names for f in _module(f"{name}.{alias.name}", here, known)]
    yield from inner or _module(name, here, known)


def _module(name: str, here: str, known: frozenset[str]) -> list[str]:
    """A module by its full name: from the top, from src/, from the file's folder and those above it."""
    places = [*_PYTHON_ROOTS, here]
    while here:
        here = posixpath.dirname(here)
        places.append(here)
    for place in places:
        found = _files(posixpath.join(place, *name.split(".")), known)
        if found:
            return found
    return []


def _files(stem: str, known: frozenset[str]) -> list[str]:
    return [path for path in (f"{stem}.py", f"{stem}/__init__.py") if path in known][:1]


def _of_script(path: str, text: str, known: frozenset[str]) -> Iterator[str]:
    here = posixpath.dirname(path)
    for match in _JS_IMPORT.finditer(text):
        stem = posixpath.normpath(posixpath.join(here, match[1]))
        endings = ("", *_SCRIPTS, *(f"/index{suffix}" for suffix in _SCRIPTS))
        bare = posixpath.splitext(stem)[0]
        # TypeScript writes the name of what it compiles to.
        candidates = [*(f"{stem}{end}" for end in endings), f"{bare}.ts", f"{bare}.tsx"]
        yield from [each for each in candidates if each in known][:1]
