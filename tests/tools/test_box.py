"""Attacks on the kernel box. Each is made outside as well, where it must succeed: else it proves nothing."""

import asyncio
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kimi_tools.base import Hands, ToolFailure
from kimi_tools.bash import Bash, BashArguments
from kimi_tools.box import BASH, BoxFailed, Rules, Unboxed
from kimi_tools.bubblewrap import Bubblewrap, bwrap_path, find_box, why_not
from kimi_tools.runner import run

ROOT_USER = os.geteuid() == 0


# ---------------------------------------------------------------- what must not be written


async def test_c01_nothing_outside_the_workspace_is_written(inside, outside, workspace, tmp_path):
    home = Path(os.environ["HOME"])
    sibling = tmp_path / "work-evil"
    sibling.mkdir()
    targets = [home / "x", sibling / "x", Path("/tmp") / f"kimi-probe-{os.getpid()}"]
    for target in targets:
        command = f"mkdir -p {shlex.quote(str(target.parent))}; echo x > {shlex.quote(str(target))}"
        ran = await inside(command)
        assert not target.exists(), target
        assert ran.exit_code != 0 or target.parent == Path("/tmp"), "a private /tmp is there to be written"
        assert outside(command).returncode == 0
        assert target.exists(), target
        target.unlink()


@pytest.mark.parametrize("path", ["/etc/passwd", "/usr/bin/env", "/proc/sys/kernel/hostname"])
async def test_c01_files_of_the_system_cannot_be_opened_for_writing(inside, outside, path):
    command = f"exec 3>>{path}"
    assert (await inside(command)).exit_code != 0
    if ROOT_USER and not path.startswith("/usr/bin"):  # a running program is busy even for root
        assert outside(command).returncode == 0


async def test_c01_the_workspace_itself_can_be_written(inside, workspace):
    ran = await inside("mkdir -p a/b && echo hi > a/b/c && mv a/b/c d && rm -r a && chmod +x d")
    assert ran.exit_code == 0, ran.output
    assert (workspace / "d").read_text() == "hi\n"


GIT_ATTACKS = [
    "echo 'touch canary' > .git/hooks/post-checkout",
    "echo '[core]' >> .git/config",
    "git config core.fsmonitor ./evil",
    "mv .git old && mkdir .git",
    "rm -rf .git/hooks .git && ! test -d .git/hooks",
    "ln -s /etc .git/link",
    "chmod 777 .git/config && test $(stat -c %a .git/config) = 777",
    "git update-ref refs/heads/evil HEAD",
]


@pytest.mark.parametrize("attack", GIT_ATTACKS)
async def test_c02_git_is_read_only(inside, outside, repository, attack):
    before = tree(repository / ".git")
    assert (await inside(attack)).exit_code != 0
    assert tree(repository / ".git") == before
    assert outside(attack).returncode == 0
    assert not (repository / ".git").exists() or tree(repository / ".git") != before


async def test_c02_the_git_directory_of_a_worktree_is_read_only(repository, outside, tmp_path):
    tree_root = tmp_path / "tree"
    assert outside(f"git worktree add -q {tree_root}").returncode == 0
    box = find_box(Rules(root=tree_root, writable=(repository,), state=tmp_path / "state"))
    assert box is not None
    targets = (f"{repository}/.git/config", f"{repository}/.git/worktrees/tree/HEAD", ".git")
    attack = " || ".join(f"echo x >> {target}" for target in targets)
    ran = await run(box.launch((BASH, "-c", attack), cwd=tree_root))
    assert ran.exit_code != 0
    ran = await run(box.launch((BASH, "-c", f"git status && echo x > {repository}/a.txt"), cwd=tree_root))
    assert ran.exit_code == 0, ran.output


@pytest.mark.parametrize("name", [".git", ".kimi-code", ".agents", ".mcp.json"])
async def test_c03_what_configures_agents_cannot_be_created(inside, outside, workspace, name):
    attack = f"mkdir -p {name} && echo x > {name}/config.toml || echo x > {name}"
    assert (await inside(attack)).exit_code != 0
    assert (await inside(f"rmdir {name} || mv {name} y || rm -rf {name} && mkdir {name}/z")).exit_code != 0
    assert list(workspace.iterdir()) == [], "a placeholder was left behind"
    assert outside(attack).returncode == 0
    assert (workspace / name).exists()


