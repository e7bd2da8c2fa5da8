"""Candidates in throw-away copies, chosen by the tests: a scripted model in a real workspace and sandbox."""

import sys
from pathlib import Path
from typing import Any

from kimi_code.adapters.gate import PermissionGate
from kimi_code.agent.budget import Limits
from kimi_code.agent.engine import Engine, Options, speaks_of_failure
from kimi_code.agent.ports import Sampling
from kimi_code.agent.repair import rounds
from kimi_code.commands import Say, Stop
from kimi_code.config import paths
from kimi_code.config.schema import Permission
from kimi_code.events import CandidateTried, Fact, Result
from kimi_code.session.store import Store
from kimi_code.wiring.engine import Place, build_engine, find_sandbox, repair_wordings
from kimi_testing.model import ScriptedModel
from kimi_testing.script import ScriptedReply
from kimi_testing.workspaces import FIXED_SOURCE, buggy_package

CHECK = f"{sys.executable} -m pytest -q"
WRONG = "```python\ndef clamp(value, low, high):\n    return value\n```"
RIGHT = f"```python\n{FIXED_SOURCE}```"


def _engine(root: Path, answers: list[str], deny: tuple[str, ...] = (), **changes: Any) -> Engine:
    session = Store(paths.sessions_dir()).create()
    place = Place(root=root)
    box, why = find_sandbox(place, session.spill_dir)
    assert why == ""
    fields: dict[str, Any] = {
        "limits": Limits(),
        "sampling": Sampling(),
        "verify": (CHECK,),
        "attempts": lambda _info: 8,
        "repair_system": "You repair.",
        "repair_wordings": repair_wordings(),
    }
    engine, opening = build_engine(
        session,
        place,
        box=box,
        model=ScriptedModel([ScriptedReply(text=text) for text in answers], local=True, billions=1.5),
        model_name="scripted",
        gate=PermissionGate("auto", boxed=True, permission=Permission(deny=deny), roots=(root,)),
        approval="auto",
        options=Options(**{**fields, **changes}),
    )
    for fact in opening:
        session.append(fact)
    return engine


async def _repair(engine: Engine, task: str = "Fix the bug.") -> tuple[Result, list[Fact]]:
    engine.submit(Say(text=task))
    engine.submit(Stop())
    await engine.run()
    facts = [record.event for record in engine.session.log.records if isinstance(record.event, Fact)]
    result = facts[-1]
    assert isinstance(result, Result)
    return result, facts


async def test_the_first_answer_that_verifies_is_written_and_verified_again(workspace: Path) -> None:
    buggy_package(workspace)
    result, facts = await _repair(_engine(workspace, [WRONG, "no code here", RIGHT]))
    tried = [fact for fact in facts if isinstance(fact, CandidateTried)]
    assert [fact.passed for fact in tried] == [False, False, True]
    assert (result.status, result.exit_code) == ("done", 0)
    assert result.verification[0].exit_code == 0
    assert len(result.files_changed) == 1


async def test_answers_that_fail_never_touch_the_workspace(workspace: Path) -> None:
    buggy_package(workspace)
    before = {path: path.read_bytes() for path in workspace.rglob("*.py")}
    result, _ = await _repair(_engine(workspace, [WRONG] * 8))
    assert (result.status, result.exit_code, result.files_changed) == ("failed", 1, [])
    assert {path: path.read_bytes() for path in workspace.rglob("*.py")} == before


async def test_an_answer_that_cannot_be_written_is_not_done(workspace: Path) -> None:
    buggy_package(workspace)
    result, _ = await _repair(_engine(workspace, [RIGHT], deny=("Write(**)",)))
    assert (result.status, result.exit_code, result.files_changed) == ("denied", 5, [])


async def test_the_same_change_is_tried_once(workspace: Path) -> None:
    buggy_package(workspace)
    _, facts = await _repair(_engine(workspace, [WRONG] * 8))
    summaries = [fact.summary for fact in facts if isinstance(fact, CandidateTried)]
    assert sum("tried before" in summary for summary in summaries) == 7


async def test_a_change_that_hangs_is_cut_and_the_next_one_tried(workspace: Path) -> None:
    buggy_package(workspace)
    hanging = "```python\ndef clamp(value, low, high):\n    while True:\n        pass\n```"
    result, facts = await _repair(_engine(workspace, [hanging, RIGHT]))
    assert result.exit_code == 0
    first = next(fact for fact in facts if isinstance(fact, CandidateTried))
    assert "did not end" in first.summary


async def test_a_step_budget_counts_each_answer(workspace: Path) -> None:
    buggy_package(workspace)
    result, facts = await _repair(_engine(workspace, [WRONG] * 8, limits=Limits(steps=3)))
    assert (result.status, result.exit_code, result.steps) == ("budget", 4, 3)
    assert sum(isinstance(fact, CandidateTried) for fact in facts) == 3


async def test_nothing_fails_so_the_model_is_simply_asked(workspace: Path) -> None:
    buggy_package(workspace)
    engine = _engine(workspace, ["All is well."], verify=("true",))
    result, facts = await _repair(engine, "Are there bugs?")
    assert (result.exit_code, result.result) == (0, "All is well.")
    assert not any(isinstance(fact, CandidateTried) for fact in facts)


def test_rounds_add_up_to_the_attempts_and_begin_greedily() -> None:
    plan = rounds(70, 3)
    assert (plan[0].count, plan[0].temperature) == (1, 0.0)
    assert sum(each.count for each in plan) == 70
    assert all(each.count <= 32 for each in plan)
    assert {each.wording for each in plan} == {0, 1, 2}
    assert sum(each.count for each in rounds(2, 3)) == 2


def test_greetings_do_not_run_the_tests() -> None:
    assert speaks_of_failure("The tests of calc fail. Fix it.")
    assert not speaks_of_failure("say hi")
    assert not speaks_of_failure("What does this repository do?")
