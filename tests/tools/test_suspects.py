"""Which sources a repair is shown."""

import pytest

from kimi_tools.imports import imported
from kimi_tools.suspects import is_test, suspects


@pytest.fixture
def make(workspace):
    def write(files):
        for name, text in files.items():
            (workspace / name).parent.mkdir(parents=True, exist_ok=True)
            (workspace / name).write_text(text)
        return workspace

    return write


MANY = {f"pkg/other{n}.py": f"def other{n}(): pass\n" for n in range(20)}


def test_a_file_named_in_the_task_comes_first(make):
    root = make(MANY | {"pkg/a.py": "A = 1\n", "pkg/b.py": "B = 1\n"})
    assert list(suspects(root, ["look at b.py and pkg/a.py"], 9000))[:2] == ["pkg/a.py", "pkg/b.py"]


def test_the_last_frame_of_a_traceback_comes_before_the_first(make):
    root = make(
        MANY
        | {
            "pkg/__init__.py": "",
            "pkg/top.py": "import x\n",
            "pkg/deep.py": "boom()\n",
            "tests/test_top.py": "x\n",
        }
    )
    frames = ("tests/test_top.py", "pkg/top.py", "pkg/deep.py")
    output = "".join(f'  File "{root}/{name}", line 1\n' for name in frames) + "KeyError"
    shown = list(suspects(root, ["fix", output], 9000))
    assert shown == ["pkg/deep.py", "pkg/top.py", "tests/test_top.py"]


def test_modules_that_a_failing_test_imports_are_found(make):
    root = make(
        MANY
        | {
            "src/lib/__init__.py": "",
            "src/lib/calc.py": "from .core import core\n",
            "src/lib/core.py": "def core(): pass\n",
            "tests/test_calc.py": "from lib.calc import add\n",
        }
    )
    shown = list(suspects(root, ["fix", "FAILED tests/test_calc.py::test_add - assert"], 9000))
    assert shown == ["src/lib/calc.py", "src/lib/core.py", "tests/test_calc.py"]


def test_a_small_repository_is_shown_whole_without_its_tests(make):
    root = make({"a.py": "A\n", "b.py": "B\n", "test_a.py": "T\n", "README.md": "x"})
    assert list(suspects(root, ["fix it"], 9000)) == ["a.py", "b.py"]


def test_a_file_over_budget_is_cut_to_what_the_hints_name(make):
    body = "".join(f"def f{n}(x):\n    return x + {n}\n\n\n" for n in range(200))
    root = make({"big.py": f"class K:\n    def method(self):\n        return 1\n\n\n{body}"})
    shown = suspects(root, ["fix f17 in big.py", "f3() method"], 400)
    assert shown["big.py"].split("\n\n") == [
        "class K:\n    def method(self):\n        return 1",
        "def f3(x):\n    return x + 3",
        "def f17(x):\n    return x + 17",
    ]


def test_the_budget_holds(make):
    root = make({f"m{n}.py": "x = 1\n" * 100 for n in range(6)})
    shown = suspects(root, ["fix"], 1500)
    assert sum(map(len, shown.values())) <= 1500
    assert len(shown) == 2


def test_other_languages_are_cut_as_well(make):
    body = "\n".join(f"export function f{n}(x) {{\n  return {n};\n}}" for n in range(100))
    root = make({"src/a.js": body})
    assert suspects(root, ["f42 in a.js"], 400) == {"src/a.js": "export function f42(x) {\n  return 42;\n}"}


def test_what_is_no_text_is_passed_over(make):
    root = make({"a.py": "A\n"})
    (root / "b.py").write_bytes(b"\xff\xfe\x00")
    (root / "broken.py").write_text("def (:\n")
    assert set(suspects(root, ["a.py b.py broken.py"], 9000)) == {"a.py", "broken.py"}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("tests/a.py", True), ("a/test_b.py", True), ("b_test.go", True), ("x.spec.ts", True),
        ("conftest.py", True), ("src/__tests__/a.js", True), ("contest.py", False), ("latest.py", False),
        ("src/attest/a.py", False),
    ],
)  # fmt: skip
def test_what_is_a_test(path, answer):
    assert is_test(path) is answer


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("tests/test_a.py", "import pkg.a", ["pkg/a.py"]),
        ("tests/test_a.py", "from pkg import a, b", ["pkg/a.py", "pkg/b.py"]),
        ("tests/test_a.py", "from pkg import Thing", ["pkg/__init__.py"]),
        ("pkg/a.py", "from . import b", ["pkg/b.py"]),
        ("pkg/sub/c.py", "from ..b import x", ["pkg/b.py"]),
        ("tests/test_a.py", "import os, sys", []),
        ("web/a.test.js", "const x = require('./a');\nimport y from '../lib'", ["web/a.js", "lib/index.ts"]),
        ("web/a.test.ts", "import { x } from './b.js'", ["web/b.ts"]),
        ("go/a_test.go", "package a", ["go/a.go", "go/b.go"]),
        ("a.rb", "require 'x'", []),
        ("broken.py", "import (", []),
    ],
)
def test_imports_are_followed(path, text, found):
    known = {
        "pkg/__init__.py",
        "pkg/a.py",
        "pkg/b.py",
        "pkg/sub/c.py",
        "web/a.js",
        "web/b.ts",
        "lib/index.ts",
        "go/a.go",
        "go/b.go",
    }
    assert imported(path, text, frozenset(known)) == found
