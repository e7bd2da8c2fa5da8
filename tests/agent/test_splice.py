"""Rewritten functions end up in the place of the old ones, and nowhere else."""

from kimi_code.agent.blocks import code_blocks
from kimi_code.agent.candidates import proposed_files
from kimi_code.agent.splice import same_code, splice

SOURCE = '''"""Doc."""
import os


class Box:
    def open(self, x):
        return x + 1

    def close(self):
        return 2


@decorated
def shut(x):
    return x


LIMIT = 3
'''


def test_a_function_is_replaced_and_everything_else_stays() -> None:
    new = splice(SOURCE, "def shut(x):\n    return x * 2\n\nprint(shut(3))\n")
    assert new == SOURCE.replace("    return x\n", "    return x * 2\n")


def test_a_method_written_alone_finds_its_class_and_indentation() -> None:
    new = splice(SOURCE, "def open(self, x):\n    # why\n\n    return x + 2")
    assert new == SOURCE.replace("        return x + 1\n", "        # why\n\n        return x + 2\n")


def test_a_class_with_one_method_replaces_only_that_method() -> None:
    new = splice(SOURCE, "class Box:\n    def close(self):\n        return 3\n")
    assert new == SOURCE.replace("return 2", "return 3")


def test_helpers_and_missing_imports_come_along() -> None:
    new = splice(
        SOURCE, "import math\nimport os\n\ndef half(x):\n    return x / 2\n\ndef shut(x):\n    return half(x)"
    )
    assert new is not None
    assert new.index("import math") < new.index("class Box")
    assert new.count("import os") == 1
    assert new.index("def half") < new.index("def shut")


def test_code_that_defines_nothing_known_is_refused() -> None:
    assert splice(SOURCE, "def other():\n    pass\n") is None
    assert splice(SOURCE, "def shut(x:\n") is None


def test_a_method_name_of_two_classes_is_not_guessed() -> None:
    source = (
        "class A:\n    def f(self):\n        return 1\n\n\nclass B:\n    def f(self):\n        return 2\n"
    )
    assert splice(source, "def f(self):\n    return 3\n") is None


def test_blocks_know_their_language_and_file() -> None:
    text = "In `src/a.py`:\n```python\nx = 1\n```\nand\n~~~\n# b.py\ny = 2\n~~~\nlast\n```js\nlet z"
    blocks = code_blocks(text)
    assert [(b.language, b.path) for b in blocks] == [("python", "src/a.py"), ("", "b.py"), ("js", "")]
    assert blocks[2].code == "let z"


def test_an_answer_that_repeats_the_file_proposes_nothing() -> None:
    assert proposed_files("```python\ndef shut(x):\n    return x  # the same\n```", {"a.py": SOURCE}) == {}


def test_the_file_that_defines_the_function_is_chosen() -> None:
    sources = {"a.py": "def f():\n    return 1\n", "b.py": SOURCE}
    assert list(proposed_files("```python\ndef shut(x):\n    return 7\n```", sources)) == ["b.py"]


def test_two_blocks_for_one_file_are_both_applied() -> None:
    answer = "```python\ndef shut(x):\n    return 7\n```\n```python\ndef open(self, x):\n    return 8\n```"
    new = proposed_files(answer, {"b.py": SOURCE})["b.py"]
    assert "return 7" in new
    assert "return 8" in new


def test_a_file_that_does_not_parse_is_replaced_whole() -> None:
    sources = {"a.py": "def f(:\n"}
    assert proposed_files("```python\ndef f():\n    return 1\n```", sources) == {
        "a.py": "def f():\n    return 1\n"
    }


def test_another_language_replaces_its_only_file() -> None:
    assert proposed_files("```js\nlet a = 2;\n```", {"a.js": "let a = 1;\n"}) == {"a.js": "let a = 2;\n"}


def test_same_code_sees_through_layout() -> None:
    assert same_code("x = 1", "x=1  # one\n")
    assert not same_code("x = 1", "x = 2")
    assert not same_code("x = (", "y = (")
