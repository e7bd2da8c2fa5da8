"""A person whose model is missing is asked; what they answer is done."""

import sys
from pathlib import Path

import pexpect


def test_no_means_no_and_says_how_to_do_it_later(workspace: Path) -> None:
    """You should see the question with the size of the download, then the hint."""
    child = pexpect.spawn(
        sys.executable, ["-m", "kimi_code.cli", "run", "hi"], cwd=str(workspace), encoding="utf-8", timeout=60
    )
    child.expect(r"not on this machine yet\. Fetch it now \(1\.1 GB\)\?")
    child.sendline("n")
    child.expect("kimi-code models pull")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 3
