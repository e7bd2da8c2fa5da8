"""The worker process: loads one model and serves it until nobody needs it. `python -m kimi_runtime.worker
--help`.

Knows no agent. Whatever goes wrong is one sentence on stderr and an exit code: 3 for a model that cannot be
served.
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path

# Threads that wait for each other spin a little and then sleep. The default of the OpenMP runtime spins for
# long, which on a machine with other work to do makes a step three times slower. Read when the library is
# loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "300")

import uvicorn

from kimi_runtime.access import Guard
from kimi_runtime.failures import RuntimeFailure
from kimi_runtime.faults import LoadFault, RuntimeFault
from kimi_runtime.loading import Settings, load
from kimi_runtime.server import Service, build_app

_EXIT_MODEL = 3


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        listener, token = _listen(options.socket, options.port)
    except OSError as error:
        return _complain(f"cannot listen: {error}.", "")
    try:
        settings = Settings(
            context=options.ctx, cache=options.cache, width=options.width, threads=options.threads
        )
        return asyncio.run(serve(options.model, settings, listener, token=token, idle_s=options.idle))
    except RuntimeFailure as fault:
        return _complain(fault.message, fault.hint)
    except KeyboardInterrupt:
        return 130
    finally:
        listener.close()
        if options.socket is not None:
            with contextlib.suppress(OSError):
                options.socket.unlink()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kimi_runtime.worker", description="Serve one model to this user.")
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", type=Path, help="a Unix socket to listen on")
    where.add_argument(
        "--port", type=int, help="a TCP port on 127.0.0.1 (0: any); needs KIMI_SERVE_TOKEN as bearer"
    )
    parser.add_argument(
        "--idle", type=float, default=900.0, help="seconds without requests before it ends; 0: never"
    )
    parser.add_argument("--cache", type=Path, help="folder for KV states")
    parser.add_argument("--ctx", type=int, help="context size in tokens")
    parser.add_argument("--width", type=int, default=32, help="answers written at the same time")
    parser.add_argument("--threads", type=int, help="threads for computing")
    return parser


def _listen(path: Path | None, port: int | None) -> tuple[socket.socket, str | None]:
    """A bound socket that nobody else may use: mode 0600, or loopback with a token."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        return listener, None
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port or 0))
    listener.listen()  # before it is announced
    token = os.environ.get("KIMI_SERVE_TOKEN", "").strip()
    if not token:
        token = secrets.token_urlsafe(24)
        sys.stderr.write(f"token: {token}\n")
    sys.stderr.write(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/v1\n")
    sys.stderr.flush()
    return listener, token


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again at its end, before anything is put away."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._leave)
        yield

    def _leave(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


async def serve(
    model: Path, settings: Settings, listener: socket.socket, *, token: str | None, idle_s: float
) -> int:
    """Serve until idle for `idle_s` seconds (0: for ever) or told to end. Raises what loading raises."""
    service = Service()
    app = build_app(service)
    config = uvicorn.Config(
        app if token is None else Guard(app, token),
        log_level="critical",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    loader = threading.Thread(target=_load, args=(service, model, settings), name="loader", daemon=True)
    loader.start()
    watch = asyncio.create_task(_watch(service, server, idle_s))
    await server.serve(sockets=[listener])
    watch.cancel()
    if service.backend is not None:
        await asyncio.to_thread(service.backend.engine.stop)
    if service.fault is not None:
        raise service.fault
    return 0


def _load(service: Service, model: Path, settings: Settings) -> None:
    def progress(fraction: float) -> None:
        service.loaded = fraction

    try:
        service.backend = load(model, settings, progress=progress)
    except RuntimeFault as fault:
        service.fault = fault
    except (OSError, ValueError, RuntimeFailure) as error:
        service.fault = LoadFault(f"{model.name} cannot be loaded: {error}.")
    service.last_used = time.monotonic()


async def _watch(service: Service, server: uvicorn.Server, idle_s: float) -> None:
    """End the server when loading failed or nobody asked for anything for long."""
    while True:
        await asyncio.sleep(0.2)
        idle = service.backend is not None and not service.active and idle_s > 0
        if service.fault is not None or (idle and time.monotonic() - service.last_used > idle_s):
            server.should_exit = True
            return


def _complain(message: str, hint: str) -> int:
    sys.stderr.write(f"kimi-code worker: {message}\n" + (f"  {hint}\n" if hint else ""))
    sys.stderr.flush()
    return _EXIT_MODEL


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.exit(main())
