"""The disk fills up or fails, the process is killed: what was acknowledged stays, and it goes on after."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kimi_code.events import UserMessage
from kimi_code.session.log import SessionLog
from kimi_code.session.scan import scan_bytes

# Appends until that fails; then makes room and appends once more. Prints the acknowledged texts.
_FILL = """\
import os, sys
from pathlib import Path
from kimi_code.errors import StorageFailure
from kimi_code.events import UserMessage
from kimi_code.session.log import SessionLog
{before}
path = Path(sys.argv[1])
log = SessionLog.create(path, session="s")
told = []
log.listen(told.append)
number = failures = 0
while failures < 3 and number < 2000:
    try:
        log.append(UserMessage(text=f"{{number}} " + "x" * 700))
        print(number)
    except StorageFailure as error:
        failures += 1
        lines = path.read_bytes().split(b"\\n")
        assert lines[-1] == b"" and len(lines) - 1 == len(told) == len(log.records), "not restored"
        assert "cannot be used" in error.message and "Make room" in error.hint
    number += 1
assert failures == 3, "it never failed"
{after}
log.append(UserMessage(text="after"))
log.sync()
print("after")
log.close()
"""


def _fill(
    path: Path, *, before: str = "", after: str = "", prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    program = _FILL.format(before=before, after=after)
    return subprocess.run(
        [*prefix, sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _expect(ran: subprocess.CompletedProcess[str], data: bytes) -> None:
    assert ran.returncode == 0, ran.stderr
    found = scan_bytes(data)
    texts = [
        record.event.text.split()[0] for record in found.records if isinstance(record.event, UserMessage)
    ]
    assert texts == ran.stdout.split()
    assert texts[-1] == "after"
    assert (found.problems(), found.torn_bytes) == ([], 0)


def test_m06_a_limit_on_the_file_is_hit_in_the_middle_of_a_line(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({}, -1))"
    ran = _fill(tmp_path / "main.jsonl", before=limit.format(10_001), after=limit.format(-1))
    _expect(ran, (tmp_path / "main.jsonl").read_bytes())


def _own_mount(command: str) -> tuple[str, ...]:
    return ("unshare", "--mount", "--", "sh", "-ec", command, "sh")


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    ran = subprocess.run(_own_mount("mount -t tmpfs none /mnt"), capture_output=True, check=False)
    return ran.returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="needs the right to mount a file system")
def test_m06_a_full_file_system_then_room_again(tmp_path: Path) -> None:
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    path = disk / "main.jsonl"
    mount = f'mount -t tmpfs -o size=64k none {disk}; "$@"; cp {path} {kept}'
    ran = _fill(
        path,
        before=f"Path({str(disk)!r}, 'ballast').write_bytes(bytes(20_000))",
        after=f"os.unlink({str(disk / 'ballast')!r})",
        prefix=_own_mount(mount),
    )
    _expect(ran, kept.read_bytes())


@pytest.fixture
def traced() -> None:
    """Missing strace is a failure, not a reason to skip."""
    assert shutil.which("strace") is not None, "strace is not installed"


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EDQUOT"])
def test_m06_the_nth_write_fails(tmp_path: Path, error: str) -> None:
    trace = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64")
    inject = ("-e", f"inject=pwrite64:error={error}:when=5+3")
    # From the fifth write on every third fails: the one after the last failure must not.
    ran = _fill(tmp_path / "main.jsonl", prefix=(*trace, *inject))
    _expect(ran, (tmp_path / "main.jsonl").read_bytes())


# The second sync fails, and what the kernel held of the log is overwritten, as if it had been dropped.
_SYNC = """\
import sys
from pathlib import Path
from kimi_code.errors import StorageFailure
from kimi_code.events import UserMessage
from kimi_code.session.log import SessionLog
path = Path(sys.argv[1])
log = SessionLog.create(path, session="s")
log.append(UserMessage(text="a"))
log.sync()
safe = path.stat().st_size
log.append(UserMessage(text="b"))
log.append(UserMessage(text="c"))
try:
    log.sync()
except StorageFailure:
    with path.open("r+b") as file:
        file.seek(safe)
        file.write(bytes(path.stat().st_size - safe))
    log.append(UserMessage(text="d"))
    log.sync()
    print("failed, then synced")
"""


@pytest.mark.usefixtures("traced")
def test_a_sync_that_failed_is_made_good_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "main.jsonl"
    trace = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync")
    inject = ("-e", "inject=fdatasync:error=EIO:when=2")
    ran = subprocess.run(
        [*trace, *inject, sys.executable, "-c", _SYNC, path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "failed, then synced\n"), ran.stderr
    found = scan_bytes(path.read_bytes())
    assert [r.event.text for r in found.records if isinstance(r.event, UserMessage)] == ["a", "b", "c", "d"]


# Appends for ever; says so of each record once it is acknowledged.
_ENDLESS = """\
import os, sys
from pathlib import Path
from kimi_code.events import UserMessage
from kimi_code.session.log import SessionLog
path = Path(sys.argv[1])
log = SessionLog.open(path) if path.exists() else SessionLog.create(path, session="s")
while True:
    seq = log.append(UserMessage(text="y" * (len(log.records) * 37 % 3000))).seq
    os.write(1, b"%d\\n" % seq)
"""


def test_m01_killed_again_and_again_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "main.jsonl"
    acknowledged = -1
    for number in range(12):
        process = subprocess.Popen([sys.executable, "-c", _ENDLESS, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(5 + number * 3):
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split(b"\n")
        process.stdout.close()
        process.wait()
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1] if line)])
        found = scan_bytes(path.read_bytes())
        assert found.problems() == []
        assert len(found.records) > acknowledged
    log = SessionLog.open(path)
    assert [record.seq for record in log.records] == list(range(len(log.records)))
    log.close()


@pytest.mark.long
def test_m01_a_thousand_kills(tmp_path: Path) -> None:
    for number in range(84):
        (folder := tmp_path / str(number)).mkdir()
        test_m01_killed_again_and_again_nothing_acknowledged_is_lost(folder)


def test_a_tail_that_cannot_be_set_aside_is_not_cut_off(tmp_path: Path) -> None:
    """The file limit lets nothing be written: opening fails, and every byte is still there."""
    path = tmp_path / "main.jsonl"
    log = SessionLog.create(path, session="s")
    log.append(UserMessage(text="a"))
    log.close()
    with path.open("ab") as file:
        file.write(b"torn" * 100)
    before = path.read_bytes()
    program = (
        "import resource, sys; from pathlib import Path; from kimi_code.session.log import SessionLog\n"
        "from kimi_code.errors import StorageFailure\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, -1))\n"
        "try: SessionLog.open(Path(sys.argv[1]))\n"
        "except StorageFailure as error: print(error.message)"
    )
    ran = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert "File too large" in ran.stdout, ran.stderr
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["main.jsonl"]
