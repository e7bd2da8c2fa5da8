"""Q01: going in circles is told by outcome, not by words."""

from kimi_code.agent.breaker import Breaker
from kimi_code.events import Call


def _call(text: str) -> Call:
    return Call(id="x", name="Bash", arguments={"command": text})


def test_q01_the_same_call_with_the_same_outcome_is_a_circle_at_the_fifth() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.note(_call("ls"), "a")
        assert breaker.circle() is None
    breaker.note(_call("ls"), "a")
    assert "5 times" in (breaker.circle() or "")


def test_the_same_call_with_changing_outcomes_is_polling() -> None:
    breaker = Breaker()
    for number in range(20):
        breaker.note(_call("cat log"), str(number))
    assert breaker.circle() is None


def test_edits_that_undo_each_other_are_a_circle() -> None:
    breaker = Breaker()
    reasons = []
    for _ in range(4):
        for text in ("a->b", "b->a"):
            breaker.note(_call(text), "done")
            reasons.append(breaker.circle())
    assert reasons[-1] is not None
    assert set(reasons[:-1]) == {None}