async def test_c03_placeholders_outlive_the_first_of_two_commands_and_not_the_second(inside, workspace):
    slow = asyncio.create_task(inside("sleep 1.5; mkdir .kimi-code/x"))
    await asyncio.sleep(0.5)
    await inside("true")
    assert (await slow).exit_code != 0
    assert list(workspace.iterdir()) == []


async def test_c03_placeholders_of_a_killed_program_are_taken_away_by_the_next(
    inside, outside, workspace, rules
):
    script = (
        "import sys, os, signal\nfrom pathlib import Path\n"
        "from kimi_tools.guards import Placeholders\n"
        "p = Placeholders(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "[x.mkdir() for x in p.paths]\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    outside(f"{sys.executable} -c {shlex.quote(script)} {rules.state} {workspace}")
    assert sorted(path.name for path in workspace.iterdir()) == [".agents", ".git", ".kimi-code", ".mcp.json"]
    assert (await inside("mkdir .agents/x")).exit_code != 0
    assert list(workspace.iterdir()) == []


async def test_c03_a_link_that_was_replaced_is_put_back(inside, workspace, tmp_path):
    (tmp_path / "real").mkdir()
    (workspace / ".agents").symlink_to(tmp_path / "real")
    await inside("rm .agents && mkdir .agents && echo evil > .agents/skill")
    assert (workspace / ".agents").readlink() == tmp_path / "real"
    assert list((tmp_path / "real").iterdir()) == []


async def test_an_empty_folder_of_the_user_is_not_taken_for_a_placeholder(inside, workspace):
    (workspace / ".agents").mkdir()
    await inside("true")
    assert (workspace / ".agents").is_dir()


# ---------------------------------------------------------------- network


@pytest.fixture
def listener() -> Iterator[tuple[int, list[str]]]:
    """A port on the loopback, and who connected."""
    server = socket.create_server(("127.0.0.1", 0))
    visits: list[str] = []

    def accept() -> None:
        while True:
            try:
                connection, address = server.accept()
            except OSError:
                return
            visits.append(str(address))
            connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server.getsockname()[1], visits
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


PYTHON_CONNECT = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2)"


@pytest.mark.parametrize("how", ["bash", "python", "git"])
async def test_c07_no_connection_leaves_the_box(inside, outside, listener, how):
    port, visits = listener
    command = {
        "bash": f"exec 3<>/dev/tcp/127.0.0.1/{port}",
        "python": f"{sys.executable} -c {shlex.quote(PYTHON_CONNECT)} {port}",
        "git": f"git ls-remote git://127.0.0.1:{port}/x",
    }[how]
    assert (await inside(command)).exit_code != 0
    assert visits == []
    outside(command)
    assert len(visits) == 1


async def test_c07_a_server_and_its_client_in_one_command_still_work(inside):
    script = (
        "import socket, threading\ns = socket.create_server(('127.0.0.1', 0))\n"
        "c = socket.create_connection(s.getsockname(), 5); s.accept(); print('met')"
    )
    assert (await inside(f"{sys.executable} -c {shlex.quote(script)}")).output.text() == "met\n"


async def test_network_is_there_when_it_was_allowed(inside, listener):
    port, visits = listener
    assert (await inside(f"exec 3<>/dev/tcp/127.0.0.1/{port}", network=True)).exit_code == 0
    assert len(visits) == 1


# ---------------------------------------------------------------- what is not inherited, what may not be done


async def test_c10_secrets_of_the_environment_are_not_inherited(inside, outside, monkeypatch):
    for name in ("AGENT_SECRET", "KIMI_API_KEY", "AWS_SESSION_TOKEN", "BASH_ENV"):
        monkeypatch.setenv(name, "s3cr3t-canary" if name != "BASH_ENV" else "/dev/null")
    monkeypatch.setenv("LC_TIME", "C")
    command = "env; cat /proc/1/environ /proc/self/environ"
    seen = (await inside(command)).output.text()
    assert "s3cr3t-canary" not in seen
    assert "BASH_ENV" not in seen
    assert "s3cr3t-canary" in outside(command).stdout
    for kept in ("PATH=", "HOME=", "LC_TIME=C", "TERM=dumb", "GIT_TERMINAL_PROMPT=0", "PAGER=cat"):
        assert kept in seen


