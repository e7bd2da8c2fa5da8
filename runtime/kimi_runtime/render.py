"""The program that renders chat templates, as a process of its own: a template is hostile until proven
otherwise.

It reads a JSON object per line ({"template", "values", "limit"}) and answers with one ({"text"} or
{"error"}). Its processor time, memory, files and processes are limited by the kernel, so that no template
can hang or fill the machine; the sandbox of jinja2 keeps templates from reaching Python. Knows no model.
"""

import contextlib
import json
import resource
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NoReturn, cast

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import SandboxedEnvironment

_MEMORY = 512 << 20
_MAX_RANGE = 10_000


class _Refused(Exception):
    """The template itself refuses the conversation."""


def _refuse(message: str) -> NoReturn:
    raise _Refused(str(message)[:500])


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    # Models were trained on plain JSON; jinja2's own filter escapes for HTML.
    known = {key: options[key] for key in ("sort_keys", "separators") if key in options}
    return json.dumps(value, ensure_ascii=False, indent=indent, default=_listed, **known)


def _listed(value: Any) -> list[Any]:
    """What filters such as `map` give."""
    if isinstance(value, Iterator):
        return list(cast(Iterator[Any], value))
    raise TypeError(f"{type(value).__name__} is no JSON")


class _Generation(Extension):
    """`{% generation %}` marks for training what the assistant wrote; here it means nothing."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 has it

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _bounded_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > _MAX_RANGE:
        raise _Refused("a range is too long")
    return numbers


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def environment() -> SandboxedEnvironment:
    """What a template can see: messages and values, `tojson`, `raise_exception`, `strftime_now`, loop
    controls. They may change lists and objects, which are their own copies."""
    env = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation])
    env.filters["tojson"] = _to_json
    visible: dict[str, Any] = {
        "raise_exception": _refuse,
        "strftime_now": _now,
        "range": _bounded_range,
        "namespace": jinja2.utils.Namespace,
        "dict": dict,
    }
    env.globals.clear()
    env.globals.update(visible)
    return env


def _render(env: SandboxedEnvironment, cache: dict[str, jinja2.Template], order: dict[str, Any]) -> str:
    source: str = order["template"]
    if source not in cache:
        cache.clear()
        cache[source] = env.from_string(source)
    parts: list[str] = []
    room: int = order["limit"]
    for part in cache[source].generate(order["values"]):
        room -= len(part)
        if room < 0:
            raise _Refused("the template writes more text than any context holds")
        parts.append(part)
    return "".join(parts)


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    env = environment()
    # All that reads files when first used is used once; afterwards no file can be opened any more.
    env.from_string("{{ '\\n' | tojson }}{{ strftime_now('%Z') }}").render()
    with contextlib.suppress(_Refused):  # rewriting a traceback imports, too
        env.from_string("{{ raise_exception('') }}").render()
    cache: dict[str, jinja2.Template] = {}
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    for line in sys.stdin.buffer:
        try:
            answer = {"text": _render(env, cache, json.loads(line))}
        except (jinja2.TemplateError, _Refused, ArithmeticError, LookupError, TypeError, ValueError) as error:
            answer = {"error": f"{type(error).__name__.lstrip('_')}: {error}"[:1000]}
        except (AttributeError, RecursionError, AssertionError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:1000]}
        except MemoryError:
            answer = {"error": "the template needs too much memory"}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
