"""Secrets in what came from outside never reach the log; ordinary text stays as it is."""

import json
import subprocess
from pathlib import Path

import pytest

from kimi_code.events import (
    AssistantMessage,
    Call,
    CallFinished,
    CallRequested,
    Evidence,
    Fact,
    Result,
    UserMessage,
    VerifyFinished,
)
from kimi_code.session.redact import REDACTED, redact, redacted
from kimi_code.session.session import Session

# Put together here, so that no scanner takes this file for a leak.
_B64 = "MIIEpAIBAAKCAQEAvR2x7Yl0fKq3mZ8wTn5uJc1bHs9dGe4aPo6rXiLkVQyFtUzW"
PEM = "\n".join(["-----BEGIN RSA PRIVATE " + "KEY-----", *[_B64] * 20, "-----END RSA PRIVATE " + "KEY-----"])
SECRETS = {
    "github": "gh" + "p_" + "a1B2" * 9,
    "github fine": "github_" + "pat_11ABCDEFG0" + "a1B2_" * 12,
    "gitlab": "glp" + "at-a1B2c3D4e5F6g7H8i9J0",
    "aws id": "AKI" + "AIOSFODNN7EXAMPLE",
    "aws key": "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "openai": "s" + "k-proj-a1B2c3D4e5F6g7H8i9J0k1L2",
    "moonshot": "s" + "k-" + "a1B2" * 12,
    "stripe": "sk_" + "live_a1B2c3D4e5F6g7H8",
    "slack": "xox" + "b-123456789012-abcdefABCDEF",
    "google": "AIz" + "aSyA1B2C3D4E5F6G7H8I9J0K1L2M3N4O5P6Q",
    "hugging face": "hf" + "_aBcDeFgHiJkLmNoPqRsTuVwXyZ12345678",
    "jwt": "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "pem": PEM,
}
AROUND = [
    "{}",
    "token: {} .",
    'KEY="{}"',
    "\x1b[32m{}\x1b[0m",
    "\x1b[1;31m{}",
    '{{"content": "line\\n{}"}}',
    "a\n{}\nb",
    "({})",
]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", SECRETS)
def test_i07_a_secret_goes_and_what_stands_around_it_stays(name: str, around: str) -> None:
    secret = SECRETS[name]
    clean = redact(around.format(secret))
    assert clean == around.format(REDACTED)


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://user:hunter22@example.org/x", f"https://{REDACTED}@example.org/x"),
        ("postgres://app:p%40ss@db:5432/x", f"postgres://{REDACTED}@db:5432/x"),
        ("redis://:topsecret@cache", f"redis://{REDACTED}@cache"),
        ("git remote: https://oauth2:tok-123@git.example/r.git (fetch)", None),
    ],
)
def test_i07_the_password_of_a_url_goes(url: str, clean: str | None) -> None:
    assert redact(url) == (clean or f"git remote: https://{REDACTED}@git.example/r.git (fetch)")


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org:8080/a@b",
        "http://localhost:8080/ and mail me@example.org",
        "postgres://{user}:{password}@host",
        "https://$USER:$PASSWORD@host",
        "https://user:<password>@host",
        "class='sk-cube-grid-loading-indicator-wrapper'",
        "desk-a1b2c3d4e5f6g7h8i9j0k1l2m3 task-0000000000000000000000001",
        "eyJ is how base64 of an object begins: eyJhIjoxfQ",
        "AKIA and ghp_ are prefixes; so is sk-",
        'if "-----BEGIN RSA PRIVATE ' + 'KEY-----" in text:\n    raise ValueError(text)',
        "-----BEGIN CERTIFICATE-----\n" + _B64 + "\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\n" + _B64 + "\n-----END PUBLIC KEY-----",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


def test_a_key_that_was_cut_in_the_middle_goes_at_both_ends() -> None:
    lines = PEM.split("\n")
    cut = "\n".join(["before", *lines[:6], "[... 900 characters left out ...]", *lines[12:], "after"])
    clean = redact(cut)
    assert _B64 not in clean
    assert clean == "\n".join(["before", f"{REDACTED}[... 900 characters left out ...]", REDACTED, "after"])


def test_a_key_with_line_numbers_and_in_json_goes() -> None:
    numbered = "\n".join(f"{n:6}\t{line}" for n, line in enumerate(PEM.split("\n"), 1))
    assert _B64 not in redact(numbered)
    assert json.loads(redact(json.dumps({"key": PEM, "next": 1}))) == {"key": REDACTED, "next": 1}


def test_adversarial_text_is_searched_in_linear_time() -> None:
    """A hang guard, no measurement: each of these would take minutes with a pattern that tries everything."""
    for piece in (
        "eyJ",
        "-eyJ",
        "\\neyJ",
        "://a:",
        "-----BEGIN PRIVATE KEY-----",
        "sk-a",
        "github_pat_",
        "AKIA",
    ):
        redact(piece * (1_000_000 // len(piece)))


def test_i07_what_is_on_disk_is_clean_and_still_json(session: Session) -> None:
    leak = "\n".join(SECRETS.values())
    facts: list[Fact] = [
        CallFinished(
            id="c",
            name="Bash",
            status="ok",
            content=leak,
            details={"out": [leak, {"deep": leak, SECRETS["github"]: 1}], "code": 0},
        ),
        VerifyFinished(command="make", exit_code=1, summary=leak),
        UserMessage(text=leak, origin="verify"),
        Result(
            status="failed",
            result="",
            session_id="s",
            exit_code=1,
            verification=[Evidence(command="make", exit_code=1, summary=leak)],
        ),
    ]
    told = [session.append(fact).event for fact in facts]
    text = session.log.path.read_text()
    for name, secret in SECRETS.items():
        assert secret not in text, name
        assert json.dumps(secret)[1:-1] not in text, name
        assert secret not in str(told), name
    assert [json.loads(line)["seq"] for line in text.splitlines()] == [0, 1, 2, 3]
    assert text.count(REDACTED) >= 4 * len(SECRETS)


def test_a_persons_words_and_the_models_stay_as_they_were(session: Session) -> None:
    token = SECRETS["github"]
    call = Call(id="c", name="Bash", arguments={"command": f"curl -H {token}"})
    facts: list[Fact] = [
        UserMessage(text=f"use {token}"),
        AssistantMessage(text=f"I use {token}", calls=[call]),
        CallRequested(id="c", name="Bash", arguments=call.arguments),
    ]
    assert [session.append(fact).event for fact in facts] == facts


def test_a_clean_fact_is_the_same_object() -> None:
    fact = CallFinished(id="c", name="Bash", status="ok", content="fine", details={"a": ["b"]})
    assert redacted(fact) is fact


def test_i07_a_key_that_openssh_made(tmp_path: Path) -> None:
    key = tmp_path / "key"
    try:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    except FileNotFoundError:
        pytest.fail("ssh-keygen is not installed")
    assert redact(f"$ cat key\n{key.read_text()}$ ls") == f"$ cat key\n{REDACTED}\n$ ls"
