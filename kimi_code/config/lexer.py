"""Reads a shell command into simple commands, in one pass and without recursion. Knows no rule.

It errs towards finding commands: those in substitutions, subshells, functions and here-documents are
found too, with quotes taken off and expansions left out of the words (`c''url`, `$'c\\x75rl'` and
`c${nothing}url` are `curl`). The body of a here-document with a quoted delimiter is data.
Grammar: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html and bash(1).
"""

import re

import msgspec

from kimi_code.config.script import (
    ASSIGNMENT,
    EXPANSION,
    GROUP,
    HEREDOC,
    MAX_NESTING,
    QUOTING,
    REDIRECTION,
    SUBSTITUTION,
    UNFINISHED,
    Script,
    Simple,
    TooNested,
    Word,
)

_ASSIGNS = re.compile(r"([A-Za-z_]\w*)(?:\[[^\]]*\])?\+?=(.*)", re.DOTALL)
_PLAIN = re.compile(r"[^\s\\'\"$`;&|<>()]+")
_DQ_PLAIN = re.compile(r'[^\\"$`}]+')
_OPERATOR = re.compile(r"&>>|&>|<<<|<<-|<<|<>|<&|>>|>&|>\||<|>")
_NAME = re.compile(r"\{(\w+)\}|([A-Za-z_]\w*)|[@*#?$!\d-]")
_DEFAULT = r"\{\w+:?[-=+]"
_ESCAPE = r"(?s)\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|([0-7]{1,3})|(.))"
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v"}


class _Frame(msgspec.Struct):
    """`closer`: what ends it. `text`: it is inside of a word of the frame of commands below it."""

    closer: str
    start: int = 0
    text: bool = False
    silent: bool = False
    words: list[Word] = []
    word: Word | None = None
    operator: str = ""
    inputs: list[str] = []
    heredocs: list[tuple[str, bool, bool, list[str]]] = []


def read_script(text: str) -> Script:
    """All simple commands of a text. Raises TooNested."""
    script = Script()
    waiting = [(text, False)]
    while waiting:
        body, quoted = waiting.pop()
        lexer = _Lexer(body, script, quoted=quoted)
        lexer.run()
        waiting += [(inner, True) for inner in lexer.bodies]
    return script


