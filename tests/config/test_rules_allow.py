"""What an allow rule lets through, and what never: cases A01 to A13 and their classes."""

from pathlib import Path

import pytest

from kimi_code.config.rules import RuleBook
from kimi_code.config.schema import Permission

_ALLOWED = ("git status", "git log", "git diff", "ls", "cat", "echo", "rg", "find", "npm test")


def judge(command: str, *rules: str) -> str:
    allow = rules or tuple(f"Bash({words} *)" for words in _ALLOWED)
    return RuleBook(Permission(allow=allow), Path("/w/repo")).judge_command(command).decision


@pytest.mark.parametrize(
    "command",
    [
        "ls",
        "ls -la src",
        "ls *",
        "ls ~/x",
        "git status && git log --oneline -5 | cat",
        "git status; git diff\nls",
        "echo 'a && b' \"c; d\" e\\;f",
        "echo café",
        "cat README.md 2>/dev/null",
        "ls missing > /dev/null 2>&1",
        "ls >&2",
        "npm test",
        "npm test -- --watch=false",
        "rg needle src/*.py ./*.md",
        "find . -name '*.py' -type f",
        "# a word on what follows\nls",
        "echo hi # and a comment",
        "ls &",
        "git log \\\n  --oneline",
    ],
)
def test_honest_commands_are_allowed(command: str) -> None:
    assert judge(command) == "allow"


@pytest.mark.parametrize("joint", [" && ", "; ", " || ", " | ", " & ", "\n", " |& ", ";\n", "&&\n"])
def test_a01_every_part_must_be_allowed(joint: str) -> None:
    assert judge(f"echo hi{joint}touch x") == "ask"
    assert judge(f"touch x{joint}echo hi") == "ask"
    assert judge(f"echo hi{joint}ls") == "allow"


@pytest.mark.parametrize(
    "command", ["git logout", "git log-evil", "gitlog", "git  lo g", "lsx", "ls-x", "xls"]
)
def test_a03_words_are_compared_whole(command: str) -> None:
    assert judge(command) == "ask"


@pytest.mark.parametrize(
    "command",
    [
        "echo $(touch x)",
        "echo `touch x`",
        "cat <(touch x)",
        "echo hi >(touch x)",
        'echo "a $(touch x) b"',
        'echo "a `touch x` b"',
        "cat <<END\n$(touch x)\nEND",
        "cat <<'END'\ndata\nEND",
        "cat <<< data",
        "echo $((a[$(touch x)]))",
        "echo ${x:-$(touch x)}",
        "echo ${x@P}",
        "echo $HOME",
        "echo $'a\\x41'",
        "(ls)",
        "{ ls; }",
        "! ls",
        "if ls; then ls; fi",
        "for a in b; do ls; done",
        "while ls; do ls; done",
        "case a in a) ls;; esac",
        "ls() { ls; }",
        "function ls { ls; }",
        "ls() { touch x; }; ls",
        "echo 'open",
        'echo "open',
        "echo \\",
        "",
        "  ",
        "# nothing",
    ],
)
def test_a05_substitutions_and_compounds_ask(command: str) -> None:
    assert judge(command) == "ask"


@pytest.mark.parametrize(
    "command",
    [
        *(
            f"find . -{word} x"
            for word in ("exec", "execdir", "ok", "okdir", "fls", "fprint", "fprint0", "fprintf")
        ),
        "find . -delete",
        "find . -name x -o -exec rm {} +",
        "rg --pre ./x y",
        "rg --pre=./x y",
        "rg '--pre' ./x y",
        "rg --hostname-bin=./x y",
        "rg -z y",
        "rg -iz y",
        "rg --search-zip y",
        "rg y *",
        "rg y ?-pre=x",
        "rg {--pre,./x} y",
    ],
)
def test_a07_options_that_run_or_write_ask(command: str) -> None:
    assert judge(command) == "ask"


@pytest.mark.parametrize(
    "command",
    [
        "git -c core.fsmonitor=./x status",
        "git -c core.pager=./x log",
        "git --exec-path=./x status",
        "git -C /evil status",
        "git --git-dir=/evil status",
        "git --work-tree=/evil status",
        "git --config-env=core.pager=X status",
        "git diff --ext-diff",
        "git diff --ext-d",
        "git log -p --textconv",
        "git diff --output=f",
        "git diff --outp=f",
        "git diff --output f",
        "git log *",
    ],
)
def test_a09_git_options_that_run_or_write_ask(command: str) -> None:
    assert judge(command) == "ask"
    assert judge(command, "Bash(git *)") == "ask"


@pytest.mark.parametrize(
    "command",
    [
        "git rebase -x 'make' main",
        "git rebase --exec make main",
        "git grep -O./x y",
        "git clone -c core.fsmonitor=./x a",
        "git clone ext::./x a",
        "git fetch --upload-pack=./x",
        "git bisect run ./x",
        "git submodule foreach ./x",
    ],
)
def test_git_at_large_still_asks_for_what_runs_programs(command: str) -> None:
    assert judge(command, "Bash(git *)") == "ask"


