"""What carries requests to a server, as a protocol, and how it fails. Knows no implementation."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
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
