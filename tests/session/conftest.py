"""Sessions in a folder of their own, with the facts that a short turn leaves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kimi_code.events import (
    AssistantMessage,
    Call,
    CallFinished,
    CallRequested,
    CallStarted,
    Fact,
    PromptStored,
    Result,
    SessionStarted,
    TurnEnded,
    TurnStarted,
    Usage,
    UserMessage,
)
from kimi_code.session.session import Session
from kimi_code.session.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "sessions")


@pytest.fixture
def session(store: Store) -> Iterator[Session]:
    """Open and empty."""
    session = store.create()
    yield session
    session.close()


@pytest.fixture
def opening() -> list[Fact]:
    return [
        SessionStarted(version="1", cwd="/work", model="m", approval="auto", sandbox="bubblewrap"),
        PromptStored(system="You are an agent.", tools=[{"name": "Read"}], context="<env/>"),
    ]


@pytest.fixture
def turn() -> list[Fact]:
    """A whole turn with one call."""
    call = Call(id="c1", name="Bash", arguments={"command": "pytest"})
    return [
        TurnStarted(turn=1),
        UserMessage(text="Fix the\n failing test"),
        AssistantMessage(text="Let me look.", calls=[call], usage=Usage(prompt=100, completion=10)),
        CallRequested(id="c1", name="Bash", arguments={"command": "pytest"}),
        CallStarted(id="c1", name="Bash", target="pytest"),
        CallFinished(id="c1", name="Bash", status="ok", content="1 passed – ü", duration_s=0.5),
        AssistantMessage(text="Done.", usage=Usage(prompt=120, cached=100, completion=5)),
        TurnEnded(turn=1, reason="done"),
        Result(
            status="done",
            result="Done.",
            session_id="s",
            exit_code=0,
            steps=2,
            calls=1,
            files_changed=["a.py"],
        ),
    ]
