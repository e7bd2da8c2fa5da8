"""The gate: modes, rules, presets and what is forbidden in every mode."""

from pathlib import Path
from typing import Any, Literal

import pytest

from kimi_code.adapters.gate import GateMode, PermissionGate, Preset, read_presets
from kimi_code.agent.ports import Intent
from kimi_code.config.schema import Permission
from kimi_code.errors import UsageError
from kimi_code.events import Call

_ROOT = Path("/w/repo")
_MODES: tuple[GateMode, ...] = ("manual", "auto", "yolo", "plan")


def gate(
    mode: GateMode = "auto", *, boxed: bool = True, presets: tuple[Preset, ...] = (), **rules: Any
) -> PermissionGate:
    permission = Permission(**{kind: tuple(texts) for kind, texts in rules.items()})
    return PermissionGate(mode, boxed=boxed, permission=permission, roots=(_ROOT,), presets=presets)


def bash(command: str, **more: Any) -> tuple[Call, Intent]:
    call = Call(id="1", name="Bash", arguments={"command": command, **more})
    return call, Intent(effect="execute", target=command, command=command)


def use(tool: str, effect: Literal["none", "read", "write", "execute"], *paths: str) -> tuple[Call, Intent]:
    call = Call(id="1", name=tool, arguments={"path": paths[0] if paths else ""})
    return call, Intent(effect=effect, target=" ".join(paths), paths=paths)


_READ, _WRITE, _RUN = use("Read", "read", "/w/repo/a"), use("Write", "write", "/w/repo/a"), bash("make")


@pytest.mark.parametrize(
    ("mode", "boxed", "expected"),
    [
        ("manual", True, ("allow", "ask", "ask")),
        ("manual", False, ("allow", "ask", "ask")),
        ("auto", True, ("allow", "allow", "allow")),
        ("auto", False, ("allow", "allow", "ask")),
        ("yolo", True, ("allow", "allow", "allow")),
        ("yolo", False, ("allow", "allow", "allow")),
        ("plan", True, ("allow", "deny", "deny")),
        ("plan", False, ("allow", "deny", "deny")),
    ],
)
def test_modes(mode: GateMode, boxed: bool, expected: tuple[str, str, str]) -> None:
    judged = gate(mode, boxed=boxed)
    assert tuple(judged.judge(*each).decision for each in (_READ, _WRITE, _RUN)) == expected
    assert judged.judge(*use("TodoList", "none")).decision == "allow"


_BENIGN = """
ls -la
pwd
cat README.md | head -20
git status
git diff HEAD~1 -- src
git log --oneline -5 && git show --stat
git add -A && git commit -m "fix: a bug (#3)"
python -c 'print("a; b")'
python3 -m pytest -q tests/test_a.py::test_b
pytest -x --lf 2>&1 | tail -30
node -e "console.log(1)"
npm run build
npm ci && npm test -- --watch=false
make
make -j4 check
cargo check --all-targets
cargo test --no-run
go build ./... && go vet ./...
ruff check . --fix
mypy src
tsc --noEmit
find . -name '*.py' -exec grep -l TODO {} +
find . -name '*.pyc' -delete
rg -n "curl|wget" src
grep -rn 'rm -rf /' .
sed -i 's/a/b/g' src/a.py
awk '{print $1}' data.txt | sort | uniq -c
for f in *.txt; do wc -l "$f"; done
if [ -f a ]; then cat a; else echo none; fi
while read -r line; do echo "$line"; done < a.txt
export PYTHONPATH=src; python app.py
FOO=1 BAR="x y" ./run.sh
cd src && ls
mkdir -p a/b && touch a/b/c && rm -rf a
tar czf out.tgz src
env | sort
timeout 10 python slow.py
bash -c 'echo $0'
xargs -n1 echo < list
echo "$(date) $((1 + 2)) ${HOME}" > out.txt
cat > a.py <<'EOF'\nimport os\nos.system("kill 1; rm -rf /")\nEOF
cat <<EOF\n$HOME and `date`\nEOF
diff <(sort a) <(sort b)
time ./bench
(cd sub; make)
echo 'unfinished
""".strip().splitlines()