async def test_c12_no_capabilities_no_new_privileges_and_a_filter(inside, outside):
    status = (await inside("cat /proc/self/status")).output.text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {0}
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    if ROOT_USER:
        assert "CapEff:\t0000000000000000" not in outside("cat /proc/self/status").stdout


PROBE = """
import ctypes, errno, fcntl, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    return errno.errorcode.get(ctypes.get_errno(), "?") if libc.syscall(*arguments) < 0 else "ok"
def family(number):
    try:
        socket.socket(number, socket.SOCK_DGRAM if number == 16 else socket.SOCK_STREAM).close()
        return "ok"
    except OSError as failure:
        return errno.errorcode[failure.errno]
def inject():
    try:
        fcntl.ioctl(os.open("/dev/null", os.O_RDWR), 0x5412, b"x")
        return "ok"
    except OSError as failure:
        return errno.errorcode[failure.errno]
print("io_uring", call(425, 0, None))
print("unshare", call(NR_UNSHARE, 0))
print("mount", call(NR_MOUNT, None, None, None, 0, None))
print("netlink", family(16))
print("vsock", family(40))
print("inject", inject())
print("clone3", call(435, None, 0))
"""
NUMBERS = {"x86_64": ("272", "165"), "aarch64": ("97", "40")}


async def test_c12_system_calls_outside_a_builds_needs_are_refused(inside, outside):
    unshare, mount = NUMBERS[os.uname().machine]
    script = PROBE.replace("NR_UNSHARE", unshare).replace("NR_MOUNT", mount)
    command = f"{sys.executable} -c {shlex.quote(script)}"
    refused = dict(line.split() for line in (await inside(command)).output.text().splitlines())
    assert refused == {
        "io_uring": "EPERM",
        "unshare": "EPERM",
        "mount": "EPERM",
        "netlink": "EAFNOSUPPORT",
        "vsock": "EAFNOSUPPORT",
        "inject": "EPERM",
        "clone3": "ENOSYS",
    }
    free = dict(line.split() for line in outside(command).stdout.splitlines())
    assert free["unshare"] == free["netlink"] == "ok"
    assert free["inject"] == "ENOTTY"
    assert free["clone3"] == "EINVAL"
    assert free["mount"] in ("EFAULT", "EINVAL", "EPERM" if not ROOT_USER else "EFAULT")


async def test_c15_nothing_outlives_the_command(inside, outside, processes):
    mark = f"300.{os.getpid()}"
    quiet = "</dev/null >/dev/null 2>&1"
    command = f"sleep {mark} {quiet} & nohup sleep {mark} {quiet} & setsid -f sleep {mark} {quiet}; :"
    ran = await inside(command)
    assert ran.exit_code == 0
    assert "sleep" in ran.left
    assert await gone(processes, mark)
    outside(command)
    left = processes(mark)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert len(left) == 3


async def gone(processes: Callable[[str], list[int]], mark: str) -> bool:
    """Within the second that the contract gives."""
    for _ in range(20):
        if not processes(mark):
            return True
        await asyncio.sleep(0.05)
    return False


async def test_c22_there_is_no_terminal(inside):
    ran = await inside("echo x > /dev/tty")
    assert ran.exit_code != 0
    assert (await inside("test -t 0 || test -t 1 || test -t 2")).exit_code == 1


# ---------------------------------------------------------------- secrets


SECRET_FILES = [
    ".ssh/id_rsa",
    ".aws/credentials",
    ".config/gh/hosts.yml",
    ".netrc",
    ".gnupg/key",
    ".kube/config",
]


