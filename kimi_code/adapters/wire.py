"""The OpenAI chat-completions protocol as bytes: requests out, chunks in. Knows no connection.

A request is laid out for prefix caches: model, tools, messages, and only then what may vary from one request
to the next. The bytes of a message are made once.
"""

import base64
import mimetypes
from pathlib import Path
from typing import Any, Literal

import msgspec

from kimi_code.agent.ports import Message, Request, Sampling, ToolSpec
from kimi_code.events import Usage

# ---------------------------------------------------------------- requests

Flavour = Literal["moonshot", "template", "plain"]
"""How a server is told to think or not: Moonshot's field, chat_template_kwargs, or not at all."""

OPTIONAL_FIELDS = (
    "stream_options",
    "chat_template_kwargs",
    "return_progress",
    "thinking",
    "temperature",
    "top_p",
    "seed",
    "max_tokens",
)
_MAX_IMAGE = 20 << 20
_EMPTY_ANSWER = "(no answer)"  # Moonshot's servers refuse an assistant message without any content


class BodyBuilder:
    """Builds request bodies for one model. Keeps the bytes of the messages it saw last.

    `ids` are the call ids of the request built last, `omitted` the fields that the server refused.
    """

    def __init__(self, model: str, *, flavour: Flavour, progress: bool) -> None:
        self.model = model
        self.flavour: Flavour = flavour
        self.progress = progress
        self.omitted: set[str] = set()
        self.thinking_field = "reasoning_content"
        self._base_key: tuple[str, tuple[ToolSpec, ...]] | None = None
        self._base = b""
        self._messages: tuple[Message, ...] = ()
        self._kept_from: int = 0
        self._answered: int = 0
        self._parts: list[bytes] = []
        self._joined = b""
        self.ids: set[str] = set()

    def build(self, request: Request, *, count: int = 1) -> bytes:
        """`count` answers are asked for with `n`."""
        key = (request.system, request.tools)
        if key != self._base_key:
            self._base_key, self._base = key, self._encode_base(request)
        self._encode_messages(request.messages, keep_all=request.sampling.preserve_thinking)
        tail = msgspec.json.encode(self._settings(request.sampling, count))
        return b"".join([self._base, self._joined, b"],", tail[1:]])

    def _encode_base(self, request: Request) -> bytes:
        encode = msgspec.json.encode
        head = b'{"model":' + encode(self.model)
        if request.tools:
            tools = [
                {
                    "type": "function",
                    "function": {"name": t.name, "description": t.description, "parameters": t.parameters},
                }
                for t in request.tools
            ]
            head += b',"tools":' + encode(tools)
        head += b',"messages":['
        if request.system:
            head += encode({"role": "system", "content": request.system}) + b","
        return head

    def _encode_messages(self, messages: tuple[Message, ...], *, keep_all: bool) -> None:
        """Bring `_parts` and `_joined` up to date; a conversation that only grew costs what is new of it."""
        same = self._same(messages)
        self._answered = self._after_answer(messages, same)
        kept_from = 0 if keep_all else self._answered
        if kept_from != self._kept_from:
            same = min(same, kept_from, self._kept_from)
            self._kept_from = kept_from
        if same < len(self._parts):
            del self._parts[same:]
            self._joined = b",".join(self._parts)
        for index in range(same, len(messages)):
            message = _message(messages[index], self.thinking_field if index >= kept_from else "")
            self._parts.append(msgspec.json.encode(message))
        if fresh := self._parts[same:]:
            self._joined = b",".join([self._joined, *fresh] if same else fresh)
        if same < len(self._messages):
            self.ids.clear()
            same = 0
        self.ids.update(call.id for message in messages[same:] for call in message.calls)
        self._messages = messages

    def _same(self, messages: tuple[Message, ...]) -> int:
        """How many messages at the beginning are those of the request before."""
        known = self._messages
        if messages[: len(known)] == known:
            return len(known)
        pairs = enumerate(zip(known, messages, strict=False))
        return next((at for at, (old, new) in pairs if old != new), min(len(known), len(messages)))

    def _after_answer(self, messages: tuple[Message, ...], same: int) -> int:
        """Where the last answer that called nothing ends: the reasoning before is not shown (Kimi K2)."""
        known, start = (self._answered, same) if self._answered <= same else (0, 0)
        for index in range(len(messages) - 1, start - 1, -1):
            if messages[index].role == "assistant" and not messages[index].calls:
                return index + 1
        return known

    def _settings(self, sampling: Sampling, count: int) -> dict[str, Any]:
        settings: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        if count > 1:
            settings["n"] = count
        for name in ("temperature", "top_p", "seed", "max_tokens"):
            if (value := getattr(sampling, name)) is not None:
                settings[name] = value
        settings |= _thinking(sampling, self.flavour)
        if self.progress:
            settings["return_progress"] = True
        if "max_tokens" in self.omitted and "max_tokens" in settings:
            settings["max_completion_tokens"] = settings["max_tokens"]  # OpenAI's newer name
        return {name: value for name, value in settings.items() if name not in self.omitted}

    def give_up_field(self, said: str) -> bool:
        """Whether a server's complaint names an optional field, which is then left out from now on."""
        named = [name for name in OPTIONAL_FIELDS if name in said and name not in self.omitted]
        self.omitted.update(named)
        return bool(named)