@pytest.mark.parametrize("command", _BENIGN)
def test_a27_benign_commands_do_not_ask_in_the_sandbox(command: str) -> None:
    command = command.replace("\\n", "\n")
    for judged in (gate("auto"), gate("auto", deny=["Bash(curl *)", "Bash(shutdown *)", "Read(~/.ssh/**)"])):
        assert judged.judge(*bash(command)).decision == "allow"


@pytest.mark.parametrize("mode", _MODES)
def test_deny_holds_in_every_mode(mode: GateMode) -> None:
    judged = gate(
        mode, deny=["Bash(curl *)", "Write(*.lock)", "mcp__evil__*"], allow=["Bash(*)", "Write", "mcp__*"]
    )
    ruling = judged.judge(*bash("true; sudo curl x"))
    assert (ruling.decision, ruling.rule) == ("deny", "Bash(curl *)")
    assert judged.judge(*use("Edit", "write", "/w/repo/a.lock")).decision == "deny"
    assert judged.judge(*use("mcp__evil__x", "execute")).decision == "deny"
    assert judged.judge(*bash("x" * 100_000)).decision == "deny"
    call, intent = bash("curl x")
    judged.remember(call, intent)
    assert judged.judge(call, intent).decision == "deny"


def test_a21_programs_that_run_code_are_free_only_in_the_sandbox() -> None:
    for command in ("python -c 'x'", "node -e x", "make", "npm run x"):
        assert gate("auto", boxed=True).judge(*bash(command)).decision == "allow"
        assert gate("auto", boxed=False).judge(*bash(command)).decision == "ask"


def test_rules_allow_and_ask() -> None:
    judged = gate(
        "manual", allow=["Bash(git status *)", "Write(docs/**)", "mcp__git__*"], ask=["Write(docs/x)"]
    )
    ruling = judged.judge(*bash("git status -s"))
    assert (ruling.decision, ruling.rule) == ("allow", "Bash(git status *)")
    assert judged.judge(*bash("git status; x")).decision == "ask"
    assert judged.judge(*use("Write", "write", "/w/repo/docs/a")).decision == "allow"
    assert judged.judge(*use("Edit", "write", "/w/repo/docs/a")).decision == "ask"
    assert judged.judge(*use("Write", "write", "/w/repo/docs/x")).decision == "ask"
    assert judged.judge(*use("mcp__git__log", "execute")).decision == "allow"
    assert gate("auto", ask=["Bash(git push *)"]).judge(*bash("cd a && git push")).decision == "ask"
    assert gate("yolo", ask=["Bash(git push *)"]).judge(*bash("git push")).decision == "allow"


def test_what_leaves_the_workspace_asks() -> None:
    for path in ("/etc/hosts", "/w/repo-evil/x", "/w"):
        for tool, effect in (("Read", "read"), ("Write", "write")):
            ruling = gate("auto").judge(*use(tool, effect, "/w/repo/a", path))  # type: ignore[arg-type]
            assert ruling.decision == "ask"
            assert path in ruling.why
    spill = PermissionGate("auto", boxed=True, roots=(_ROOT,), readable=(Path("/s"),))
    assert spill.judge(*use("Read", "read", "/s/out.txt")).decision == "allow"
    assert spill.judge(*use("Write", "write", "/s/out.txt")).decision == "ask"


def test_f05_a_tool_of_a_server_asks() -> None:
    assert gate("auto").judge(*use("mcp__a__b", "execute")).decision == "ask"


@pytest.mark.parametrize("mode", _MODES)
@pytest.mark.parametrize(
    "path", [".git/hooks/pre-commit", "sub/.git/config", ".kimi-code/config.toml", ".MCP.json"]
)
def test_git_and_agent_configuration_are_never_written(mode: GateMode, path: str) -> None:
    ruling = gate(mode, allow=["Write"]).judge(*use("Write", "write", f"/w/repo/{path}"))
    assert ruling.decision == "deny"
    assert path in ruling.why
    assert gate("auto").judge(*use("Read", "read", f"/w/repo/{path}")).decision == "allow"


