"""Puts rewritten Python functions and classes in the place of those of the same name. Pure text in, text out.

A small model writes a whole function far more reliably than an exact search-and-replace edit.
"""

import ast
import textwrap

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def splice(source: str, code: str) -> str | None:
    """`source` with the definitions of `code` in place of its own; None where that makes no sense.

    Functions are matched by name, methods by class and name, or by name alone where only one class has it.
    Imports that `source` lacks are added above. New helper functions go before the first replaced one.
    Everything else at the top of `code` (examples, prints, asserts) is left out.
    """
    try:
        old, new = ast.parse(source), ast.parse(textwrap.dedent(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    new_lines = textwrap.dedent(code).splitlines()
    places = _places(old)
    edits: list[tuple[int, int, list[str]]] = []
    helpers: list[str] = []
    for node in new.body:
        if isinstance(node, _Definition):
            edits_of_node = _replace(node, new_lines, places)
            edits.extend(edits_of_node)
            if not edits_of_node:
                helpers.extend([*_lines(node, new_lines), "", ""])
    if not edits:
        return None
    lines = source.splitlines()
    first = min(start for start, _, _ in edits)
    for start, end, replacement in sorted(edits, key=lambda edit: edit[0], reverse=True):
        lines[start:end] = replacement
    if helpers:
        outer = max((n.lineno for n in old.body if n.lineno - 1 <= first), default=1)
        at = _start(next(n for n in old.body if n.lineno == outer))
        lines[at:at] = helpers
    lines[_import_line(old) : _import_line(old)] = _missing_imports(old, new)
    result = "\n".join(lines) + ("\n" if source.endswith("\n") else "")
    return result if _parses(result) else None


def defined_names(source: str) -> set[str]:
    """Names of the functions, classes and methods defined at the top of a file or of its classes."""
    try:
        tree = ast.parse(textwrap.dedent(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, _Definition):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names.update(m.name for m in node.body if isinstance(m, _Definition))
    return names


def defined_functions(source: str) -> list[str]:
    """Names of the functions and methods of a file, in order; none where it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def blanked(source: str, name: str) -> str:
    """`source` with `...` for the body of the function `name`, its docstring kept; empty if it has none."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name != name:
            continue
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        lines = source.splitlines()
        start = body[0].lineno - 1 if body else node.body[0].end_lineno or node.lineno
        if body and start < node.lineno:
            return ""  # all on one line
        indent = " " * node.body[0].col_offset
        lines[start : node.end_lineno] = [f"{indent}..."]
        return "\n".join(lines) + "\n"
    return ""


def same_code(one: str, other: str) -> bool:
    """Whether two sources differ in nothing but layout and comments."""
    try:
        return ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return one == other


def _places(tree: ast.Module) -> dict[str, _Definition | None]:
    """name and Class.name -> its definition; a bare method name that several classes have -> None."""
    places: dict[str, _Definition | None] = {}
    for node in tree.body:
        if not isinstance(node, _Definition):
            continue
        places[node.name] = node
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, _Definition):
                    places[f"{node.name}.{member.name}"] = member
                    places[member.name] = None if member.name in places else member
    return places


def _replace(
    node: _Definition, lines: list[str], places: dict[str, _Definition | None]
) -> list[tuple[int, int, list[str]]]:
    target = places.get(node.name)
    if target is None:
        return []
    if isinstance(node, ast.ClassDef) and isinstance(target, ast.ClassDef):
        return _replace_members(node, target, lines, places)
    return [_edit(node, target, lines)]


def _replace_members(
    node: ast.ClassDef, target: ast.ClassDef, lines: list[str], places: dict[str, _Definition | None]
) -> list[tuple[int, int, list[str]]]:
    """A class that has all its old members replaces the old one; else only the members it brings."""
    members = [m for m in node.body if isinstance(m, _Definition)]
    old_names = {m.name for m in target.body if isinstance(m, _Definition)}
    if old_names <= {m.name for m in members}:
        return [_edit(node, target, lines)]
    edits: list[tuple[int, int, list[str]]] = []
    for member in members:
        place = places.get(f"{node.name}.{member.name}")
        if place is not None:
            edits.append(_edit(member, place, lines))
    return edits


def _edit(node: _Definition, target: _Definition, lines: list[str]) -> tuple[int, int, list[str]]:
    indent = " " * target.col_offset
    body = textwrap.dedent("\n".join(_lines(node, lines))).splitlines()
    # A model that rewrites a function seldom repeats its decorators: those of the file stay.
    start = _start(target) if node.decorator_list else target.lineno - 1
    return start, target.end_lineno or target.lineno, [indent + x if x.strip() else "" for x in body]


def _lines(node: _Definition, lines: list[str]) -> list[str]:
    return lines[_start(node) : node.end_lineno]


def _start(node: ast.stmt) -> int:
    """Index of the first line, decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)]) - 1


def _missing_imports(old: ast.Module, new: ast.Module) -> list[str]:
    have = {ast.unparse(n) for n in old.body if isinstance(n, ast.Import | ast.ImportFrom)}
    bound = _bound_names(old)
    wanted: list[str] = []
    for node in new.body:
        if isinstance(node, ast.Import | ast.ImportFrom) and ast.unparse(node) not in have:
            names = {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            if not names <= bound:
                wanted.append(ast.unparse(node))
    return wanted


def _bound_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, _Definition):
            names.add(node.name)
    return names


def _import_line(tree: ast.Module) -> int:
    """Below the docstring and `from __future__` lines, above everything else."""
    line = 0
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and line == 0
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if not (docstring or future):
            break
        line = node.end_lineno or node.lineno
    return line


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
