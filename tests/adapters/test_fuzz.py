"""P12: a million mutated streams, arguments and texts. None may raise what is not announced, or hang."""

import random

import msgspec
import pytest

from kimi_code.adapters.gather import Gathering, Offer
from kimi_code.adapters.repair import read_arguments
from kimi_code.adapters.sse import EventDecoder
from kimi_code.adapters.textcalls import find_calls
from kimi_code.adapters.wire import NotDecodable, decode_chunk
from kimi_code.events import Usage
from kimi_testing.asking import BASH
from kimi_testing.script import ScriptedCall, ScriptedReply, WrittenAs, written_text
from kimi_testing.wire import events

CALL = ScriptedCall(name="Bash", arguments={"command": "echo \"hi\" '\\d'\n", "timeout": 3})
FORMS: tuple[WrittenAs, ...] = ("tool_call", "fenced", "kimi", "function", "bare")
TEXTS = [written_text("So.", [CALL], form) for form in FORMS]
STREAM = b"".join(
    b"data: %b\n\n" % event
    for event in events(
        [ScriptedReply(text="hello", thinking="hm", calls=[CALL], pieces=4)], "m", {}, progress=False
    )
)
TOKENS = [
    b"\n",
    b"\r",
    b"data: ",
    b'"',
    b"{",
    b"}",
    b"\\",
    b"\xff",
    b"null",
    b"<think>",
    b"</tool_call>",
    b"```",
]


def mutated(data: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(4):
            case 0:
                data = data[:at] + data[at + dice.randint(1, 9) :]
            case 1:
                data = data[:at] + dice.choice(TOKENS) + data[at:]
            case 2:
                data = data[:at] + data[dice.randrange(len(data) + 1) :]
            case _:
                data = data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
    return data


def play(dice: random.Random) -> None:
    decoder, gathering = EventDecoder(), Gathering()
    stream = mutated(STREAM, dice)
    cut = dice.randrange(len(stream) + 1)
    try:
        for event in [*decoder.feed(stream[:cut]), *decoder.feed(stream[cut:])]:
            for choice in decode_chunk(event).choices or ():
                gathering.add(choice)
    except NotDecodable:
        pass
    reply = gathering.reply(Offer([BASH], []), Usage())
    msgspec.json.encode([call.arguments for call in reply.calls])
    text = mutated(dice.choice(TEXTS).encode(), dice).decode(errors="replace")
    _, calls = find_calls(text, {"Bash": {"command"}})
    assert {call.name for call in calls} <= {"Bash"}
    msgspec.json.encode([call.arguments for call in calls])
    msgspec.json.encode(read_arguments(text))


def test_p12_a_thousand_mutations() -> None:
    dice = random.Random(1)
    for _ in range(1000):
        play(dice)


@pytest.mark.long
def test_p12_a_million_mutations() -> None:
    dice = random.Random()
    for _ in range(1_000_000):
        play(dice)
