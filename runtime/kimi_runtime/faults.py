"""What can go wrong while a model runs, as typed errors. Knows no protocol but for the HTTP status of each.

RuntimeFault (a RuntimeFailure)
├── BadRequest       400   the request cannot be answered as it is
│   └── ContextFull  400   more tokens than the context holds; `limit` says how many it holds
├── Busy             429   too many requests are waiting
├── BadTemplate      500   the model's chat template fails, never ends or writes too much
├── LoadFault        500   the model file cannot be loaded
│   └── OutOfMemory  507   not enough memory for the weights or the KV cache
├── EngineFault      500   decoding failed
└── WorkerFailed     503   the worker process ended or did not answer
"""

from kimi_runtime.failures import RuntimeFailure


class RuntimeFault(RuntimeFailure):
    """`status` and `code` are what a client of the server is told."""

    status = 500
    code = "runtime_failed"


class BadRequest(RuntimeFault):
    status = 400
    code = "invalid_request"


class ContextFull(BadRequest):
    """`needed` and `limit` in tokens."""

    code = "context_length_exceeded"

    def __init__(self, needed: int, limit: int) -> None:
        super().__init__(
            f"The request needs {needed} tokens, but the context holds {limit}.",
            hint="Shorten the conversation, or start the worker with a larger --ctx.",
        )
        self.needed = needed
        self.limit = limit


class Busy(RuntimeFault):
    status = 429
    code = "busy"


class BadTemplate(RuntimeFault):
    code = "bad_template"


class LoadFault(RuntimeFault):
    code = "load_failed"


class OutOfMemory(LoadFault):
    status = 507
    code = "out_of_memory"


class EngineFault(RuntimeFault):
    code = "engine_failed"


class WorkerFailed(RuntimeFault):
    """The worker could not be started or went away; `log` holds the last lines it wrote."""

    status = 503
    code = "worker_failed"

    def __init__(self, message: str, *, hint: str = "", log: str = "") -> None:
        super().__init__(message, hint=hint)
        self.log = log
