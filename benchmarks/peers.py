"""Other agents from npm, set up to talk to a scripted server: how they are installed, called and scripted.

They are installed into a cache folder, have a home of their own, and are measured in the same run as ours.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.scripted import CHAT, RESPONSES

PACKAGES = ("@mariozechner/pi-coding-agent", "@openai/codex")


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """`command(url, prompt, sandbox)` is a headless run; `echo` the scripted call of its shell tool.

    `server` is the module of the scripted server it needs. sandboxes: it has a sandbox of its own.
    """

    name: str
    binary: str
    command: Callable[[str, str, bool], list[str]]
    environment: Mapping[str, str]
    server: str
    echo: Mapping[str, Any]
    sandboxes: bool
    prepare: Callable[[str], None]


def cache_folder() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "kimi-code-local" / "bench-peers"


def install_peers() -> list[Peer]:
    """Install what is missing; those that could be installed. Without npm: none."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    npm = shutil.which("npm")
    binaries = folder / "node_modules" / ".bin"
    for package, name in zip(PACKAGES, ("pi", "codex"), strict=True):
        if npm is not None and not (binaries / name).exists():
            command = [npm, "install", "--prefix", str(folder), "--no-fund", "--no-audit", package]
            subprocess.run(
                command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
            )
    peers = [_pi(folder, str(binaries / "pi")), _codex(folder, str(binaries / "codex"))]
    return [peer for peer in peers if Path(peer.binary).exists()]


def _home(folder: Path, name: str) -> Path:
    home = folder / "home" / name
    home.mkdir(parents=True, exist_ok=True)
    return home


def _pi(folder: Path, binary: str) -> Peer:
    home = _home(folder, "pi")

    def prepare(url: str) -> None:
        agent = home / "agent"
        agent.mkdir(exist_ok=True)
        provider = {
            "baseUrl": url,
            "api": "openai-completions",
            "apiKey": "none",
            "models": [{"id": "scripted", "contextWindow": 1_000_000}],
        }
        (agent / "models.json").write_bytes(msgspec.json.encode({"providers": {"bench": provider}}))

    def command(url: str, prompt: str, sandbox: bool) -> list[str]:
        return [binary, "-p", "--model", "bench/scripted", prompt]

    return Peer(
        name="pi",
        binary=binary,
        command=command,
        environment={"HOME": str(home), "PI_CODING_AGENT_DIR": str(home / "agent"), "PI_OFFLINE": "1"},
        server=CHAT,
        echo={"name": "bash", "arguments": {"command": "echo {i}"}},
        sandboxes=False,
        prepare=prepare,
    )


def _codex(folder: Path, binary: str) -> Peer:
    home = _home(folder, "codex")

    def command(url: str, prompt: str, sandbox: bool) -> list[str]:
        provider = f'{{name="bench",base_url="{url}",wire_api="responses",env_key="BENCH_KEY"}}'
        boxed = ["--sandbox", "workspace-write"]
        free = ["--dangerously-bypass-approvals-and-sandbox"]
        chosen = boxed if sandbox else free
        settings = [
            "-c",
            'model_provider="bench"',
            "-c",
            f"model_providers.bench={provider}",
            "-m",
            "scripted",
        ]
        return [binary, "exec", "--skip-git-repo-check", *chosen, *settings, prompt]

    return Peer(
        name="codex",
        binary=binary,
        command=command,
        environment={"HOME": str(home), "CODEX_HOME": str(home), "BENCH_KEY": "none"},
        server=RESPONSES,
        echo={"name": "exec_command", "arguments": {"cmd": "echo {i}"}},
        sandboxes=True,
        prepare=lambda url: None,
    )


def peer_environment(peer: Peer) -> dict[str, str]:
    """PATH and locale, and what the peer needs."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return kept | dict(peer.environment)
