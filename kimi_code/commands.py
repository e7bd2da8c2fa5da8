"""What a face may ask of the engine. Plain data; the engine answers with events."""

import msgspec

from kimi_code.events import Attachment, Decision


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all commands."""


class Say(Command, frozen=True, kw_only=True, tag="say"):
    """A person's message: starts a turn, or steers the one that runs."""

    text: str
    attachments: list[Attachment] = []


class Answer(Command, frozen=True, kw_only=True, tag="answer"):
    """The decision on an `approval.requested` event."""

    approval: str
    decision: Decision
    by: str = "person"


class Interrupt(Command, frozen=True, kw_only=True, tag="interrupt"):
    """End the running turn at the next safe point; what ran is recorded."""


class Stop(Command, frozen=True, kw_only=True, tag="stop"):
    """End the engine after the running turn has ended."""
