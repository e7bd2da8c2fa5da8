"""What servers say when they refuse, in their own wordings."""

import pytest

from kimi_code.adapters.failures import Server, context_limit, from_status
from kimi_code.adapters.retry import Patience, Retries, Transient, retry_after
from kimi_code.errors import ContextOverflow, Refused, Unreachable
from kimi_testing.clock import FakeClock

SERVER = Server("The model server at http://x/v1", "kimi", "topsecretkey")

OVERFLOWS = [
    (
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the "
        "messages, 1000 in the completion). Please reduce the length of the messages or completion.",
        8192,
    ),
    (
        "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is "
        "4096 tokens and your request has 100 input tokens",
        4096,
    ),
    ("the request exceeds the available context size (16384 tokens), try increasing it", 16384),
    ("request (40000 tokens) exceeds the available context size (32768 tokens), try increasing it", 32768),
    ("Invalid request: Your request exceeded model token limit: 131072 (requested: 150000)", 131072),
    ("The input (9000 tokens) is longer than the model's context length (8192 tokens).", 8192),
    (
        "Requested token count exceeds the model's maximum context length of 32,768 tokens. You requested a "
        "total of 40,000 tokens",
        32768,
    ),
    ("prompt is too long: 210000 tokens > 200000 maximum", 200000),
    ("The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).", 1048576),
    ("Prompt contains 40000 tokens, too large for model with 32768 maximum context length", 32768),
    (
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with "
        "context length of only 4096 tokens, which is not enough.",
        4096,
    ),
    ("Please reduce the length of the messages or completion.", None),
    ("Your input exceeds the context window of this model.", None),
]

NO_OVERFLOWS = [
    "max_tokens must be at least 1",
    "Unknown field: context_window",
    "Invalid tool schema",
    "temperature exceeds its maximum of 2",
]


def body(message: str) -> bytes:
    return b'{"error": {"message": "%b"}}' % message.encode()


@pytest.mark.parametrize(("said", "limit"), OVERFLOWS)
def test_overflows(said: str, limit: int | None) -> None:
    failure = from_status(400, {}, body(said), SERVER, 0)
    assert isinstance(failure, ContextOverflow)
    assert failure.limit == limit == context_limit(said)


@pytest.mark.parametrize("said", NO_OVERFLOWS)
def test_other_refusals_are_none(said: str) -> None:
    assert type(from_status(400, {}, body(said), SERVER, 0)) is Refused


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b'{"error": "text"}',
        b'{"error": null}',
        b'{"detail": [{"loc": ["body"], "msg": "field required"}]}',
        b'[{"error": {"message": "text"}}]',
        b"<html>bad gateway</html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"error": {"message": {"deep": 1}}}',
    ],
)
def test_bodies_of_every_shape(raw: bytes) -> None:
    failure = from_status(404, {}, raw, SERVER, 0)
    assert isinstance(failure, Refused)
    assert "404" in failure.message
    assert "<html>" not in failure.message


def test_nothing_secret_and_nothing_long_is_shown() -> None:
    said = SERVER.scrub("key topsecretkey or sk-abcdef123456\x1b[31m\n" + "x" * 5000)
    assert said.startswith("key *** or *** [31m x")
    assert len(said) < 420


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "never"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after(fields: dict[str, str], seconds: float | None) -> None:
    assert retry_after(fields, wall=10.0) == seconds


def test_budgets_are_kept_apart() -> None:
    clock = FakeClock()
    retries = Retries(Patience(connect_s=5, told_s=100), clock)
    lost = Unreachable("lost")
    clock.slept.append(retries.next_delay(Transient(lost, "busy", wait_s=50)))
    clock.slept.append(retries.next_delay(Transient(lost, "busy", wait_s=40)))
    with pytest.raises(Unreachable):
        retries.next_delay(Transient(lost, "busy", wait_s=30))
    with pytest.raises(Unreachable):
        retries.next_delay(Transient(lost, "connect"))
