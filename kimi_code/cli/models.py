"""`kimi-code models`: the catalogue and what is on this machine; pull, remove and describe models."""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from kimi_code.cli.models_check import check
from kimi_code.config import paths
from kimi_code.errors import Interrupted, KimiError, ModelFailure, UsageError
from kimi_code.terminal import one_line
from kimi_runtime import catalogue, store
from kimi_runtime.catalogue import Entry
from kimi_runtime.failures import RuntimeFailure, UnknownModel
from kimi_runtime.header import Header, read_header
from kimi_runtime.memory import memory_bytes
from kimi_runtime.progress import Progress

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Models on this machine.")
app.command()(check)

_LINE_EVERY_S = 5

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WhatArgument = Annotated[
    str, typer.Argument(metavar="NAME|hf:ORG/REPO/FILE.gguf|PATH|URL", help="What to pull.")
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A name as `models list` shows it.")]
FileArgument = Annotated[
    str, typer.Argument(metavar="NAME|FILE.gguf", help="A model here, or any GGUF file.")
]


@app.command("list")
def list_models(as_json: JsonFlag = False) -> None:
    """Show the catalogue, what of it is here, and what this machine can run."""
    with _translated():
        memory = memory_bytes()
        here = store.installed(paths.models_dir())
    known = {file for entry in catalogue.entries() for file in entry.files}
    others = [model for model in here if model.path.name not in known]
    if as_json:
        models = [_as_data(entry, here, memory) for entry in catalogue.entries()]
        other = [
            {"name": m.name, "path": str(m.path), "size": m.size, "complete": m.complete} for m in others
        ]
        typer.echo(json.dumps({"memory_bytes": memory, "models": models, "other": other}, indent=2))
        return
    rows = [("", "NAME", "DOWNLOAD", "PARAMETERS", "NEEDS RAM", "HERE")]
    rows += [_row(entry, here, memory) for entry in catalogue.entries()]
    rows += [("", model.name, _gb(model.size), "", "", _state(model)) for model in others]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:5], widths, strict=True)]
        typer.echo("  ".join([*cells, row[5]]).rstrip())
    typer.echo(
        f"\n* the default. This machine has {_gb(memory)} of memory. Get one: kimi-code models pull NAME"
    )


@app.command()
def pull(what: WhatArgument = catalogue.DEFAULT) -> None:
    """Bring a model here, from the first source that delivers. A broken-off pull goes on where it stopped."""
    from kimi_runtime.pull import pull as bring

    with _translated(), _shown(what) as progress:
        try:
            path = asyncio.run(bring(what, paths.models_dir(), progress))
        except KeyboardInterrupt:
            raise Interrupted("Stopped.", hint="Run it again: it goes on where it stopped.") from None
    typer.echo(path)


@app.command()
def rm(name: NameArgument) -> None:
    """Delete a model of the store, or what a broken-off pull left. Files elsewhere are never touched."""
    with _translated():
        freed = store.remove(name, paths.models_dir())
    typer.echo(f"Removed {name}, {_gb(freed)} freed.")


@app.command()
def info(model: FileArgument, as_json: JsonFlag = False) -> None:
    """Check a model and say what it is. Only the header is read."""
    with _translated():
        path = store.resolve(model, paths.models_dir())
        entry = catalogue.find(model) or (catalogue.entry_of_file(path.name) if path else None)
        if path is None and entry is None:
            hint = "Give a .gguf file, or a name as shown by: kimi-code models list"
            raise UnknownModel(f"There is no model {model!r} here.", hint=hint)
        header = read_header(path) if path else None
    lines = _facts(entry, header, path)
    if as_json:
        data: dict[str, Any] = {key.replace(" ", "_"): value for key, value in lines.items()}
        typer.echo(json.dumps(data, indent=2))
        return
    width = max(map(len, lines))
    for key, value in lines.items():
        typer.echo(f"{key.ljust(width)}  {one_line(_said(key, value), 200)}")
    if path is None and entry:
        typer.echo(f"\nIt is not here yet: kimi-code models pull {entry.name}")


