"""What never matches an allow rule with a wildcard, whatever the rule says: it runs or writes something else.

The tables are of what is known, and cannot be complete: the sandbox is the boundary.
"""

import re
import unicodedata
from collections.abc import Sequence

from kimi_code.config.script import Word
from kimi_code.config.wrappers import WRAPPERS

_BUILTINS = frozenset({
    ".", "source", "export", "declare", "typeset", "local", "readonly", "alias", "unalias", "set", "shopt",
    "enable", "hash", "unset", "bind", "complete", "compgen", "fc", "history", "let", "mapfile", "readarray",
    "read", "getopts", "eval", "exec", "builtin", "command", "trap", "coproc", "[", "[[", "((",
    "if", "then", "else", "elif", "fi", "do", "done", "while", "until", "for", "case", "esac", "select",
    "function", "{", "}", "!", "in",
})  # fmt: skip
# Long options (abbreviations of them count), and letters of short ones.
_RISKY: dict[str, tuple[tuple[str, ...], str]] = {
    "rg": (("--pre", "--hostname-bin", "--search-zip"), "z"),
    "fd": (("--exec", "--exec-batch"), "xX"),
    "fdfind": (("--exec", "--exec-batch"), "xX"),
    "sort": (("--output", "--compress-program"), "o"),
    "tree": (("--output",), "o"),
    "sed": (("--in-place", "--file"), "if"),
    "tar": (
        ("--to-command", "--checkpoint-action", "--use-compress-program", "--rsh-command", "--info-script",
         "--new-volume-script"),
        "IF",
    ),
    "npm": (("--prefix", "--script-shell", "--node-options", "--userconfig", "--globalconfig"), "C"),
    "pnpm": (("--dir", "--script-shell", "--node-options"), "C"),
    "yarn": (("--cwd", "--script-shell", "--use-yarnrc"), ""),
    "cargo": (("--config", "--manifest-path"), "CZ"),
    "make": (("--eval", "--file", "--makefile", "--directory"), "fCE"),
    "man": (("--pager", "--html", "--config-file"), "PHC"),
    "bat": (("--pager",), ""),
    "date": (("--set",), "s"),
    "file": (("--compile",), "C"),
    "rsync": (("--rsh", "--rsync-path"), "eM"),
    "scp": ((), "SoF"),
    "zip": (("--unzip-command",), "T"),
    "printf": ((), "v"),
    "test": ((), "v"),
}  # fmt: skip
_SINGLE_DASH: dict[str, tuple[str, ...]] = {
    "find": ("-exec", "-ok", "-delete", "-fls", "-fprint"),
    "go": ("-exec", "--exec", "-toolexec", "--toolexec", "-vettool", "--vettool", "-C", "-o"),
}
_GIT_GLOBAL = frozenset({"--no-pager", "-P", "--version", "-v", "--help", "-h", "--no-optional-locks"})
_GIT_LONG = (
    "--ext-diff", "--output", "--output-directory", "--textconv", "--upload-pack", "--receive-pack", "--exec",
    "--open-files-in-pager", "--config", "--template", "--extcmd", "--separate-git-dir",
)  # fmt: skip
_GIT_SHORT = {"grep": "O", "rebase": "x", "clone": "uc", "difftool": "x", "archive": "o", "format-patch": "o"}
_GIT_RUNS = frozenset({("bisect", "run"), ("submodule", "foreach")})
_GIT_HARMLESS = frozenset({"--text", "--exec-path"})
_ASCII = re.compile(r"[\t\n\x20-\x7e]*")


def has_strange_characters(text: str) -> bool:
    """Control characters, and those that look like a space or like nothing."""
    if _ASCII.fullmatch(text):
        return False
    return any(character not in "\t\n " and unicodedata.category(character)[0] in "CZ" for character in text)


def why_never(words: Sequence[Word]) -> str:
    """Why a literal command cannot match an allow rule with a wildcard; empty where it can."""
    name = words[0].text
    if "/" in name:
        return f"{name} is a path, not the name of a program"
    if name in _BUILTINS or name in WRAPPERS:
        return f"{name} runs other commands or changes what they mean"
    if words[0].glob or any(word.brace for word in words):
        return "the shell makes other words of it"
    risky = _risky(name, [word.text for word in words[1:]])
    if risky:
        return f"{name} {risky} can run or write something else"
    if any(word.leading for word in words[1:]) and (name in _RISKY or name in _SINGLE_DASH or name == "git"):
        return f"a file's name can become an option of {name}; write ./*"
    return ""


def _risky(name: str, rest: Sequence[str]) -> str:
    """The word that makes it risky, else nothing."""
    if name == "git":
        return _risky_git(rest)
    if name in _SINGLE_DASH:
        return next((word for word in rest if word.startswith(_SINGLE_DASH[name])), "")
    long, short = _RISKY.get(name, ((), ""))
    return next((word for word in rest if _is_option(word, long, short)), "")


def _risky_git(rest: Sequence[str]) -> str:
    at = next((index for index, word in enumerate(rest) if not word.startswith("-")), len(rest))
    for word in rest[:at]:
        if word not in _GIT_GLOBAL:
            return word
    command, options = " ".join(rest[at : at + 1]), rest[at + 1 :]
    if command == "filter-branch" or (command, " ".join(options[:1])) in _GIT_RUNS:
        return command
    short = _GIT_SHORT.get(command, "")
    for word in options:
        if word.startswith("ext::") or (word not in _GIT_HARMLESS and _is_option(word, _GIT_LONG, short)):
            return word
    return ""


def _is_option(word: str, long: Sequence[str], short: str) -> bool:
    if word.startswith("--"):
        head = word.partition("=")[0]
        return len(head) > 2 and any(option.startswith(head) for option in long)
    return word.startswith("-") and any(letter in short for letter in word[1:])