def _thinking(sampling: Sampling, flavour: Flavour) -> dict[str, Any]:
    if flavour == "plain" or (sampling.thinking is None and not sampling.preserve_thinking):
        return {}
    if flavour == "moonshot":
        # platform.kimi.ai, "thinking": {"type": enabled|disabled, "keep": "all"}
        mode: dict[str, Any] = {"type": "disabled" if sampling.thinking is False else "enabled"}
        return {"thinking": mode | ({"keep": "all"} if sampling.preserve_thinking else {})}
    kwargs: dict[str, Any] = {}
    if sampling.thinking is not None:
        # Kimi's and DeepSeek's templates read `thinking`, Qwen's and GLM's `enable_thinking`.
        kwargs |= {"thinking": sampling.thinking, "enable_thinking": sampling.thinking}
    if sampling.preserve_thinking:
        kwargs["preserve_thinking"] = True
    return {"chat_template_kwargs": kwargs}


def _message(message: Message, thinking_field: str) -> dict[str, Any]:
    if message.role == "tool":
        return {
            "role": "tool",
            "tool_call_id": message.call_id,
            "name": message.name,
            "content": message.text,
        }
    if message.role == "user":
        if not message.images:
            return {"role": "user", "content": message.text}
        parts: list[dict[str, Any]] = [_image(image) for image in message.images]
        return {"role": "user", "content": [*parts, {"type": "text", "text": message.text}]}
    made: dict[str, Any] = {"role": "assistant", "content": message.text}
    if message.thinking and thinking_field:
        made[thinking_field] = message.thinking
    if message.calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": msgspec.json.encode(call.arguments).decode(),
                },
            }
            for call in message.calls
        ]
    elif not message.text:
        made["content"] = _EMPTY_ANSWER
    return made


def _image(image: str) -> dict[str, Any]:
    """A URL as it is; a file as a data URL; one that cannot be read as a sentence that says so."""
    if image.startswith(("data:", "https://", "http://")):
        return {"type": "image_url", "image_url": {"url": image}}
    path = Path(image)
    try:
        if path.stat().st_size > _MAX_IMAGE:
            return {"type": "text", "text": f"[The image {path.name} is too large to be shown.]"}
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        return {"type": "text", "text": f"[The image {path.name} cannot be read: {error.strerror}.]"}
    kind = mimetypes.guess_type(path.name)[0] or "image/png"
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}


