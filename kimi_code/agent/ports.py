"""What the loop needs from the world, as protocols. Adapters implement them; nothing here does anything.

Model      asks a language model            adapters/
Toolbox    hands in the repository          adapters/toolbox.py over kimi_tools
Workspace  the folder as a whole: what changed, throw-away copies, verification commands
Gate       may this call run?               adapters/ over config's permission rules
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from kimi_code.events import Call, CallStatus, Todo, Usage

# ---------------------------------------------------------------- Model


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as the model sees it; `parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: dict[str, Any]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the conversation. `call_id` and `name` belong to role tool, `calls` to assistant."""

    role: Literal["user", "assistant", "tool"]
    text: str
    thinking: str = ""
    calls: tuple[Call, ...] = ()
    call_id: str = ""
    name: str = ""
    images: tuple[str, ...] = ()


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """None leaves the choice to the model's own defaults. `thinking` None: the model's default mode."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    thinking: bool | None = None
    preserve_thinking: bool = False


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Tools and system first, what varies last, so that a prefix cache holds."""

    system: str
    tools: tuple[ToolSpec, ...]
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`context` in tokens. `billions` is the parameter count where it is known; `local`: on this machine."""

    name: str
    context: int
    local: bool
    billions: float | None = None


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    text: str = ""
    thinking: str = ""


class Working(msgspec.Struct, frozen=True, kw_only=True):
    """Progress before the first token: `phase` is load, queue or prefill."""

    phase: str
    done: int
    total: int


class Retrying(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt failed and will be repeated; every delta since the request began is void."""

    attempt: int
    delay_s: float
    error: str


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer. `finish` is stop, calls or length."""

    text: str
    thinking: str = ""
    calls: tuple[Call, ...] = ()
    usage: Usage = Usage()
    finish: Literal["stop", "calls", "length"] = "stop"


Chunk = Delta | Working | Retrying | Reply


class Model(Protocol):
    """A language model. Failures are raised as errors.ModelFailure, after the retries were spent."""

    async def open(self) -> ModelInfo:
        """Start or reach the model and say what it is. Cheap when called again."""
        ...

    def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """One answer. The last chunk is a Reply. A cut stream yields no Reply and runs no call."""
        ...

    def sample(self, request: Request, count: int) -> AsyncGenerator[Reply, None]:
        """`count` independent answers to one prompt, each as soon as it is complete, in any order.

        Closing the iterator cancels what is still being computed.
        """
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------- Toolbox


class BadCall(Exception):
    """The call cannot be made; the text tells the model what to do instead.

    denied: it was refused for safety (a path outside the workspace), not misunderstood.
    """

    def __init__(self, text: str, *, denied: bool = False) -> None:
        super().__init__(text)
        self.denied = denied


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What a call would do, resolved, before it is done. `paths` are absolute and real (links followed).

    effect: none (plan keeping), read, write (files in `paths`), execute (`command`).
    """

    effect: Literal["none", "read", "write", "execute"]
    target: str
    paths: tuple[str, ...] = ()
    command: str = ""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """`content` for the model, `details` for people; `changed`: files written, relative to the workspace."""

    status: CallStatus
    content: str
    details: dict[str, Any] = {}
    changed: tuple[str, ...] = ()
    todos: tuple[Todo, ...] | None = None


class Toolbox(Protocol):
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools' schemas, the same bytes every time."""
        ...

    def intent(self, call: Call) -> Intent:
        """Validate and resolve; raises BadCall."""
        ...

    async def run(self, call: Call, output: Callable[[str], None]) -> ToolResult:
        """Do it. `output` is given live output as it comes. Cancelling it ends what was started."""
        ...


# ---------------------------------------------------------------- Workspace


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """`exit_code` None: it could not be started. `failures`: names of failing tests, where they can be told.

    `summary` is the output cut to what matters; `output` the clipped whole.
    """

    command: str
    exit_code: int | None
    summary: str
    output: str = ""
    failures: tuple[str, ...] = ()
    duration_s: float = 0.0
    timed_out: bool = False


class Workspace(Protocol):
    """The folder the agent works in. Paths in and out are relative to its root, `/`-separated."""

    @property
    def root(self) -> str: ...

    def detect_checks(self) -> tuple[str, ...]:
        """Verification commands found in the repository (pytest, npm test ...), best first."""
        ...

    async def check(self, command: str, *, timeout_s: float) -> CommandResult:
        """Run a verification command, boxed, in the workspace as it is."""
        ...

    async def trial(self, command: str, files: Mapping[str, str], *, timeout_s: float) -> CommandResult:
        """Run a command, boxed, in a throw-away copy in which `files` have these contents."""
        ...

    async def checkpoint(self) -> tuple[str, int]:
        """Record the workspace before the first effect: an id, and how many files it holds."""
        ...

    async def changed(self, checkpoint: str) -> tuple[str, ...]:
        """Files that differ from the checkpoint."""
        ...

    async def check_at(self, checkpoint: str, command: str, *, timeout_s: float) -> CommandResult:
        """Run a command, boxed, in a throw-away copy of the workspace as it was at the checkpoint."""
        ...

    def read_text(self, path: str) -> str:
        """The whole text of a source file. Raises OSError, UnicodeDecodeError."""
        ...

    def is_test(self, path: str) -> bool:
        """Whether a file is a test, by its name."""
        ...

    def suspects(self, hints: Sequence[str], budget_chars: int) -> Mapping[str, str]:
        """Sources a repair should look at: path -> text, most suspect first, within the budget.

        `hints` are texts that may name them: the task, the output of failing commands.
        """
        ...


# ---------------------------------------------------------------- Gate


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """`why` is for people; `rule` the configured rule that decided, empty for the mode's own."""

    decision: Literal["allow", "ask", "deny"]
    why: str
    rule: str = ""


class Gate(Protocol):
    def judge(self, call: Call, intent: Intent) -> Ruling: ...

    def preset(self, call: Call, intent: Intent) -> Literal["once", "session", "deny"] | None:
        """An answer given in advance (an approvals file), None where there is none."""
        ...

    def remember(self, call: Call, intent: Intent) -> None:
        """Allow exactly this for the rest of the session."""
        ...
