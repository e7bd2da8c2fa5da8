"""A shell command as simple commands and what else is in it. Knows neither grammar nor rule."""

import msgspec

MAX_NESTING = 100

SUBSTITUTION = "it substitutes the output of a command"
EXPANSION = "it expands variables"
REDIRECTION = "it redirects to or from a file"
HEREDOC = "it has a here-document"
ASSIGNMENT = "it sets a variable"
GROUP = "it groups commands or defines a function"
QUOTING = "it writes characters as escapes"
UNFINISHED = "it is not complete"


class TooNested(ValueError):
    """More than MAX_NESTING brackets and quotes within each other."""


class Word(msgspec.Struct):
    """`text` without quotes. `glob`: it has unquoted wildcards; `leading`: it begins with one.

    `expands`: part of it is known only when it runs. `brace`: `{a,b}` makes several words of it.
    """

    text: str = ""
    glob: bool = False
    leading: bool = False
    brace: bool = False
    expands: bool = False
    quoted: bool = False


class Simple(msgspec.Struct):
    """Words, assignments included. `inputs`: what its here-documents and here-strings hold."""

    words: list[Word]
    source: str
    inputs: list[str]


class Script(msgspec.Struct):
    """`features`: what the text uses beyond literal words, as phrases for people."""

    commands: list[Simple] = []
    features: set[str] = set()
    variables: dict[str, str] = {}
