"""The main job, for real: the embedded model repairs the bundled repository (about a minute)."""

import os
from pathlib import Path

import pytest
from running import ended, start

from kimi_runtime import catalogue, store

pytestmark = pytest.mark.model

# Before any test is given a home of its own.
_HOME = Path(os.environ.get("KIMI_LOCAL_HOME") or Path.home() / ".local/share/kimi-code-local")


async def test_the_demo_repairs_its_repository_and_proves_it(workspace: Path) -> None:
    """You should see the diff of what was changed and the verification that passed.

    Which repair the model finds differs from processor to processor: none of its words are asserted.
    """
    model = os.environ.get("KIMI_TEST_MODEL") or store.resolve(catalogue.DEFAULT, _HOME / "models")
    assert model is not None, "the default model is not here: kimi-code models pull"
    # The worker would stay for a quarter of an hour, for a person who goes on.
    home = Path(os.environ["KIMI_LOCAL_HOME"])
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "config.toml").write_text("[runtime]\nidle = 2\n")
    ran = await ended(await start("demo", "-m", str(model), cwd=workspace), seconds=900)
    assert ran.exit_code == 0, ran.stderr
    assert "Repaired ledger/" in ran.stdout
    shown = ran.stderr.splitlines()
    assert any(line.startswith("+++") and "ledger/" in line for line in shown), ran.stderr
    assert any(line.startswith("+    ") for line in shown), ran.stderr
    assert "Repaired and verified." in ran.stderr
