"""What an error of a server means, for a person and for the retries. Knows statuses and wordings.

Nothing here may show the API key: what a server says is passed through `scrub` first.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from kimi_code.adapters.retry import Transient, retry_after
from kimi_code.errors import ContextOverflow, Malformed, ModelFailure, Refused, Unreachable

_KEY_HINT = "Put the server's key into KIMI_API_KEY (or the variable that --api-key-env names)."
_MAX_SHOWN = 400
_MAX_SEARCHED = 20_000
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_NUMBER = r"(\d[\d,_]{2,12})"
# How servers say that a prompt is too long. The number, where there is one, is the limit in tokens.
_LIMITS = [
    re.compile(pattern.replace("N", _NUMBER), re.IGNORECASE)
    for pattern in (
        r"maximum context length (?:is|of) N",  # OpenAI, vLLM, DeepSeek
        r"model'?s? (?:maximum )?context length[ (:of]{1,5}N",  # SGLang
        r"available context size[ (:of]{1,5}N",  # llama-server
        r"model token limit[ (:of]{1,5}N",  # Moonshot
        r"limit of N tokens",  # OpenAI
        r"with N maximum context",  # Mistral
        r"context length of only N",  # LM Studio
        r"> N (?:maximum|tokens)",  # Anthropic
        r"number of tokens allowed \(N",  # Google
        r"context (?:window|length|size|limit)[^.\d]{0,40}N",
    )
]
_TOO_LONG = re.compile(
    r"context[ _](?:length|size|window)|model token limit|prompt is too long|too many (?:input )?tokens"
    r"|input tokens exceed|exceed_context_size|reduce the length of the messages|number of tokens allowed",
    re.IGNORECASE,
)
_EXCEEDS = re.compile(r"exceed|too (?:long|large|many)|longer|larger|reduce|maximum|overflow", re.IGNORECASE)
_QUOTA = re.compile(r"insufficient_quota|exceeded_current_quota|insufficient balance|billing", re.IGNORECASE)
_SECRETS = re.compile(r"\b(?:sk|key|hf|gsk|ghp)[-_][A-Za-z0-9_*-]{6,}")


class Server:
    """What errors need to know of the server: how it is called, and what must not be shown."""

    def __init__(self, shown: str, model: str, api_key: str) -> None:
        self.shown = shown
        self.model = model
        self.listed: tuple[str, ...] = ()
        self._api_key = api_key

    def scrub(self, text: str) -> str:
        """One line, without the key, without control characters, not too long."""
        if self._api_key:
            text = text.replace(self._api_key, "***")
        text = _SECRETS.sub("***", text)
        text = "".join(char if char.isprintable() else " " for char in text[: 4 * _MAX_SHOWN])
        text = " ".join(text.split())
        return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def from_status(
    status: int, headers: Mapping[str, str], body: bytes, server: Server, wall: float
) -> Exception:
    """The exception that an answer with this status stands for: Transient, or a ModelFailure at once."""
    said = server.scrub(_message(body))
    told = f": {said}" if said else "."
    if status == 413 or (status in (400, 422, 500) and _is_overflow(said, body)):
        return _overflow(said, _message(body))
    if status in (429, 402) and _QUOTA.search(said + _kind(body)):
        return Refused(f"{server.shown} has no quota left for this key{told}", hint="Check its billing page.")
    if status in _BUSY:
        failure = _busy_failure(status, told, server)
        return Transient(failure, "busy", wait_s=retry_after(headers, wall))
    return _refused(status, told, server)


def from_error_object(error: Any, server: Server) -> Exception:
    """An error that comes inside a stream, after a status of 200."""
    body = msgspec.json.encode({"error": error})
    code: Any = cast("dict[str, Any]", error).get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and code.isdigit():
        code = int(code)
    if isinstance(code, int) and 400 <= code < 500 and code not in _BUSY:
        return from_status(code, {}, body, server, 0.0)
    said = server.scrub(_message(body))
    if _is_overflow(said, body):
        return _overflow(said, _message(body))
    failure = Unreachable(f"{server.shown} broke off its answer: {said}", hint="Look at the server's log.")
    return Transient(failure, "broken")


def _busy_failure(status: int, told: str, server: Server) -> ModelFailure:
    if status == 429:
        return Refused(
            f"{server.shown} has had too many requests (429){told}",
            hint="Wait, or lower the number of agents that run at once.",
        )
    return Unreachable(
        f"{server.shown} is not able to answer ({status}){told}", hint="Look at the server's log, or wait."
    )


def _refused(status: int, told: str, server: Server) -> ModelFailure:
    match status:
        case 401:
            return Refused(f"{server.shown} does not accept the API key (401){told}", hint=_KEY_HINT)
        case 403:
            hint = f"The key may lack the right to use {server.model!r}. {_KEY_HINT}"
            return Refused(f"{server.shown} refuses this request (403){told}", hint=hint)
        case 404:
            return Refused(f"{server.shown} has no such model or address (404){told}", hint=_names(server))
        case 301 | 302 | 303 | 307 | 308:
            hint = "Give the address it redirects to, with its path (mostly .../v1)."
            return Refused(f"{server.shown} sends us to another address ({status}).", hint=hint)
        case _:
            return Refused(f"{server.shown} refuses the request ({status}){told}", hint=_names(server))


def _names(server: Server) -> str:
    if not server.listed:
        return (
            f"Check the URL (mostly it ends in /v1) and the model's name {server.model!r} (KIMI_MODEL_NAME)."
        )
    if server.model in server.listed:
        return "The server does list this model: see its log for what it did not like."
    listed = ", ".join(server.listed[:8])
    more = f" and {len(server.listed) - 8} more" if len(server.listed) > 8 else ""
    return f"{server.model!r} is not among its models: {listed}{more}. Set KIMI_MODEL_NAME or --model."


def not_the_protocol(server: Server, content_type: str, body: bytes) -> ModelFailure:
    """A 200 that is neither a stream nor JSON: a web page, a proxy's login."""
    looks = (
        "a web page" if "html" in content_type or body.lstrip()[:1] == b"<" else f"{content_type or 'bytes'}"
    )
    return Malformed(
        f"{server.shown} answered with {looks} instead of the chat-completions protocol.",
        hint="Check the URL: mostly it ends in /v1. A proxy or login page may be in between.",
    )


