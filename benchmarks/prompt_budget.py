"""The size of the base request (system prompt and tool schemas), and how much of it a prefix cache can reuse.

    python -m benchmarks.prompt_budget [--model FILE.gguf] [--peers]

Captures the first request of `kimi-code run "say hi"`: in a repository, again, after a commit, and in another
folder. The budget is 5,000 bytes and 1,300 tokens of the embedded model. Exits 1 where that does not hold,
where the base differs, or where a greeting costs more than one request.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.machine import machine
from benchmarks.measured import Ran, environment, kimi_code, run
from benchmarks.peers import install_peers, peer_environment
from benchmarks.scripted import CHAT, Scripted
from benchmarks.tokens import Tokenizer, embedded_model

HI = {"replies": [{"text": "Hi."}], "then": "repeat_last"}
PROMPT = "say hi"
BYTES, TOKENS = 5000, 1300


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A first request as it was sent, and how many requests the whole run made."""

    body: str
    requests: int


class _Body(msgspec.Struct):
    messages: list[dict[str, Any]] = []
    tools: msgspec.Raw = msgspec.Raw(b"[]")


class _Said(msgspec.Struct):
    """A message of the chat API, or an input item of the Responses API, without its ids."""

    role: str = ""
    content: Any = None


class _Visible(msgspec.Struct):
    instructions: str = ""
    messages: list[_Said] = []
    input: list[_Said] = []
    tools: msgspec.Raw = msgspec.Raw(b"[]")


def visible(body: str) -> bytes:
    """What of a request the model sees: tools, instructions, then what was said; no ids, no settings."""
    decoded = msgspec.json.decode(body, type=_Visible)
    said = msgspec.json.encode(decoded.messages or decoded.input)
    return bytes(decoded.tools) + decoded.instructions.encode() + said


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """What must never vary: the tools as they were sent, and the system prompt."""

    tools: bytes
    system: str

    @property
    def size(self) -> int:
        return len(self.tools) + len(self.system.encode())


def base_of(body: str) -> Base:
    decoded = msgspec.json.decode(body, type=_Body)
    first = decoded.messages[0] if decoded.messages else {}
    system = str(first.get("content", "")) if first.get("role") == "system" else ""
    return Base(tools=bytes(decoded.tools), system=system)


def shared(first: bytes, second: bytes) -> float:
    """The part of the second that is a beginning of the first too, from 0 to 1."""
    return common(first, second) / max(len(second), 1)


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many leading items two sequences (bytes, tokens) have in common."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def _repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "main.py").write_text("print('hello')\n")
    _git(folder, "init", "-q")
    _commit(folder, "first")
    return folder


def _commit(folder: Path, text: str) -> None:
    (folder / "notes.txt").write_text(text)
    _git(folder, "add", ".")
    _git(folder, "commit", "-qm", text)


def capture(say_hi: Callable[[str, Path], Ran], module: str, root: Path) -> dict[str, Sent]:
    """The first request in each of four situations. Raises RuntimeError where a run fails."""
    first, other = _repository(root / "first"), root / "elsewhere" / "a folder with a longer name"
    other.mkdir(parents=True)
    captured: dict[str, Sent] = {}
    for situation, folder in (
        ("first run", first),
        ("second run", first),
        ("after a commit", first),
        ("other folder", other),
    ):
        if situation == "after a commit":
            _commit(first, "second")
        with Scripted(HI, module=module) as server:
            ran = say_hi(server.url, folder)
            requests = server.requests()
        if not requests:
            raise RuntimeError(f"no request: exit {ran.code}: {ran.err.strip()[-300:]}")
        captured[situation] = Sent(body=requests[0].body, requests=len(requests))
    return captured


def _say_hi(state: Path) -> Callable[[str, Path], Ran]:
    env = environment(KIMI_LOCAL_HOME=str(state))

    def go(url: str, folder: Path) -> Ran:
        return run([kimi_code(), "run", PROMPT, "--model-url", url, "-m", "scripted"], cwd=folder, env=env)

    return go


def _reuse(captured: dict[str, Sent]) -> str:
    first = visible(captured["first run"].body)
    parts = [f"{name} {shared(first, visible(sent.body)):.0%}" for name, sent in captured.items()]
    return ", ".join(parts[1:])


def report(captured: dict[str, Sent], tokenizer: Tokenizer | None) -> bool:
    """Prints the figures; whether all that was promised holds."""
    bases = {name: base_of(sent.body) for name, sent in captured.items()}
    base = bases["first run"]
    tools: list[dict[str, Any]] = msgspec.json.decode(base.tools)
    good = base.size <= BYTES
    print(f"kimi-code, the base request: {len(tools)} tools, {base.size} bytes (at most {BYTES})")
    print(f"  tools {len(base.tools)} bytes, system prompt {len(base.system.encode())} bytes")
    if tokenizer is None:
        print("  tokens: - (the embedded model is not here: kimi-code models pull)")
    else:
        plain = tokenizer.count(base.system) + tokenizer.count(base.tools.decode())
        rendered = len(tokenizer.prompt([{"role": "system", "content": base.system}], tools))
        print(f"  {plain} tokens (at most {TOKENS}); {rendered} as the model's chat template writes them")
        good = good and max(plain, rendered) <= TOKENS
    same = all(each == base for each in bases.values())
    once = all(sent.requests == 1 for sent in captured.values())
    print(f"  the same bytes in every situation: {'yes' if same else 'NO'}")
    print(f"  requests for a greeting: {max(sent.requests for sent in captured.values())}")
    whole = len(captured["first run"].body.encode())
    print(f"  whole first request {whole} bytes; shared with it: {_reuse(captured)}")
    if tokenizer is not None:
        print(f"  as tokens of the rendered prompt: {_reuse_in_tokens(captured, tokenizer)}")
    return good and same and once


def _reuse_in_tokens(captured: dict[str, Sent], tokenizer: Tokenizer) -> str:
    prompts: dict[str, list[int]] = {}
    for name, sent in captured.items():
        decoded = msgspec.json.decode(sent.body, type=_Body)
        prompts[name] = tokenizer.prompt(decoded.messages, msgspec.json.decode(decoded.tools))
    first = prompts.pop("first run")
    parts: list[str] = []
    for name, prompt in prompts.items():
        length = common(first, prompt)
        parts.append(f"{name} {length} of {len(prompt)} ({length / len(prompt):.0%})")
    return ", ".join(parts)


def report_peers(root: Path, tokenizer: Tokenizer | None) -> None:
    for peer in install_peers():

        def say_hi(url: str, folder: Path, peer: Any = peer) -> Ran:
            peer.prepare(url)
            return run(peer.command(url, PROMPT, False), cwd=folder, env=peer_environment(peer))

        captured = capture(say_hi, peer.server, root / peer.name)
        body = captured["first run"].body
        tokens = f"{tokenizer.count(body)} tokens, " if tokenizer is not None else ""
        print(f"{peer.name}: {len(body.encode())} bytes, {tokens}shared with it: {_reuse(captured)}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="prompt_budget", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="count with this model's tokenizer")
    parser.add_argument("--peers", action="store_true", help="also pi and codex, from npm")
    arguments = parser.parse_args()
    print(machine())
    path = arguments.model or embedded_model()
    tokenizer = Tokenizer(path) if path is not None else None
    with tempfile.TemporaryDirectory(prefix="prompt-") as name:
        root = Path(name).resolve()
        good = report(capture(_say_hi(root / "state"), CHAT, root), tokenizer)
        if arguments.peers:
            report_peers(root, tokenizer)
    if tokenizer is not None:
        tokenizer.close()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
