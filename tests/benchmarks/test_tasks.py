"""Each repair task is what it claims to be: its bug fails its tests, the reference repair passes them."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.repair.judge import judge
from benchmarks.repair.tasks import Task, humanevalfix_tasks, own_tasks

ROOT = Path(__file__).parent.parent.parent
TASKS = own_tasks()

# One process judges all sources in turn, each test under an alarm: 70 starts of pytest would take a minute.
RUNNER = """
import json, signal, sys, types
import pytest

class Hung(BaseException):
    pass

def alarm(*_):
    raise Hung

def parameters(test):
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            return [{mark.args[0]: value} for value in mark.args[1]]
    return [{}]

def failures(name, source, test):
    module = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
    sys.modules[name] = module
    space = {}
    exec(compile(test, "test_" + name, "exec"), space)
    failed, ran = [], 0
    for key in [key for key in space if key.startswith("test_")]:
        for arguments in parameters(space[key]):
            ran += 1
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            try:
                space[key](**arguments)
            except Hung:
                failed.append("hang")
            except (Exception, pytest.fail.Exception) as error:
                failed.append(type(error).__name__)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    return {"ran": ran, "failed": failed}

signal.signal(signal.SIGALRM, alarm)
print(json.dumps([failures(*job) for job in json.load(sys.stdin)]))
"""


def _outcomes(jobs: list[tuple[str, str, str]]) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-c", RUNNER], input=json.dumps(jobs), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def with_bug() -> dict[str, dict[str, object]]:
    outcomes = _outcomes([(t.name, t.source, t.test) for t in TASKS])
    return dict(zip((t.name for t in TASKS), outcomes, strict=True))


@pytest.fixture(scope="module")
def repaired() -> dict[str, dict[str, object]]:
    outcomes = _outcomes([(t.name, t.fixed_source, t.test) for t in TASKS])
    return dict(zip((t.name for t in TASKS), outcomes, strict=True))


def test_there_are_enough_and_of_many_kinds() -> None:
    assert len(TASKS) >= 24
    assert len({task.kind for task in TASKS}) >= 8
    assert sum(task.hangs for task in TASKS) >= 4


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_bug_fails_and_the_repair_passes(
    task: Task, with_bug: dict[str, dict[str, object]], repaired: dict[str, dict[str, object]]
) -> None:
    failed = with_bug[task.name]["failed"]
    assert failed
    assert isinstance(failed, list)
    assert ("hang" in failed) == task.hangs
    assert repaired[task.name]["failed"] == []
    assert with_bug[task.name]["ran"] == repaired[task.name]["ran"]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_form(task: Task) -> None:
    functions = [node for node in ast.parse(task.source).body if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions] == [task.name]
    assert ast.get_docstring(functions[0])
    assert 4 <= task.test.count("assert ") + task.test.count("pytest.raises") <= 8


def test_the_judge_agrees_with_pytest() -> None:
    task = next(t for t in TASKS if t.name == "merge_sorted")
    before = judge(task, task.source)
    assert not before.passed
    assert "test_interleaved" in before.output
    assert judge(task, task.fixed_source).passed


def test_the_judge_ends_a_hanging_one() -> None:
    task = next(t for t in TASKS if t.name == "gnome_sort")
    verdict = judge(task, task.source, seconds=2)
    assert verdict.timed_out
    assert not verdict.passed


def test_the_judge_uses_the_original_tests_and_limits_memory() -> None:
    task = next(t for t in TASKS if t.name == "merge_sorted")
    assert not judge(task, "merge_sorted = list\n").passed
    assert not judge(task, f"x = bytearray({8 << 30})\n" + task.fixed_source).passed


def test_published_tasks_become_a_module_and_a_test_file(tmp_path: Path) -> None:
    line = {
        "entry_point": "double",
        "declaration": "\ndef double(x):\n",
        "buggy_solution": "    return x + 3\n",
        "bug_type": "value misuse",
        "test": "\n\ndef check(double):\n    assert double(2) == 4\n\ncheck(double)",
    }
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps(line) + "\n")
    (task,) = humanevalfix_tasks(path)
    assert task.source == "def double(x):\n    return x + 3\n"
    verdict = judge(task, task.source)
    assert not verdict.passed
    assert "assert 5 == 4" in verdict.output
    assert judge(task, "def double(x):\n    return 2 * x\n").passed