def unreachable(server: Server, why: str) -> Transient:
    """No connection at all."""
    failure = Unreachable(
        f"{server.shown} cannot be reached: {server.scrub(why)}.",
        hint="Is the server running, and is the URL right (KIMI_BASE_URL or --model-url)?",
    )
    return Transient(failure, "connect")


def broken(server: Server, what: str, hint: str = "Look at the server's log.") -> Transient:
    """A connection that was there and went, or brought what cannot be used."""
    return Transient(Unreachable(f"{server.shown} {what}.", hint=hint), "broken")


def silent(server: Server, seconds: float) -> Transient:
    """A connection that lives, and says nothing."""
    failure = Unreachable(
        f"{server.shown} said nothing for {seconds:g} s.",
        hint="Look at the server's log: it may hang, or be too busy to answer.",
    )
    return Transient(failure, "silent")


def malformed(server: Server, what: str) -> Transient:
    """An answer that is not the protocol, which may be an accident."""
    hint = "The server does not speak the chat-completions protocol as it should: see its log."
    return Transient(Malformed(f"{server.shown} {what}.", hint=hint), "broken")


def _overflow(said: str, whole: str) -> ContextOverflow:
    return ContextOverflow(
        f"The request does not fit the model's context: {said}"
        if said
        else "The request is too large (413).",
        hint="Use a model or a server with a larger context.",
        limit=context_limit(whole),
    )


def _is_overflow(said: str, body: bytes) -> bool:
    if b"context_length_exceeded" in body or b"exceed_context_size" in body:
        return True
    return _TOO_LONG.search(said) is not None and _EXCEEDS.search(said) is not None


def context_limit(said: str) -> int | None:
    """The limit in tokens that a message names, in any of the wordings known."""
    said = said[:_MAX_SEARCHED]
    for pattern in _LIMITS:
        if (found := pattern.search(said)) is not None:
            return int(found[1].replace(",", "").replace("_", ""))
    return None


def _error(body: bytes) -> dict[str, Any]:
    """The error object of a body, in the several shapes that servers give it."""
    try:
        decoded: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = body[: 4 * _MAX_SHOWN].decode(errors="replace")
        return {} if text.lstrip().startswith("<") else {"message": text}
    if isinstance(decoded, list) and decoded:
        decoded = cast("list[Any]", decoded)[0]
    if not isinstance(decoded, dict):
        return {"message": body[: 4 * _MAX_SHOWN].decode(errors="replace")}
    whole = cast("dict[str, Any]", decoded)
    error = whole.get("error")
    if isinstance(error, dict):
        return cast("dict[str, Any]", error)
    for key in ("message", "detail"):
        if key in whole:
            return {"message": whole[key]}
    return {"message": error} if error else {}


def _message(body: bytes) -> str:
    message = _error(body).get("message", "")
    return message if isinstance(message, str) else msgspec.json.encode(message).decode()


def _kind(body: bytes) -> str:
    error = _error(body)
    return f" {error.get('type', '')} {error.get('code', '')}"