class _Lexer:
    def __init__(self, text: str, script: Script, *, quoted: bool) -> None:
        self._text = text
        self._at = 0
        self._script = script
        self._quoted = quoted
        self._frames = [_Frame(closer="")]
        if quoted:
            self._frames.append(_Frame(closer="", text=True))
        self.bodies: list[str] = []
        self._on = {
            " ": self._blank, "\t": self._blank, "\n": self._newline, "\\": self._backslash,
            "'": self._single, '"': self._double, "$": self._dollar, "`": self._backtick,
            ";": self._separator, "|": self._separator, "&": self._ampersand,
            "<": self._redirect, ">": self._redirect, "(": self._open, ")": self._close,
        }  # fmt: skip

    def run(self) -> None:
        while self._at < len(self._text):
            if self._frames[-1].text:
                self._in_text()
            else:
                self._in_commands()
        if any(frame.closer for frame in self._frames):
            self._script.features.add(UNFINISHED)
        while len(self._frames) > 1:
            self._end_command()
            self._frames.pop()
        if not self._quoted:
            self._end_command()

    # ------------------------------------------------------------ frames and words

    def _push(self, closer: str, *, text: bool = False, silent: bool = False) -> None:
        if len(self._frames) > MAX_NESTING:
            raise TooNested
        self._frames.append(_Frame(closer=closer, start=self._at, text=text, silent=silent))

    def _draft(self) -> Word:
        """The word that is being read in the innermost frame of commands."""
        frame = self._commands()
        if frame.word is None:
            frame.word = Word()
        return frame.word

    def _commands(self) -> _Frame:
        return next(frame for frame in reversed(self._frames) if not frame.text)

    def _end_word(self) -> None:
        frame = self._frames[-1]
        word, frame.word = frame.word, None
        if word is None:
            return
        if frame.operator:
            operator, frame.operator = frame.operator, ""
            self._target(frame, operator, word)
        elif word.expands and not word.quoted and " " in word.text:
            frame.words += [Word(text=part, expands=True) for part in word.text.split()]
        else:
            frame.words.append(word)

    def _end_command(self) -> None:
        frame = self._frames[-1]
        if frame.text:
            return
        self._end_word()
        if frame.operator:
            frame.operator = ""
            self._script.features.add(UNFINISHED)
        if frame.words or frame.inputs:
            for word in frame.words:
                match = _ASSIGNS.match(word.text)
                if match is None:
                    break
                self._script.features.add(ASSIGNMENT)
                self._script.variables[match[1]] = match[2]
            source = self._text[frame.start : self._at].strip()
            self._script.commands.append(Simple(words=frame.words, source=source, inputs=frame.inputs))
        frame.words, frame.inputs = [], []
        frame.start = self._at

    # ------------------------------------------------------------ inside of quotes

    def _in_text(self) -> None:
        frame = self._frames[-1]
        character = self._text[self._at]
        if character == frame.closer:
            self._frames.pop()
            self._at += 1
        elif character == '"' and frame.closer == "}":
            self._double()
        elif character == "$":
            self._dollar()
        elif character == "`":
            self._backtick()
        elif character == "\\":
            following = self._text[self._at + 1 : self._at + 2]
            kept = "" if following == "\n" else following if following in '$`"\\' else f"\\{following}"
            self._take(kept, 2)
        else:
            match = _DQ_PLAIN.match(self._text, self._at)
            self._take(match[0] if match else character, len(match[0]) if match else 1)

    def _take(self, text: str, length: int) -> None:
        if not self._frames[-1].silent:
            self._draft().text += text
        self._at += length

    # ------------------------------------------------------------ outside of quotes

    def _in_commands(self) -> None:
        character = self._text[self._at]
        action = self._on.get(character)
        if action is not None:
            action()
        elif character == "#" and self._frames[-1].word is None:
            self._comment()
        else:
            match = _PLAIN.match(self._text, self._at)
            text = match[0] if match else character
            word = self._draft()
            wild = re.search(r"[*?\[]", text)
            word.glob |= wild is not None
            word.leading |= not word.text and wild is not None and wild.start() == 0
            word.brace |= "{" in text and ("," in text or ".." in text)
            word.text += text
            self._at += len(text)

    def _comment(self) -> None:
        ends = [self._text.find("\n", self._at)]
        if self._frames[-1].closer == "`":
            ends.append(self._text.find("`", self._at))
        self._at = min((end for end in ends if end >= 0), default=len(self._text))
        self._frames[-1].start = self._at

    def _blank(self) -> None:
        self._end_word()
        self._at += 1

    def _newline(self) -> None:
        frame = self._frames[-1]
        self._end_command()
        self._at += 1
        pending, frame.heredocs = frame.heredocs, []
        for delimiter, quoted, strip, inputs in pending:
            self._heredoc(delimiter, quoted, strip, inputs)
        frame.start = self._at

    def _heredoc(self, delimiter: str, quoted: bool, strip: bool, inputs: list[str]) -> None:
        begin = self._at
        end = len(self._text)
        while self._at < len(self._text):
            stop = self._text.find("\n", self._at)
            stop = len(self._text) if stop < 0 else stop
            line = self._text[self._at : stop]
            if (line.lstrip("\t") if strip else line) == delimiter:
                end, self._at = self._at, stop
                break
            self._at = stop + 1
        self._at = min(self._at, len(self._text))
        body = self._text[begin:end]
        inputs.append(body)
        if not quoted:
            self.bodies.append(body)

    def _backslash(self) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        if following != "\n":
            word = self._draft()
            word.text += following
            word.quoted = True
        if not following:
            self._script.features.add(UNFINISHED)
        self._at += 2

    def _single(self) -> None:
        word = self._draft()
        word.quoted = True
        end = self._text.find("'", self._at + 1)
        if end < 0:
            self._script.features.add(UNFINISHED)
            end = len(self._text)
        word.text += self._text[self._at + 1 : end]
        self._at = end + 1

    def _double(self) -> None:
        self._draft().quoted = True
        self._push('"', text=True, silent=self._frames[-1].silent)
        self._at += 1

    def _dollar(self) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        unquoted = not self._frames[-1].text
        if following == "(":
            self._script.features.add(SUBSTITUTION)
            self._draft().expands = True
            self._at += 2
            self._push(")")
        elif following in ("'", '"') and following and unquoted:
            self._script.features.add(QUOTING)
            self._at += 1
            if following == "'":
                self._ansi()
        else:
            self._variable(following)

    def _variable(self, following: str) -> None:
        match = _NAME.match(self._text, self._at + 1)
        if match is None and following not in ("{", "["):
            self._take("$", 1)
            return
        self._script.features.add(EXPANSION)
        word = self._draft()
        word.expands = True
        if match is not None:
            if not self._frames[-1].silent:
                word.text += self._script.variables.get(match[1] or match[2] or "", "")
            self._at = match.end()
            return
        default = re.match(_DEFAULT, self._text[self._at + 1 : self._at + 100])
        self._at += 1 + default.end() if default else 2
        if following == "{":
            self._push("}", text=True, silent=default is None)

    def _ansi(self) -> None:
        """`$'...'`, from its quote on."""
        end = _ansi_end(self._text, self._at + 1)
        if end >= len(self._text):
            self._script.features.add(UNFINISHED)
        word = self._draft()
        word.quoted = True
        word.text += re.sub(_ESCAPE, _unescape, self._text[self._at + 1 : end])
        self._at = end + 1

    def _backtick(self) -> None:
        self._script.features.add(SUBSTITUTION)
        if any(frame.closer == "`" for frame in self._frames):
            closed = ""
            while closed != "`":
                self._end_command()
                closed = self._frames.pop().closer
            self._at += 1
        else:
            self._draft().expands = True
            self._at += 1
            self._push("`")

    def _separator(self) -> None:
        self._end_command()
        self._at += 1
        self._frames[-1].start = self._at

    def _ampersand(self) -> None:
        if self._text.startswith("&>", self._at):
            self._redirect()
        else:
            self._separator()

    def _open(self) -> None:
        self._script.features.add(GROUP)
        self._end_command()
        self._at += 1
        self._push(")")

    def _close(self) -> None:
        self._end_command()
        self._at += 1
        if self._frames[-1].closer == ")":
            self._frames.pop()
        else:
            self._script.features.add(GROUP)
            self._frames[-1].start = self._at

    # ------------------------------------------------------------ redirections

    def _redirect(self) -> None:
        frame = self._frames[-1]
        following = self._text[self._at + 1 : self._at + 2]
        if following == "(" and self._text[self._at] != "&":
            self._script.features.add(SUBSTITUTION)
            self._draft().expands = True
            self._at += 2
            self._push(")")
            return
        if frame.word is not None and frame.word.text.isdigit() and not frame.word.quoted:
            frame.word = None  # the number of a descriptor
        self._end_word()
        match = _OPERATOR.match(self._text, self._at)
        frame.operator = match[0] if match else ">"
        self._at += len(frame.operator)

    def _target(self, frame: _Frame, operator: str, word: Word) -> None:
        if operator in ("<<", "<<-"):
            self._script.features.add(HEREDOC)
            frame.heredocs.append((word.text, word.quoted, operator == "<<-", frame.inputs))
        elif operator == "<<<":
            self._script.features.add(HEREDOC)
            frame.inputs.append(word.text)
        elif word.expands or not _is_harmless(operator, word.text):
            self._script.features.add(REDIRECTION)


def _is_harmless(operator: str, target: str) -> bool:
    if operator in (">&", "<&"):
        return re.fullmatch(r"\d+-?|-|/dev/null", target) is not None
    return target == "/dev/null"


def _ansi_end(text: str, at: int) -> int:
    while at < len(text) and text[at] != "'":
        at += 2 if text[at] == "\\" else 1
    return at


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    number = int(code, 16) if code else int(match[4], 8) if match[4] else -1
    if number < 0:
        return _NAMED.get(match[5], match[5])
    return chr(number) if number <= 0x10FFFF else ""