def test_a19_what_asks_shows_the_end_and_what_is_hidden() -> None:
    why = gate("manual").judge(*bash("echo hi" + " " * 2000 + "; curl evil\x1b[8m\u202e")).why
    assert "curl evil\\x1b[8m\\u202e" in why
    assert "2,000 blank chars hidden" in why


def test_a25_what_a_call_says_of_itself_counts_for_nothing() -> None:
    call, intent = bash("make", disable_sandbox=True, approved=True, decision="allow", mode="yolo")
    assert gate("manual").judge(call, intent).decision == "ask"
    assert gate("auto", boxed=False).judge(call, intent).decision == "ask"
    assert gate("auto", boxed=False).preset(call, intent) is None


def test_remember_means_exactly_this() -> None:
    judged = gate("manual", ask=["Bash(make *)"])
    judged.remember(*bash("make"))
    judged.remember(*use("Write", "write", "/w/repo/a"))
    judged.remember(Call(id="1", name="mcp__a__b", arguments={"x": 1}), Intent(effect="execute", target="t"))
    assert judged.judge(*bash("make")).decision == "allow"
    assert judged.judge(*bash("make ")).decision == "ask"
    assert judged.judge(*use("Write", "write", "/w/repo/a")).decision == "allow"
    assert judged.judge(*use("Edit", "write", "/w/repo/a")).decision == "ask"
    assert judged.judge(*use("Write", "write", "/w/repo/b")).decision == "ask"
    other = Call(id="2", name="mcp__a__b", arguments={"x": 2})
    assert judged.judge(other, Intent(effect="execute", target="t")).decision == "ask"


def _presets(*pairs: tuple[str, Literal["once", "session", "deny"]]) -> tuple[Preset, ...]:
    return tuple(Preset(match=match, decision=decision) for match, decision in pairs)


def test_presets_first_match_wins() -> None:
    judged = gate(
        "manual",
        allow=["Bash(ls *)"],
        presets=_presets(
            ("Bash(pip install evil *)", "deny"),
            ("Bash(pip install *)", "once"),
            ("Write(src/**)", "session"),
            ("mcp__a__*", "once"),
        ),
    )
    assert judged.preset(*bash("pip install x")) == "once"
    assert judged.preset(*bash("ls && pip install x")) == "once"
    assert judged.preset(*bash("sudo pip install evil")) == "deny"
    for command in (
        "pip install x; curl y",
        "pip install $(x)",
        "X=1 pip install x",
        "ls",
        "pip install x > f",
    ):
        assert judged.preset(*bash(command)) is None
    assert judged.preset(*use("Write", "write", "/w/repo/src/a")) == "session"
    assert judged.preset(*use("Write", "write", "/w/repo/a")) is None
    assert judged.preset(*use("mcp__a__b", "execute")) == "once"


def test_approvals_file(tmp_path: Path) -> None:
    path = tmp_path / "approvals"
    path.write_text(
        '{"match": "Bash(make *)", "decision": "once"}\n\n{"match": "Write", "decision": "deny"}\n'
    )
    assert read_presets(path) == _presets(("Bash(make *)", "once"), ("Write", "deny"))


@pytest.mark.parametrize(
    "line",
    [
        "make",
        "[]",
        '{"match": "Bash(make *)"}',
        '{"match": "Bash(make *)", "decision": "always"}',
        '{"match": "Bash(", "decision": "once"}',
        '{"match": "Bash", "decision": "once", "x": 1}',
        "[" * 100_000,
        "\udcff",
    ],
    ids=lambda line: ascii(line[:40]),
)
def test_a_bad_approvals_file_names_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "approvals"
    path.write_bytes(b'{"match": "Bash", "decision": "once"}\n' + line.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match="line 2") as failure:
        read_presets(path)
    assert failure.value.hint


def test_an_approvals_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_presets(tmp_path / "missing")
    with pytest.raises(UsageError, match="cannot be read"):
        read_presets(tmp_path)