def _facts(entry: Entry | None, header: Header | None, path: Path | None) -> dict[str, Any]:
    """What is known of a model, in the order in which it is shown; what the file says goes first."""
    facts: dict[str, Any] = {}
    if header and path:
        types = Counter(tensor.type for tensor in header.tensors)
        facts |= {"path": str(path), "files": len(header.files), "size": header.size, "title": header.name}
        facts |= {"architecture": header.architecture, "quantisation": header.quantisation}
        facts |= {"parameters": header.parameters, "context": header.context_length}
        facts |= {"layers": header.block_count, "embedding": header.embedding_length}
        facts |= {"heads": header.head_count, "kv heads": header.head_count_kv}
        facts |= {"experts": header.expert_count, "experts used": header.expert_used_count}
        facts |= {"vocabulary": header.vocab_size, "tokenizer": header.tokenizer_model}
        facts |= {"tokenizer pre": header.tokenizer_pre, "chat template": bool(header.chat_template)}
        facts |= {"tensors": [f"{count} {name}" for name, count in types.most_common()]}
    elif entry:
        facts |= {"path": None, "size": entry.size, "title": entry.title, "context": entry.context}
    if entry:
        facts |= {"name": entry.name, "billions": entry.billions, "active billions": entry.active_billions}
        facts |= {"min ram gb": entry.min_ram_gb, "min vram gb": entry.min_vram_gb}
        facts |= {"edit format": entry.edit_format, "attempts": entry.attempts, "licence": entry.licence}
        facts |= {"tried": entry.tried, "sources": [str(source) for source in entry.sources]}
    return facts


def _said(key: str, value: object) -> str:
    if key == "size" and isinstance(value, int):
        return _gb(value)
    if key == "path" and value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(cast(list[str], value)) if isinstance(value, list) else str(value)


def _row(entry: Entry, here: list[store.Installed], memory: int) -> tuple[str, str, str, str, str, str]:
    moe = entry.active_billions < entry.billions
    size = f"{entry.billions:g}B" + (f", {entry.active_billions:g}B active" if moe else "")
    need = f"{entry.min_ram_gb:g} GB" + (f" + {entry.min_vram_gb:g} GB GPU" if entry.min_vram_gb else "")
    model = _installed(entry, here)
    if model:
        state = _state(model)
    elif _fits(entry, memory):
        state = "fits"
    else:
        state = "too large for this machine"
    if not entry.tried:
        state += " (not tried by us)"
    mark = "*" if entry.name == catalogue.DEFAULT else ""
    return mark, entry.name, _gb(entry.size), size, need, state


def _as_data(entry: Entry, here: list[store.Installed], memory: int) -> dict[str, Any]:
    model = _installed(entry, here)
    facts = _facts(entry, None, None)
    return {
        **{key.replace(" ", "_"): value for key, value in facts.items()},
        "path": str(model.path) if model else None,
        "installed": model is not None and model.complete,
        "fits": _fits(entry, memory),
        "default": entry.name == catalogue.DEFAULT,
        "note": entry.note,
    }


def _installed(entry: Entry, here: list[store.Installed]) -> store.Installed | None:
    return next((model for model in here if model.path.name in entry.files), None)


def _state(model: store.Installed) -> str:
    return "installed" if model.complete else "incomplete: parts are missing, pull it again"


def _fits(entry: Entry, memory: int) -> bool:
    return entry.min_ram_gb * 1e9 <= memory


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count < 1e11 else f"{count / 1e9:.0f} GB"


@contextmanager
def _translated() -> Generator[None]:
    """The runtime's failures as those of the command line."""
    try:
        yield
    except RuntimeFailure as error:
        kind: type[KimiError] = UsageError if isinstance(error, UnknownModel) else ModelFailure
        raise kind(error.message, hint=error.hint) from error


@contextmanager
def _shown(what: str) -> Generator[Progress]:
    """Progress on stderr: a bar where that is a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    text = TextColumn("{task.description}", markup=False)
    with Bar(text, *columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(one_line(what, 60), total=None)

        def show(done: int, total: int | None, source: str) -> None:
            bar.update(task, completed=done, total=total, description=one_line(source, 60))

        yield show


def _lines() -> Progress:
    last = -float(_LINE_EVERY_S)

    def show(done: int, total: int | None, source: str) -> None:
        nonlocal last
        now = time.monotonic()
        if done == 0 or now - last < _LINE_EVERY_S:
            return
        last = now
        part = f"{done * 100 // total} % of {_gb(total)}" if total else _gb(done)
        typer.echo(f"{one_line(source, 80)}: {part}", err=True)

    return show
