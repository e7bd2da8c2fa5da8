"""What goes wrong with models on disk. Knows no exit code and no screen.

RuntimeFailure
├── UnknownModel    no such name in the catalogue, no such file
├── BadModel        the file is no model we would load
└── PullFailed      no source delivered
"""


class RuntimeFailure(Exception):
    """`message` is a sentence for people, `hint` what they can do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UnknownModel(RuntimeFailure):
    pass


class BadModel(RuntimeFailure):
    pass


class PullFailed(RuntimeFailure):
    pass
