"""Any order of appending, crashing and opening again leaves what was acknowledged, in order."""

import json
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kimi_code.events import CallFinished, CallRequested, CallStarted, Fact, TurnStarted, UserMessage
from kimi_code.session.codec import Record
from kimi_code.session.fold import fold
from kimi_code.session.scan import scan_bytes
from kimi_code.session.session import Session

TEXT = st.text(max_size=40)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
IDS = st.sampled_from(["a", "b", "c"])
FACTS = st.one_of(
    st.builds(UserMessage, text=TEXT),
    st.builds(TurnStarted, turn=st.integers(1, 9)),
    st.builds(CallRequested, id=IDS, name=TEXT, arguments=st.dictionaries(TEXT, PLAIN, max_size=3)),
    st.builds(CallStarted, id=IDS, name=TEXT, target=TEXT),
    st.builds(
        CallFinished,
        id=IDS,
        name=TEXT,
        status=st.sampled_from(["ok", "error", "denied"]),
        content=TEXT,
        details=st.dictionaries(TEXT, PLAIN, max_size=3),
    ),
)


class Machine(RuleBasedStateMachine):
    """`acknowledged`: what append returned, healing included. The session is open but for moments."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.session = Session.create(self.folder / "s1")
        self.acknowledged: list[Record] = []
        self.session.log.listen(self.acknowledged.append)

    @rule(fact=FACTS)
    def append(self, fact: Fact) -> None:
        record = self.session.append(fact)
        assert self.acknowledged[-1] is record

    @rule(tail=st.binary(min_size=1, max_size=60))
    def crash_while_writing(self, tail: bytes) -> None:
        self._open_again(tail)

    @rule(fact=FACTS, share=st.floats(0, 1))
    def crash_within_a_record(self, fact: Fact, share: float) -> None:
        self.session.log.append(fact)
        del self.acknowledged[-1]
        path = self.session.log.path
        lines = path.read_bytes().splitlines(keepends=True)
        self.session.close()
        path.write_bytes(b"".join(lines[:-1]) + lines[-1][: int(share * (len(lines[-1]) - 1))])
        self._open_again(b"")

    @precondition(lambda self: self.acknowledged)
    @rule()
    def close_and_open(self) -> None:
        self._open_again(b"")

    def _open_again(self, tail: bytes) -> None:
        path = self.session.log.path
        self.session.close()
        with path.open("ab") as file:
            file.write(tail)
        self.session = Session.open(path)
        healed = self.session.log.records[len(self.acknowledged) :]
        assert self.session.log.records[: len(self.acknowledged)] == self.acknowledged
        self.acknowledged = list(self.session.log.records)
        self.session.log.listen(self.acknowledged.append)
        assert {type(record.event).__name__ for record in healed} <= {"CallFinished", "TurnEnded"}
        assert not self.session.state.pending
        assert not self.session.state.open_turn

    @invariant()
    def the_file_holds_what_was_acknowledged(self) -> None:
        data = self.session.log.path.read_bytes()
        found = scan_bytes(data)
        assert found.records == self.acknowledged
        assert (found.problems(), found.torn_bytes) == ([], 0)
        assert [json.loads(line)["seq"] for line in data.splitlines()] == list(range(len(self.acknowledged)))

    @invariant()
    def the_state_is_the_fold_of_the_file(self) -> None:
        records = scan_bytes(self.session.log.path.read_bytes()).records
        assert vars(self.session.state) == vars(fold(records))

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.session.close()
            shutil.rmtree(self.folder)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=25,
    stateful_step_count=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
