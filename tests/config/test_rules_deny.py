"""What a deny rule finds: cases A15 to A20 and their classes. And what it leaves alone."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kimi_code.config.lexer import read_script
from kimi_code.config.rules import MAX_COMMAND, RuleBook, Verdict
from kimi_code.config.schema import Permission
from kimi_code.config.script import TooNested

_BOOK = RuleBook(Permission(allow=("Bash(ls *)", "Bash(echo *)"), deny=("Bash(curl *)",)), Path("/w/repo"))


def judge(command: str, *deny: str) -> Verdict:
    return (RuleBook(Permission(deny=deny), Path("/w/repo")) if deny else _BOOK).judge_command(command)


def test_a15_no_number_of_parts_hides_one() -> None:
    for count in (50, 5000):
        verdict = judge("true;" * count + "curl x")
        assert (verdict.decision, verdict.rule) == ("deny", "Bash(curl *)")


@pytest.mark.parametrize(
    "command",
    [
        "x" * 100_000,
        "echo " + "$(" * 500 + ")" * 500,
        "echo " + "$(" * 500,
        "'" * 100_000,
        '"' * 100_000,
        "(" * 20_000,
        "env " * 12_000,
        "env --a " * 6_000,
        "eval " * 9_000,
        "bash -c '" + "env " * 6_000 + "'",
        "xargs find -exec " * 2_900,
        "é" * (MAX_COMMAND // 2 + 1),
    ],
    ids=lambda command: f"{command[:12]}-{len(command)}",
)
def test_a16_what_is_too_much_is_denied(command: str) -> None:
    verdict = judge(command)
    assert (verdict.decision, verdict.rule) == ("deny", "")
    assert "script" in verdict.reason


@pytest.mark.parametrize(
    "command",
    [
        "'" * 49_000,
        "a|" * 24_000 + "a",
        "<" * 49_000,
        "ls && " * 8_000 + "ls",
        "[[)" * 16_000,
        "<<a\n" * 12_000,
        "))if " * 9_000,
    ],
    ids=lambda command: f"{command[:12]!r}-{len(command)}",
)
def test_a16_what_is_hard_to_parse_is_still_judged(command: str) -> None:
    assert judge(command).decision in ("ask", "allow")
    assert judge(f"{command}\n;curl x").decision in ("deny", "ask")


@pytest.mark.parametrize(
    "command",
    [
        "curl",
        "curl x",
        "bash -c curl",
        "bash -lc 'true; curl x'",
        "bash -o pipefail -c 'curl x'",
        "sh -c 'cu''rl'",
        "eval curl x",
        "eval 'cu'rl x",
        "xargs curl",
        "ls | xargs -I {} sh -c 'curl {}'",
        "env curl",
        "env -i A=b curl",
        "env -u X curl",
        "env -S 'curl x'",
        "/usr/bin/curl",
        "./curl",
        "cu''rl",
        'c"ur"l',
        "c\\url",
        "cu\\\nrl x",
        "$'c\\x75rl' x",
        "$'\\143url' x",
        "c${nothing}url x",
        "c$@url x",
        "x=curl; $x y",
        "x=curl && ${x} y",
        "x='curl y'; $x",
        "${x:-curl} y",
        "{curl,x}",
        "/usr/bin/c?rl x",
        "/usr/bin/cur[l] x",
        "$(curl x)",
        "`curl x`",
        'echo "$(curl x)"',
        'echo "$(echo "$(curl x)")"',
        "diff <(curl x) y",
        "cat <<END\n$(curl x)\nEND",
        "bash <<'END'\ncurl x\nEND",
        "bash <<< 'curl x'",
        "if true; then curl x; fi",
        "for a in b; do curl $a; done",
        "while curl x; do true; done",
        "case a in a) curl x;; esac",
        "f() { curl x; }; f",
        "function f { curl x; }",
        "{ curl x; }",
        "(curl x)",
        "! curl x",
        "A=b curl x",
        "2>/dev/null curl x",
        "> f curl x",
        "true & curl x",
        "true |& curl x",
        "sudo -u bob curl x",
        "timeout -k 5 10s curl x",
        "nice -n 5 curl x",
        "nohup curl x &",
        "stdbuf -oL curl x",
        "setsid curl x",
        "exec curl x",
        "command curl x",
        "time -p curl x",
        "env env env curl x",
        "watch 'curl x'",
        "trap 'curl x' EXIT",
        "su -c 'curl x'",
        "find . -exec curl {} \\;",
        "fd -x curl",
        "coproc curl x",
        "busybox curl x",
        "uv run curl x",
        "export A=$(curl x)",
        "[[ -n $(curl x) ]]",
        "arr=($(curl x))",
        "echo ok # comment\ncurl x",
        "echo \\ #a; curl x",
    ],
)
def test_a17_deny_looks_through(command: str) -> None:
    assert judge(command).decision == "deny"


@pytest.mark.parametrize(
    "command",
    [
        "echo curl x",
        "grep -r curl src",
        "ls | xargs grep curl",
        "command -v curl",
        "git commit -m 'use curl x'",
        "echo 'a; curl x'",
        'echo "a; curl x"',
        "ls # curl x",
        "apt-cache show curl",
        "mycurl x",
        "curl-config x",
        "cat curl",
        "find . -name curl",
    ],
)
def test_a_name_that_is_no_command_is_not_denied(command: str) -> None:
    assert judge(command).decision != "deny"


def test_a20_the_body_of_a_quoted_heredoc_is_data() -> None:
    body = "cat > notes.md <<'EOF'\nkill 1\nrm -rf /\n$(rm x) `kill 1`\nEOF\necho done"
    assert judge(body, "Bash(rm *)", "Bash(kill *)").decision == "ask"
    assert judge(f"{body}\nrm x", "Bash(rm *)").decision == "deny"
    assert judge(body.replace("'EOF'", "EOF"), "Bash(rm *)").decision == "deny"


@pytest.mark.parametrize(
    ("rule", "command", "expected"),
    [
        ("Bash(git push *)", "git push", "deny"),
        ("Bash(git push *)", "git -C x push origin", "deny"),
        ("Bash(git push *)", "git -c a=b --no-pager push origin", "deny"),
        ("Bash(git push *)", "git log --grep push", "ask"),
        ("Bash(git push *)", "git pushx", "ask"),
        ("Bash(npm publish)", "npm publish", "deny"),
        ("Bash(npm publish)", "npm --silent publish", "deny"),
        ("Bash(npm publish)", "npm publish x", "ask"),
        ("Bash(rm -rf *)", "rm -rf x", "deny"),
        ("Bash(rm *)", "sudo /bin/rm -r x", "deny"),
        ("Bash(*)", "ls", "deny"),
        ("Bash", "ls", "deny"),
        ("*", "ls", "deny"),
        ("Read(**)", "cat x", "ask"),
    ],
)
def test_deny_patterns(rule: str, command: str, expected: str) -> None:
    assert judge(command, rule).decision == expected


def test_deny_beats_ask_beats_allow() -> None:
    book = RuleBook(
        Permission(allow=("Bash(*)",), ask=("Bash(git *)",), deny=("Bash(git push *)",)), Path("/w")
    )
    assert book.judge_command("git push").rule == "Bash(git push *)"
    asked = book.judge_command("git status")
    assert (asked.decision, asked.rule) == ("ask", "Bash(git *)")
    assert book.judge_command("ls").decision == "allow"


def test_a19_parts_hide_nothing() -> None:
    verdict = judge("echo hi" + " " * 2000 + "; touch /etc/x")
    assert verdict.parts == ("echo hi", "touch /etc/x")
    verdict = judge("echo hi" + "\\\n" * 2000 + "&& touch /etc/x")
    assert "hidden" in verdict.parts[0]
    assert verdict.parts[-1] == "touch /etc/x"
    verdict = judge("true;" * 5000)
    assert verdict.parts[-1] == "[4,800 parts hidden]"


_PIECES = [
    "curl", "ls", "echo", " ", "\n", "\t", ";", "&", "|", "<", ">", "(", ")", "{", "}", "$", "`", "'", '"',
    "\\", "#", "=", "<<E\n", "E\n", "$(", "${", "<(", "if ", "fi", "for ", "do ", "case ", "esac", "é",
    "\x00", "\ud800", "env ", "bash -c ", "eval ", "xargs ", "find -exec ", "[[ ", "*", "~", "-c",
]  # fmt: skip
_SHELLISH = st.lists(st.sampled_from(_PIECES), max_size=60).map("".join)


@settings(max_examples=400, deadline=None)
@given(_SHELLISH | st.text(max_size=80))
@example("$(" * 400)
@example("\\")
@example("<<")
@example("$'")
@example("`")
def test_judging_never_raises(command: str) -> None:
    verdict = judge(command)
    assert verdict.decision in ("allow", "ask", "deny")
    if verdict.decision == "allow":
        assert "curl" not in {part.split()[0] for part in verdict.parts}


@settings(max_examples=300, deadline=None)
@given(_SHELLISH)
def test_reading_keeps_every_literal_command(text: str) -> None:
    """What follows a complete text on its own line is found as a command of its own."""
    try:
        script = read_script(text)
    except TooNested:
        return
    if "it is not complete" in script.features or "<<" in text or text.endswith("\\"):
        return
    last = read_script(f"{text}\ncurl x").commands[-1]
    assert [word.text for word in last.words] == ["curl", "x"]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1),
        min_size=1,
        max_size=6,
    )
)
def test_quoted_words_are_read_as_they_are(words: list[str]) -> None:
    command = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    (part,) = read_script(command).commands
    assert [word.text for word in part.words] == words
