"""`kimi-code serve`: one model for any OpenAI client on this machine, until Ctrl-C."""

from pathlib import Path
from typing import Annotated

import typer

from kimi_code.config import paths
from kimi_code.errors import ModelMissing, UsageError
from kimi_runtime import catalogue, store

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    model: Annotated[
        str | None, typer.Option("-m", "--model", metavar="NAME|FILE.gguf", help="What to serve.")
    ] = None,
    socket: Annotated[
        Path | None, typer.Option("--socket", help="Listen on a Unix socket (mode 0600).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Listen on a port of 127.0.0.1 (default: any)."),
    ] = None,
    context: Annotated[int | None, typer.Option("--ctx", min=256, help="Context size in tokens.")] = None,
) -> None:
    """Serve a model over the OpenAI protocol.

    Over TCP every request needs a bearer token: KIMI_SERVE_TOKEN, else one that is made up and shown.
    """
    if socket is not None and port is not None:
        raise UsageError("--socket and --port exclude each other.", hint="Give one of them.")
    path = _find(model or catalogue.DEFAULT)
    where = ["--socket", str(socket.absolute())] if socket is not None else ["--port", str(port or 0)]
    arguments = ["--model", str(path), "--cache", str(paths.cache_dir()), "--idle", "0", *where]
    if context is not None:
        arguments += ["--ctx", str(context)]
    from kimi_runtime.worker import main

    code = main(arguments)
    if code:
        raise typer.Exit(code)


def _find(name: str) -> Path:
    path = store.resolve(name, paths.models_dir())
    if path is not None:
        return path
    if name.endswith(".gguf"):
        raise ModelMissing(
            f"There is no model file {name}.", hint="Check the path, or: kimi-code models list"
        )
    raise ModelMissing(
        f"The model {name} is not on this machine yet.", hint=f"Get it: kimi-code models pull {name}"
    )
