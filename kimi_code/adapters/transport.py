"""What carries requests to a server, as a protocol, and how it fails. Knows no implementation."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from socket import gaierror
from typing import Protocol

import msgspec


class NoConnection(Exception):
    """The server was not reached; the text says why."""


class LostConnection(Exception):
    """The connection was there, and ended before the answer did."""


class NotHttp(Exception):
    """What came is not HTTP."""


class Raw(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that has begun: header fields by lower-case name, the body as it comes.

    The body raises LostConnection and NotHttp.
    """

    status: int
    headers: Mapping[str, str]
    body: AsyncGenerator[bytes, None]


class Client(Protocol):
    """Keeps connections alive between exchanges."""

    def exchange(self, method: str, path: str, body: bytes | None) -> AbstractAsyncContextManager[Raw]:
        """`path` goes after the base URL. Raises NoConnection, LostConnection, NotHttp on entering."""
        ...

    async def close(self) -> None: ...


def in_words(error: BaseException) -> str:
    """Why a connection failed, without the wrapping of the layers between."""
    cause = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    if isinstance(cause, gaierror):
        return "its name cannot be resolved (no such host, or no network)"
    if isinstance(cause, ConnectionRefusedError) or "refused" in str(error).lower():
        return "nothing listens there (connection refused)"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(error) or "no connection"
