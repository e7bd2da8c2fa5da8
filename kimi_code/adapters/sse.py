"""Server-sent events out of bytes as they come. Knows the framing, not what an event says."""

from kimi_code.errors import Malformed

MAX_EVENT = 64 << 20
_BOM = b"\xef\xbb\xbf"


class EventDecoder:
    """Feed it bytes; it gives the `data` of every event that is complete.

    All three line ends, comments, a byte order mark and several data lines of one event are understood
    (WHATWG HTML, "Server-sent events"). An event that the end of the stream cuts off is dropped, as the
    standard says: half an event is not an event. Other fields (event, id, retry) mean nothing here.
    """

    def __init__(self, *, max_event: int = MAX_EVENT) -> None:
        self._pieces: list[bytes] = []
        self._held = 0
        self._data: list[bytes] = []
        self._size = 0
        self._max = max_event
        self._begun = False
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """Raises Malformed when an event grows beyond the bound."""
        if not data:
            return []
        if self._after_cr:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = data.rfind(b"\n")
        if end < 0:
            self._hold(data)
            return []
        self._pieces.append(data[:end])
        lines = b"".join(self._pieces).split(b"\n")
        self._pieces = []
        self._held = 0
        self._hold(data[end + 1 :])
        if not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(_BOM)
        return self._events(lines)

    def _hold(self, rest: bytes) -> None:
        if rest:
            self._pieces.append(rest)
            self._held += len(rest)
            self._bound()

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data = []
                    self._size = 0
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._size += len(line)
                self._bound()
            elif line == b"data":
                self._data.append(b"")
        return events

    def _bound(self) -> None:
        if self._held + self._size > self._max:
            raise Malformed(
                f"The server sent one event of more than {self._max >> 20} MB.",
                hint="This is not a chat-completions stream: check the server's URL.",
            )
