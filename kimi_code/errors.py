"""What a user is told when something goes wrong. Knows nothing of how it is shown.

KimiError
├── UsageError          2   wrong flags, a bad config file, an unknown session
├── ModelFailure        3   the model or its server failed
│   ├── Unreachable         no connection within the retry budget
│   ├── Refused             the server said no: key, model name, quota
│   ├── Malformed           an answer that is not the protocol
│   ├── ContextOverflow     more tokens than the window holds
│   └── ModelMissing        no model file here yet
├── StorageFailure      1   the session log or the workspace cannot be written
├── NeedsApproval       5   denied, or nobody there to ask
└── Interrupted       130   Ctrl-C
"""


class KimiError(Exception):
    """A failure a person can act on: `message` says what was wrong, `hint` what to do."""

    code = "error"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(KimiError):
    code = "usage"
    exit_code = 2


class ModelFailure(KimiError):
    code = "model_failed"
    exit_code = 3


class Unreachable(ModelFailure):
    code = "model_unreachable"


class Refused(ModelFailure):
    code = "model_refused"


class Malformed(ModelFailure):
    code = "model_malformed"


class ContextOverflow(ModelFailure):
    """The server's own limit in tokens is in `limit`, None where it did not say."""

    code = "context_overflow"

    def __init__(self, message: str, *, hint: str = "", limit: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.limit = limit


class ModelMissing(ModelFailure):
    """`name` in the catalogue, and how much there is to fetch, for people."""

    code = "model_missing"

    def __init__(self, message: str, *, hint: str = "", name: str = "", size: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name
        self.size = size


class StorageFailure(KimiError):
    code = "storage_failed"


class NeedsApproval(KimiError):
    code = "denied"
    exit_code = 5


class Interrupted(KimiError):
    code = "interrupted"
    exit_code = 130