def test_git_at_large_is_allowed_where_it_is_plain() -> None:
    for command in (
        "git status",
        "git --no-pager log --oneline",
        "git commit -m 'a -c b'",
        "git diff --text",
    ):
        assert judge(command, "Bash(git *)") == "allow"


@pytest.mark.parametrize(
    "command",
    [
        "LD_PRELOAD=./x ls",
        "BASH_ENV=./x ls",
        "GIT_SSH_COMMAND=./x git log",
        "PATH=. ls",
        "a[0]=x ls",
        "x+=y ls",
        "x=y",
        "export PATH=.:$PATH",
        "export A=b",
        "declare A=b",
        "typeset -x A=b",
        "alias ls=x",
        "unalias ls",
        "eval ls",
        "source ls",
        ". ls",
        "exec ls",
        "builtin ls",
        "command ls",
        "enable -f ./x y",
        "trap ls EXIT",
        "set -x",
        "hash -p ./x ls",
        "shopt -s x",
        "unset x",
    ],
)
def test_a11_assignments_and_builtins_ask(command: str) -> None:
    assert judge(command) == "ask"
    assert judge(command, "Bash(*)") == "ask"


@pytest.mark.parametrize("command", ["./ls", "/tmp/ls", "bin/ls", "~/ls", "../ls", "'./ls'", "\\./ls"])
def test_a13_a_path_is_not_the_name_of_a_program(command: str) -> None:
    assert judge(command) == "ask"
    assert judge(command, "Bash(*)") == "ask"


@pytest.mark.parametrize(
    "command",
    [
        "env ls",
        "xargs ls",
        "bash -c ls",
        "sh -c ls",
        "sudo ls",
        "timeout 5 ls",
        "nice ls",
        "nohup ls",
        "time ls",
    ],
)
def test_wrappers_never_match_a_wildcard(command: str) -> None:
    assert judge(command, "Bash(*)") == "ask"
    assert judge(command, f"Bash({command.split()[0]} *)") == "ask"


def test_a_rule_without_wildcards_is_what_the_user_wants_exactly() -> None:
    assert judge("./gradlew test", "Bash(./gradlew test)") == "allow"
    assert judge("bash build.sh", "Bash(bash build.sh)") == "allow"
    assert judge("bash build.sh x", "Bash(bash build.sh)") == "ask"
    assert judge("X=1 bash build.sh", "Bash(bash build.sh)") == "ask"


@pytest.mark.parametrize(
    "command", ["echo a > f", "echo a >> f", "cat < f", "echo a >| f", "echo a &> f", "ls 2> f"]
)
def test_redirections_to_files_ask(command: str) -> None:
    assert judge(command) == "ask"


@pytest.mark.parametrize(
    "character",
    [
        "\r",
        "\x00",
        "\x1b",
        "\x08",
        "\x7f",
        "\x85",
        "\xa0",
        "\u2003",
        "\u2028",
        "\u200b",
        "\u202e",
        "\u3000",
        "\ufeff",
    ],
    ids=ascii,
)
def test_characters_that_deceive_ask(character: str) -> None:
    assert judge(f"echo a{character}b") == "ask"


def test_what_only_one_reader_takes_for_a_comment_asks() -> None:
    # tree-sitter ends this at the #; bash goes on to the touch.
    assert judge("echo \\ #a; touch x") == "ask"
    assert judge("echo \\ #a; ls") == "ask"


@pytest.mark.parametrize(
    ("pattern", "command", "expected"),
    [
        ("git status *", "git status", "allow"),
        ("git status *", "git status -s src", "allow"),
        ("git status", "git status -s", "ask"),
        ("npm run test:*", "npm run test:unit", "allow"),
        ("npm run test:*", "npm run test:unit x", "ask"),
        ("npm run *", "npm run", "allow"),
        ("cargo * --locked", "cargo build --locked", "allow"),
        ("cargo * --locked", "cargo build x --locked", "ask"),
        ("git commit -m 'fix: *'", "git commit -m 'fix: a bug'", "allow"),
        ("git commit -m 'fix: *'", "git commit -m 'feat: a bug'", "ask"),
        ("l*", "ls", "allow"),
        ("*", "anything at all", "allow"),
    ],
)
def test_patterns_over_words(pattern: str, command: str, expected: str) -> None:
    assert judge(command, f"Bash({pattern})") == expected


def test_a_rule_for_another_tool_says_nothing_of_commands() -> None:
    assert judge("ls", "Read(**)") == "ask"
    assert judge("ls", "Bash") == "allow"


def test_the_parts_and_the_rules_are_told() -> None:
    book = RuleBook(Permission(allow=("Bash(ls *)", "Bash(cat)")), Path("/w"))
    verdict = book.judge_command("ls -l | cat; ls")
    assert verdict.parts == ("ls -l", "cat", "ls")
    assert verdict.rule == "Bash(ls *), Bash(cat)"
