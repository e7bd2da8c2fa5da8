"""One-shot prompting: what is asked, which answers count, and when it stops."""

import time

from benchmarks.repair.oneshot import prompt_for, run_one_shot
from benchmarks.repair.tasks import Task, own_tasks

TASK: Task = next(task for task in own_tasks() if task.name == "best_loot")
RIGHT = f"Here it is:\n\n```python\n{TASK.fixed_source}```\nIt was a wrong variable.\n"
WRONG = "```python\ndef best_loot(values):\n    return sum(values)\n```\n"
PROSE = "I cannot see a bug."


class Answers:
    """Gives its answers in turn, the last one for ever, each after a while."""

    def __init__(self, *answers: str, seconds: float = 0.0) -> None:
        self.answers = list(answers)
        self.seconds = seconds
        self.asked: list[tuple[str, float, int]] = []

    def ask(self, prompt: str, *, temperature: float, seed: int) -> tuple[str, int, int]:
        time.sleep(self.seconds)
        self.asked.append((prompt, temperature, seed))
        return self.answers[min(len(self.asked), len(self.answers)) - 1], 300, 80


def test_the_prompt_shows_the_source_and_what_fails() -> None:
    prompt = prompt_for(TASK)
    assert TASK.source.rstrip() in prompt
    assert "test_alternate" in prompt
    assert "assert 10 == 4" in prompt or "E       assert" in prompt
    assert "fix" not in TASK.source


def test_the_first_answer_is_greedy_and_always_counts() -> None:
    model = Answers(RIGHT)
    row = run_one_shot(TASK, model, seconds=0, most=16)
    assert (row.first, row.samples, row.passed) == (True, 1, 1)
    assert (row.prompt_tokens, row.completion_tokens) == (300, 80)
    assert [(temperature, seed) for _, temperature, seed in model.asked] == [(0.0, 0)]


def test_further_answers_are_sampled_with_seeds_of_their_own() -> None:
    model = Answers(WRONG, RIGHT, PROSE, RIGHT)
    row = run_one_shot(TASK, model, seconds=60, most=4)
    assert (row.first, row.samples, row.passed) == (False, 4, 2)
    assert row.expected == 0.5
    assert [(temperature, seed) for _, temperature, seed in model.asked] == [
        (0, 0),
        (0.7, 1),
        (0.7, 2),
        (0.7, 3),
    ]


def test_it_stops_when_the_time_is_up() -> None:
    row = run_one_shot(TASK, Answers(WRONG, seconds=0.05), seconds=0.12, most=1000)
    assert 1 <= row.samples <= 3
    assert row.passed == 0
