"""Names of failing tests, and the cut of their output, for the runners people use."""

import subprocess
import sys

import pytest

from kimi_tools.failures import conclusion, failing_tests, summarise

UNITTEST = """FE
======================================================================
ERROR: test_a (tests.test_m.TestU.test_a)
----------------------------------------------------------------------
FAIL: test_b (tests.test_m.TestU)
----------------------------------------------------------------------
FAILED (failures=1, errors=1)
"""
CARGO = """running 3 tests
test tests::adds ... FAILED
test tests::ok ... ok
test slow::waits ... FAILED

failures:
"""
GO = """--- FAIL: TestAdd (0.00s)
    --- FAIL: TestAdd/negative (0.00s)
        add_test.go:12: got 1
FAIL
"""
TAP = """TAP version 13
not ok 1 - adds
ok 2 - ok
    not ok 3 - inner # time=3ms
"""
SPEC = "✔ ok (0.3ms)\n✖ adds two (1.25ms)\n  AssertionError\n"
JEST = "  ● Calc › adds\n\n    expect(received)\n  ● Calc › subtracts\n"


@pytest.mark.parametrize(
    ("output", "names"),
    [
        (UNITTEST, ("tests.test_m.TestU.test_a", "tests.test_m.TestU.test_b")),
        (CARGO, ("tests::adds", "slow::waits")),
        (GO, ("TestAdd", "TestAdd/negative")),
        (TAP, ("adds", "inner")),
        (SPEC, ("adds two",)),
        (JEST, ("Calc › adds", "Calc › subtracts")),
        (
            "FAILED a/test_x.py::test_p[a - b] - assert 1\nERROR a/test_y.py - ImportError",
            ("a/test_x.py::test_p[a", "a/test_y.py"),
        ),
        ("all is well\n", ()),
    ],
)
def test_names_of_failing_tests(output, names):
    assert failing_tests(output) == names


@pytest.fixture
def pytest_output(workspace):
    """What pytest prints about 30 failures of several kinds."""
    lines = ["import pytest", "def deep(n):", "    if n: return deep(n - 1)", "    raise KeyError('bottom')"]
    lines += [
        "@pytest.mark.parametrize('n', range(28))",
        "def test_many(n):",
        "    " + "x = 1\n    " * 30,
        "    assert n == -1",
    ]
    lines += ["def test_deep():", "    deep(12)", "def test_fine(): pass"]
    (workspace / "test_x.py").write_text("\n".join(lines))
    ended = subprocess.run(
        (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        cwd=workspace,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    return ended.stdout


def test_a_long_pytest_report_is_cut_to_what_matters(pytest_output):
    assert len(pytest_output) > 15_000
    names = failing_tests(pytest_output)
    assert len(names) == 29
    assert names[-1] == "test_x.py::test_deep"
    cut = summarise(pytest_output)
    assert len(cut) <= 3_000
    assert "test_many[0]" in cut
    assert "E       assert 0 == -1" in cut
    assert "test_x.py:" in cut
    assert "more: " in cut
    assert "29 failed, 1 passed" in cut
    assert "x = 1" not in cut


def test_a_short_output_is_kept_whole():
    assert summarise("make: *** [test] Error 2\n") == "make: *** [test] Error 2"


def test_another_tools_output_shows_where_trouble_begins_and_the_end():
    noise = [f"   Compiling crate{n} v1.0" for n in range(300)]
    output = "\n".join(
        [*noise, "error[E0308]: mismatched types", "  --> src/lib.rs:3:5", *noise, "error: could not compile"]
    )
    cut = summarise(output)
    assert len(cut) <= 3_000
    assert "error[E0308]: mismatched types\n  --> src/lib.rs:3:5" in cut
    assert cut.endswith("error: could not compile")


def test_one_endless_line_is_cut():
    assert len(summarise("x" * 1_000_000)) < 400


def test_hostile_output_takes_no_time():
    for output in ("_" * 200_000, "=" * 200_000 + "x", "FAILED " + "a.py::" * 50_000, "● " + "› " * 50_000):
        summarise(output)
        failing_tests(output)


def test_what_passed_is_told_in_a_line():
    assert conclusion("....\n4 passed in 0.1s\n") == "4 passed in 0.1s"
    assert conclusion("a\nb\nc\nd\n") == "b\nc\nd"
