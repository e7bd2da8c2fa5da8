"""The committed completion scripts are the generated ones, and bash's completes for real."""

import subprocess
from pathlib import Path

import pytest
from running import kimi

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_committed_script_is_current(shell: str, workspace: Path) -> None:
    ran = await kimi("completion", shell, cwd=workspace)
    committed = (ROOT / "completions" / f"kimi-code.{shell}").read_text()
    assert ran.stdout == committed, "run: make completions"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["kimi-code", "mod"], "models"),
        (["kimi-code", "run", "--verif"], "--verify"),
        (["kimi-code", "models", "pu"], "pull"),
    ],
)
def test_bash_completes(words: list[str], expected: str) -> None:
    script = (
        f"source {ROOT}/completions/kimi-code.bash; COMP_WORDS=({' '.join(words)}); "
        f"COMP_CWORD={len(words) - 1}; _kimi_code; echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert expected in done.stdout.split()
