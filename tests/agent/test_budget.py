"""Q09: budgets end a turn exactly where they say."""

from kimi_code.agent.budget import Budget, Limits
from kimi_code.events import Usage


def test_q09_each_limit_ends_the_turn_for_its_own_reason() -> None:
    now = [0.0]
    budget = Budget(Limits(steps=2, tokens=100, seconds=10), clock=lambda: now[0])
    assert budget.spent() is None
    budget.spend(Usage(prompt=50, completion=10))
    assert budget.spent() is None
    budget.spend(Usage(prompt=1))
    assert (budget.spent() or ("",))[0] == "step_limit"

    budget = Budget(Limits(tokens=100))
    budget.spend(Usage(prompt=90, completion=10))
    assert (budget.spent() or ("",))[0] == "token_limit"

    budget = Budget(Limits(seconds=10), clock=lambda: now[0])
    now[0] = 10.0
    assert (budget.spent() or ("",))[0] == "time_limit"
    assert budget.seconds_left == 0.0