# ---------------------------------------------------------------- answers

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding bytes of a server can raise: not JSON, of another shape, not UTF-8, nested without end."""


class NotDecodable(ValueError):
    """Not a chunk of an answer."""


class FunctionPart(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallPart(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: FunctionPart | None = None


class MessagePart(msgspec.Struct):
    """A delta, or the message of an answer that was not streamed. Both names of the reasoning are in use."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[CallPart] | None = None


class PromptDetails(msgspec.Struct):
    cached_tokens: float | None = None


class CompletionDetails(msgspec.Struct):
    reasoning_tokens: float | None = None


class UsagePart(msgspec.Struct):
    """Cached tokens as OpenAI, Moonshot and DeepSeek spell them."""

    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    cached_tokens: float | None = None
    prompt_cache_hit_tokens: float | None = None

    def usage(self) -> Usage:
        details = self.prompt_tokens_details
        cached = details.cached_tokens if details is not None else None
        thinking = self.completion_tokens_details
        return Usage(
            prompt=int(self.prompt_tokens or 0),
            cached=int(cached or self.cached_tokens or self.prompt_cache_hit_tokens or 0),
            completion=int(self.completion_tokens or 0),
            thinking=int(thinking.reasoning_tokens or 0) if thinking is not None else 0,
        )


class ChoicePart(msgspec.Struct):
    """`delta` in a stream, `message` in a whole answer. Moonshot puts the usage into the last choice."""

    index: int | None = None
    delta: MessagePart | None = None
    message: MessagePart | None = None
    finish_reason: str | None = None
    usage: UsagePart | None = None


class ProgressPart(msgspec.Struct):
    """llama-server's prompt_progress; our own runtime adds the phase."""

    total: int = 0
    processed: int = 0
    cache: int = 0
    phase: str = "prefill"


class ChunkPart(msgspec.Struct):
    choices: list[ChoicePart] | None = None
    usage: UsagePart | None = None
    prompt_progress: ProgressPart | None = None
    error: Any = None


_chunks = msgspec.json.Decoder(ChunkPart)


def decode_chunk(data: bytes) -> ChunkPart:
    """Raises NotDecodable."""
    try:
        return _chunks.decode(data)
    except UNDECODABLE as error:
        raise NotDecodable(str(error)) from error


# ---------------------------------------------------------------- models


class _Meta(msgspec.Struct):
    n_ctx: int | None = None
    n_ctx_train: int | None = None
    n_params: int | None = None


class ModelEntry(msgspec.Struct):
    """One line of /v1/models, with the context size as the various servers spell it."""

    id: str = ""
    owned_by: str | None = None
    max_model_len: int | None = None  # vLLM, SGLang
    context_length: int | None = None  # Moonshot, OpenRouter, Together
    context_window: int | None = None  # Groq
    max_context_length: int | None = None  # Mistral, LM Studio
    loaded_context_length: int | None = None  # LM Studio
    n_ctx: int | None = None
    meta: _Meta | None = None  # llama-server

    @property
    def context(self) -> int | None:
        """Tokens; None where the server does not say, or says only what the model was trained with."""
        spelled = (
            self.loaded_context_length,
            self.max_model_len,
            self.n_ctx,
            self.meta.n_ctx if self.meta is not None else None,
            self.context_length,
            self.context_window,
            self.max_context_length,
        )
        return next((size for size in spelled if size is not None and size > 0), None)

    @property
    def billions(self) -> float | None:
        if self.meta is None or not self.meta.n_params:
            return None
        return round(self.meta.n_params / 1e9, 2)

    @property
    def is_llama_server(self) -> bool:
        return self.owned_by == "llamacpp"


class ModelList(msgspec.Struct):
    data: list[ModelEntry] = []


class _Generation(msgspec.Struct):
    n_ctx: int | None = None


class ServerProps(msgspec.Struct):
    """llama-server's /props."""

    default_generation_settings: _Generation | None = None
