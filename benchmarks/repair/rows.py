"""What was measured on one task, a JSON line each, so that a run can stop and go on. Knows no process."""

from pathlib import Path

import msgspec


class LoopRow(msgspec.Struct, frozen=True, kw_only=True):
    """The agent's run. `solved` is the judge's word, `exit_code` and `status` the agent's.

    exit_code None: it had to be killed. seconds: the whole process. Tokens as its result object counts them.
    note: the last line the agent wrote when it failed, or the judge's when the agent had said "done".
    """

    solved: bool
    exit_code: int | None
    seconds: float
    status: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    steps: int = 0
    tests_changed: bool = False
    note: str = ""

    @property
    def false_done(self) -> bool:
        return self.exit_code == 0 and not self.solved


class OneShotRow(msgspec.Struct, frozen=True, kw_only=True):
    """One-shot prompting. `first`: the greedy answer passes.

    `passed` of `samples` independent answers, taken in the time that the loop had, pass (the greedy one is
    among them). `first_seconds` and `tokens` (prompt, completion) belong to the first answer.
    """

    first: bool
    first_seconds: float
    prompt_tokens: int
    completion_tokens: int
    samples: int
    passed: int
    seconds: float

    @property
    def expected(self) -> float:
        """The chance that one answer, taken blindly, passes."""
        return self.passed / self.samples if self.samples else 0.0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    set: str
    task: str
    kind: str
    loop: LoopRow
    oneshot: OneShotRow | None = None


_decoder = msgspec.json.Decoder(Row)


def load_rows(path: Path) -> list[Row]:
    """All rows; a line that a kill cut short is skipped. Of one task the last row counts."""
    rows: dict[tuple[str, str], Row] = {}
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            row = _decoder.decode(line)
        except msgspec.DecodeError:
            continue
        rows[row.set, row.task] = row
    return list(rows.values())


def append_row(path: Path, row: Row) -> None:
    data = path.read_bytes()[-1:] if path.exists() else b""
    with path.open("ab") as file:
        file.write((b"\n" if data not in (b"", b"\n") else b"") + msgspec.json.encode(row) + b"\n")