async def test_c25_secrets_of_the_home_are_masked(workspace, tmp_path, monkeypatch, outside):
    home = workspace / "home"
    for name in [*SECRET_FILES, ".config/kimi-code-local/config.toml", "plain.txt", "data/log"]:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("canary\n")
    monkeypatch.setenv("HOME", str(home))
    box = find_box(Rules(root=workspace, state=tmp_path / "state", hidden=(home / "data",)))
    assert box is not None
    command = "cat ~/.ssh/* ~/.aws/* ~/.config/*/* ~/.netrc ~/.gnupg/* ~/.kube/* ~/data/*; grep -r canary ~/ "
    seen = (await run(box.launch((BASH, "-c", command), cwd=workspace))).output.text()
    assert "plain.txt:canary" in seen, "the rest of the home can be read"
    assert seen.count("canary") == 1, seen
    for folder in (".ssh", "data", ".config/kimi-code-local"):
        assert (await run(box.launch((BASH, "-c", f"echo x > ~/{folder}/x"), cwd=workspace))).exit_code != 0
    assert outside(command).stdout.count("canary") == 17


async def test_c25_env_files_of_the_workspace_are_masked_and_their_samples_are_not(
    inside, outside, workspace
):
    for name in (".env", ".env.local", ".env.example"):
        (workspace / name).write_text(f"TOKEN=canary-{name}\n")
    seen = (await inside("cat .env .env.local .env.example")).output.text()
    assert seen == "TOKEN=canary-.env.example\n"
    assert "canary-.env\n" in outside("cat .env").stdout
    await inside("echo x > .env; rm .env; mv .env y")
    assert (workspace / ".env").read_text() == "TOKEN=canary-.env\n"


async def test_c25_the_shadow_file_is_masked(inside, outside):
    assert "root:" not in (await inside("cat /etc/shadow")).output.text()
    if ROOT_USER:
        assert "root:" in outside("cat /etc/shadow").stdout


async def test_a_secret_within_a_secret_is_no_trouble(workspace, tmp_path):
    inner = tmp_path / "data" / "sub"
    inner.mkdir(parents=True)
    box = find_box(Rules(root=workspace, state=tmp_path / "state", hidden=(inner, tmp_path / "data", inner)))
    assert box is not None


async def test_a_workspace_in_a_hidden_folder_shows_and_its_surroundings_do_not(tmp_path):
    hidden = tmp_path / "data"
    root = hidden / "demo"
    root.mkdir(parents=True)
    (hidden / "log").write_text("canary")
    box = find_box(Rules(root=root, state=tmp_path / "state", hidden=(hidden,)))
    assert box is not None
    ran = await run(box.launch((BASH, "-c", "touch seen; cat ../log; touch ../x && echo canary"), cwd=root))
    assert (root / "seen").exists()
    assert "canary" not in ran.output.text()


async def test_an_environment_in_tmp_can_be_used_and_its_surroundings_not(inside, tmp_path, monkeypatch):
    tools = tmp_path / "env" / "bin"
    tools.mkdir(parents=True)
    (tmp_path / "env" / "data").write_text("found\n")
    (tmp_path / "other").write_text("canary\n")
    (tools / "tool").write_text(
        f"#!/bin/sh\ncat {tmp_path}/env/data {tmp_path}/other; echo x > {tmp_path}/env/y\n"
    )
    (tools / "tool").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    seen = (await inside("tool")).output.text()
    assert "found" in seen
    assert "canary" not in seen
    assert not (tmp_path / "env" / "y").exists()


