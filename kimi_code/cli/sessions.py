"""`kimi-code sessions`: list, show, verify, export or remove what was recorded."""

import os
import stat
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from kimi_code.config import paths
from kimi_code.errors import StorageFailure, UsageError
from kimi_code.session.codec import Record, encode
from kimi_code.session.export import json_records, markdown
from kimi_code.session.store import SessionInfo, Store
from kimi_code.session.transcript import transcript
from kimi_code.terminal import one_line

app = typer.Typer(add_completion=False, help="List, show, verify, export or remove sessions.")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="A session's id, or the beginning of it.")]


@app.callback()
def sessions() -> None:
    """List, show, verify, export or remove sessions."""


@app.command(name="list")
def list_sessions(
    here: Annotated[bool, typer.Option("--here", help="Only those of the current folder.")] = False,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="At most so many.")] = 1_000_000,
    json: JsonFlag = False,
) -> None:
    """List sessions, the one last used first."""
    found = _store().sessions()
    if here:
        cwd = str(Path.cwd().resolve())
        found = [info for info in found if info.cwd == cwd]
    found = found[:limit]
    if json:
        typer.echo(_json(found))
        return
    if not found:
        typer.echo("No sessions yet.", err=True)
    for info in found:
        typer.echo(_line(info))


@app.command()
def show(
    session: Id,
    full: Annotated[bool, typer.Option("--full", help="Do not shorten outputs.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the records, one a line.")] = False,
) -> None:
    """Print what was said and done in a session."""
    store = _store()
    found = store.scan(session)
    if json:
        _write(b"".join(encode(record) + b"\n" for record in found.records))
        return
    typer.echo(f"session {store.folder(session).name}")
    for line in transcript(found.records, full=full):
        typer.echo(line)
    if found.problems():
        typer.echo(f"kimi-code: records are damaged; see: kimi-code sessions verify {session}", err=True)


@app.command()
def verify(session: Id, json: JsonFlag = False) -> None:
    """Check that every acknowledged record is there. Exits 1 where one is damaged or missing."""
    report = _store().verify(session)
    if json:
        typer.echo(_json(report))
    else:
        typer.echo(f"{report.id}: {'ok' if report.ok else 'damaged'}, {report.records} records")
        for problem in report.problems:
            typer.echo(f"  {one_line(problem, 300)}")
        if report.torn_bytes:
            typer.echo(
                f"  a torn tail of {report.torn_bytes} bytes, never acknowledged: "
                "it is set aside when the session is next opened"
            )
        for name in report.quarantined:
            typer.echo(f"  set aside before: {name}")
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def export(
    session: Id,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file; stdout without.")] = None,
    form: Annotated[Literal["markdown", "json"], typer.Option("--format")] = "markdown",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a session as Markdown or JSON, with keys, tokens and passwords taken out."""
    records: list[Record] = _store().scan(session).records
    data = markdown(records).encode() if form == "markdown" else _json(json_records(records)).encode() + b"\n"
    if output is None:
        _write(data)
        return
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if force else os.O_EXCL)
        with os.fdopen(os.open(output, flags, 0o600), "wb") as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                os.fchmod(file.fileno(), 0o600)  # a file that is replaced may be open to others
            file.write(data)
    except FileExistsError as error:
        raise UsageError(f"{output} is there already.", hint="Choose another name, or --force.") from error
    except OSError as error:
        raise StorageFailure(f"{output} cannot be written: {error.strerror}.") from error
    typer.echo(f"Written: {output}", err=True)


@app.command()
def rm(
    sessions: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, or beginnings of them.")],
) -> None:
    """Remove sessions for good. One that is in use is refused."""
    store = _store()
    # All are looked up first: a wrong name removes nothing.
    names = list(dict.fromkeys(store.folder(name).name for name in sessions))
    for name in names:
        typer.echo(f"Removed {store.remove(name)}.")


def _store() -> Store:
    return Store(paths.sessions_dir())


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _line(info: SessionInfo) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.updated))
    steps = f"{info.turns} turns, {info.steps} steps"
    title, cwd = one_line(info.title or "-", 60), one_line(info.cwd, 200)
    return f"{info.id}  {when}  {info.status:<11}  {steps:<20}  {title}  {cwd}"
