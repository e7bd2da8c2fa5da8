"""Where a server is, and what every request to it says. Knows no client and no chat."""

import ipaddress
import os
import socket
from urllib.parse import urlsplit

import msgspec

from kimi_code.errors import UsageError

CONNECT_S = 10.0
_USER_AGENT = "kimi-code-local"
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
# A peer that vanished without a word is noticed by the kernel after about a minute.
KEEPALIVE: list[tuple[int, int, int]] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
]


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A server's base URL (without a slash at its end), or the Unix socket it listens on."""

    base: str
    host: str
    port: int
    path: str
    uds: str | None = None

    @property
    def loopback(self) -> bool:
        if self.uds is not None or self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def near(self) -> bool:
        """On this machine or in a private network: a server of one's own, which may think long."""
        try:
            return self.loopback or ipaddress.ip_address(self.host).is_private
        except ValueError:
            return "." not in self.host or self.host.endswith((".local", ".lan", ".internal"))

    @property
    def direct(self) -> bool:
        """Whether nothing is in between: no TLS, no proxy. A loopback address never has one."""
        if self.uds is not None:
            return True
        return self.base.startswith("http://") and (
            self.loopback or not any(os.environ.get(name) for name in _PROXIES)
        )

    @property
    def shown(self) -> str:
        return f"The model server at {self.uds or self.base}"


def parse_address(base_url: str, uds: str | None = None) -> Address:
    """Raises UsageError for what is no http(s) URL. A user name or password in it is not kept for show."""
    hint = "Give it like http://127.0.0.1:8000/v1."
    try:
        parts = urlsplit(base_url.strip())
        port = parts.port
    except ValueError as error:
        raise UsageError(f"The server's URL {base_url!r} is not a URL: {error}.", hint=hint) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"The server's URL {base_url!r} is not an http or https URL.", hint=hint)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    base = f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"
    return Address(
        base=base,
        host=parts.hostname,
        port=port or (443 if parts.scheme == "https" else 80),
        path=path,
        uds=uds,
    )


def header_fields(api_key: str) -> dict[str, str]:
    fields = {
        "content-type": "application/json",
        "accept": "text/event-stream, application/json",
        # Compressed events arrive in lumps.
        "accept-encoding": "identity",
        "user-agent": _USER_AGENT,
    }
    if api_key:
        if not api_key.isascii() or not api_key.isprintable():
            raise UsageError(
                "The API key holds characters that no key has (a line break, a letter with an accent).",
                hint="Set the variable anew, without quotes and without a line break.",
            )
        fields["authorization"] = f"Bearer {api_key}"
    return fields
