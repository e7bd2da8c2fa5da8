"""Commands that run other commands: which ones, and where in their words these stand. Knows no rule.

Generous, for what is to be denied: a word that may be an option's value may be the command as well.
"""

import re
from collections.abc import Iterator, Sequence

SHELLS = frozenset(
    {"bash", "sh", "zsh", "dash", "ksh", "mksh", "ash", "rbash", "fish", "csh", "tcsh", "pwsh"}
)
# Short options that take the next word as their value, and how many operands come before the command.
_PREFIXES: dict[str, tuple[str, int]] = {
    "env": ("uC", 0), "genv": ("uC", 0), "sudo": ("CDghpRrtTuU", 0), "doas": ("Cu", 0),
    "xargs": ("EILPadns", 0), "gxargs": ("EILPadns", 0), "parallel": ("jIaNnLPS", 0),
    "nice": ("n", 0), "gnice": ("n", 0), "ionice": ("cnpPu", 0), "chrt": ("TPD", 1), "taskset": ("", 1),
    "timeout": ("ks", 1), "gtimeout": ("ks", 1), "time": ("fo", 0), "watch": ("nq", 0),
    "caffeinate": ("tw", 0),
    "nohup": ("", 0), "setsid": ("", 0), "stdbuf": ("ioe", 0), "unbuffer": ("", 0), "coproc": ("", 1),
    "command": ("", 0), "builtin": ("", 0), "exec": ("a", 0), "busybox": ("", 0), "toybox": ("", 0),
    "chroot": ("", 1), "unshare": ("RSGw", 0), "nsenter": ("tSGrw", 0), "setpriv": ("", 0),
    "flock": ("wE", 1), "prlimit": ("p", 0), "runuser": ("ugGsw", 0), "systemd-run": ("pPtuMH", 0),
    "strace": ("eoOpPsSuUaE", 0), "ltrace": ("eopsuaFnlx", 0), "valgrind": ("", 0), "catchsegv": ("", 0),
    "firejail": ("", 0), "fakeroot": ("", 0), "torsocks": ("", 0), "proxychains": ("f", 0),
    "proxychains4": ("f", 0), "dbus-run-session": ("", 0), "xvfb-run": ("enfps", 0),
}  # fmt: skip
_RUNNERS = frozenset({"uv", "poetry", "pdm", "pipenv", "hatch", "rye", "conda", "mamba", "micromamba"})
_JOINERS = frozenset({"eval", "watch", "parallel", "trap", "ssh", "entr"})
_WITH_SCRIPT = frozenset({"su", "runuser", "script", "flock", "sg", "env", "genv", "watch"})
_SCRIPT_OPTION = r"-c|--command|-S|--split-string"
_ATTACHED = r"(?s)(?:-[cS]|--command=|--split-string=)(.+)"
_FINDERS = frozenset({"find", "gfind", "fd", "fdfind", "bfs"})
_RUNS = frozenset({"-exec", "-execdir", "-ok", "-okdir", "-x", "-X", "--exec", "--exec-batch"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")

WRAPPERS = SHELLS | _PREFIXES.keys() | _JOINERS | _WITH_SCRIPT
LOOKS = WRAPPERS | _FINDERS | _RUNNERS
"""The commands whose words are looked through."""


def inner_starts(name: str, words: Sequence[str], start: int) -> Iterator[int]:
    """Where a command may begin in the words of the command that begins at `start` and is called `name`."""
    if name in _PREFIXES:
        yield from _after_prefix(name, words, start)
    elif name in _FINDERS:
        yield from (index + 1 for index in range(start + 1, len(words) - 1) if words[index] in _RUNS)
    elif name in _RUNNERS:
        yield from (
            index + 1 for index in range(start + 1, min(start + 8, len(words) - 1)) if words[index] == "run"
        )


def _after_prefix(name: str, words: Sequence[str], start: int) -> Iterator[int]:
    if name == "command" and words[start + 1 : start + 2] in (["-v"], ["-V"]):
        return  # it only looks the name up
    valued, operands = _PREFIXES[name]
    doubtful = False
    index = start + 1
    while index < len(words):
        word = words[index]
        if word == "--":
            operands = max(operands, 0)
        elif word.startswith("-") and len(word) > 1:
            if not word.startswith("--") and word[-1] in valued:
                index += 1
            doubtful = word.startswith("--") and "=" not in word
        elif not _ASSIGNMENT.match(word):
            yield index
            if not doubtful and operands == 0:
                return
            operands -= not doubtful
            doubtful = False
        index += 1


def inner_scripts(name: str, words: Sequence[str], start: int) -> Iterator[str]:
    """Texts that the command at `start` gives to a shell."""
    rest = words[start + 1 :]
    if name in SHELLS:
        if any(re.fullmatch(r"[-+][A-Za-z]*c[A-Za-z]*|--command", word) for word in rest):
            yield from (word for word in rest if not word.startswith(("-", "+")))
        yield from (match[1] for word in rest if (match := re.fullmatch(r"--command=(.+)", word, re.DOTALL)))
    if name in _JOINERS:
        operands = [word for word in rest if not word.startswith("-")]
        yield " ".join(operands)
        if name == "ssh":
            yield " ".join(operands[1:])
    if name in _WITH_SCRIPT:
        for index, word in enumerate(rest):
            if re.fullmatch(_SCRIPT_OPTION, word) and index + 1 < len(rest):
                yield rest[index + 1]
            elif match := re.fullmatch(_ATTACHED, word):
                yield match[1]
