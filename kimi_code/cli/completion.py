"""`kimi-code completion`: a completion script, generated from the commands themselves."""

import importlib
from typing import Annotated, Any, Literal

import typer
from typer.main import get_command

from kimi_code.cli.entry import COMMANDS

app = typer.Typer(add_completion=False)


@app.command()
def completion(shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument()]) -> None:
    """Print a completion script for SHELL.

    bash: eval "$(kimi-code completion bash)"; zsh: the same; fish: kimi-code completion fish | source
    """
    table = {
        name: _words(get_command(importlib.import_module(module).app))
        for name, (module, _) in COMMANDS.items()
    }
    typer.echo({"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](table), nl=False)


def _words(command: Any) -> list[str]:
    """Options and subcommands of a command, sorted."""
    words: set[str] = set()
    for parameter in command.params:
        words.update(
            option for option in [*parameter.opts, *parameter.secondary_opts] if option.startswith("-")
        )
    for name, child in getattr(command, "commands", {}).items():
        words.add(name)
        words.update(w for w in _words(child) if w.startswith("--"))
    return sorted(words)


def _bash(table: dict[str, list[str]]) -> str:
    cases = "\n".join(f'        {name}) words="{" ".join(words)}" ;;' for name, words in table.items())
    return f"""\
_kimi_code() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{" ".join(table)} --version --help"
    else
        case "${{COMP_WORDS[1]}}" in
{cases}
        *) words="" ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [ ${{#COMPREPLY[@]}} -gt 0 ] || COMPREPLY=($(compgen -f -- "$current"))
}}
complete -o filenames -F _kimi_code kimi-code
"""


def _zsh(table: dict[str, list[str]]) -> str:
    cases = "\n".join(f"        {name}) words=({' '.join(words)}) ;;" for name, words in table.items())
    return f"""\
#compdef kimi-code
_kimi_code() {{
    local -a words
    if (( CURRENT == 2 )); then
        words=({" ".join(table)} --version --help)
    else
        case "${{words_typed[2]}}" in
{cases}
        esac
    fi
    compadd -a words
    _files
}}
_kimi_code_entry() {{ local -a words_typed=("${{words[@]}}"); _kimi_code; }}
compdef _kimi_code_entry kimi-code
"""


def _fish(table: dict[str, list[str]]) -> str:
    lines = ["complete -c kimi-code -n __fish_use_subcommand -f -a '" + " ".join(table) + "'"]
    for name, words in table.items():
        for word in words:
            kind = (
                f"-l {word[2:]}"
                if word.startswith("--")
                else f"-s {word[1:]}"
                if word[0] == "-"
                else f"-f -a {word}"
            )
            lines.append(f"complete -c kimi-code -n '__fish_seen_subcommand_from {name}' {kind}")
    return "\n".join(lines) + "\n"