async def test_the_start_up_files_of_a_home_that_is_the_workspace_are_read_only(tmp_path, monkeypatch):
    (tmp_path / ".bashrc").write_text("true\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    box = find_box(Rules(root=tmp_path, state=tmp_path / "state"))
    assert box is not None
    ran = await run(box.launch((BASH, "-c", "echo evil >> .bashrc"), cwd=tmp_path))
    assert ran.exit_code != 0
    assert (tmp_path / ".bashrc").read_text() == "true\n"


# ---------------------------------------------------------------- where there is no box


async def test_c20_without_bubblewrap_nothing_runs(rules, workspace, tmp_path):
    box = Bubblewrap(tmp_path / "no-bwrap", rules)
    assert "no-bwrap" in (box.why_not() or "")
    with pytest.raises(BoxFailed):
        await run(box.launch((BASH, "-c", "touch canary"), cwd=workspace))
    hands = Hands(root=workspace, spill=tmp_path / "spill")
    with pytest.raises(ToolFailure, match="not run"):
        await Bash(box).run(hands, BashArguments(command="touch canary"), lambda _: None)
    assert list(workspace.iterdir()) == []
    control = Unboxed(rules).launch((BASH, "-c", "touch canary"), cwd=workspace)
    assert (await run(control)).exit_code == 0
    assert (workspace / "canary").exists()


NESTED = """
import sys
from pathlib import Path
from kimi_tools.box import Rules
from kimi_tools.bubblewrap import find_box, why_not
rules = Rules(root=Path(sys.argv[1]), state=Path("/tmp/state"))
print(find_box(rules) is None, why_not(rules))
"""


async def test_c20_where_the_kernel_allows_no_box_it_says_so(kernel_box, inside, workspace):
    """Inside a box the filter takes user namespaces away: as on a machine without them."""
    ran = await inside(f"{sys.executable} -c {shlex.quote(NESTED)} {workspace}")
    none, reason = ran.output.text().split(" ", 1)
    assert none == "True"
    assert "bwrap" in reason


async def test_c20_a_bwrap_that_only_pretends_is_not_taken_for_a_box(rules, workspace, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\nexit 0\n")
    fake.chmod(0o755)
    box = Bubblewrap(fake, rules)
    assert box.why_not()
    with pytest.raises(BoxFailed):
        await run(box.launch(("/bin/true",), cwd=workspace))


def test_bwrap_is_never_taken_from_the_path(tmp_path, monkeypatch, rules):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\ntouch ran\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = bwrap_path()
    assert found is not None
    assert found != fake
    assert why_not(rules) == ""
    assert not Path("ran").exists()


def test_the_whole_machine_is_no_workspace(tmp_path):
    assert find_box(Rules(root=Path("/"), state=tmp_path)) is None
    assert "whole machine" in why_not(Rules(root=Path("/"), state=tmp_path))


# ---------------------------------------------------------------- honest work, throw-away copies


HONEST = [
    "ls -la", "git status --short", "git diff", "git log --oneline", "find . -name '*.txt'",
    "grep -r one .", "sed -i s/one/two/ a.txt", "python3 --version", "mktemp", "echo x | tee out | wc -l",
    "cp a.txt b.txt && rm b.txt", "sleep 0.05 & wait", "test -r /etc/hostname", "printf '%s' $HOME",
    "echo a > >(cat)", "tar cf t.tar a.txt",
]  # fmt: skip


@pytest.mark.parametrize("command", HONEST)
async def test_honest_work_is_not_refused(inside, repository, command):
    ran = await inside(command)
    assert ran.exit_code == 0, ran.output
    assert ran.left == ()


async def test_process_substitution_is_given_time_to_end(inside):
    ran = await inside("echo late > >(sleep 0.1; cat)")
    assert ran.output.text() == "late\n"


async def test_layers_show_at_the_same_place_and_nothing_stays(kernel_box, workspace, tmp_path):
    assert kernel_box.overlay
    (workspace / "a").write_text("old")
    (workspace / "gone").write_text("x")
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "a").write_text("new")
    os.mknod(layer / "gone", 0o020000, os.makedev(0, 0))
    launch = kernel_box.launch(
        (BASH, "-c", "pwd; cat a; ls; echo x > b; rm a"), cwd=workspace, layers=(layer,), throwaway=True
    )
    ran = await run(launch)
    assert ran.output.text() == f"{workspace}\nnewa\n"
    assert (workspace / "a").read_text() == "old"
    assert sorted(path.name for path in workspace.iterdir()) == ["a", "gone"]


async def test_a_stand_in_takes_the_place_of_the_workspace(kernel_box, workspace, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    launch = kernel_box.launch((BASH, "-c", "pwd; echo x > b"), cwd=workspace, stand_in=copy)
    assert (await run(launch)).output.text() == f"{workspace}\n"
    assert (copy / "b").exists()
    assert list(workspace.iterdir()) == []


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }
