"""Which package indexes pip is configured with, and the files of a project there. Knows no model.

The simple index of PEP 503 (HTML) and PEP 691 (JSON), over http(s) or as a folder (file:). Where pip keeps
its settings: https://pip.pypa.io/en/stable/topics/configuration/
"""

import configparser
import os
import re
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

import httpx2
import msgspec

from kimi_runtime.transfer import Lost, describe

_PYPI = "https://pypi.org/simple"
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.2, application/vnd.pypi.simple.v1+html;q=0.3"
_MAX_PAGE = 32 << 20


class PipSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`indexes` are base URLs in order; credentials may be in them."""

    indexes: tuple[str, ...]
    proxy: str | None = None
    ca_file: str | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a project. `sha256` and `size` where the index gives them."""

    name: str
    url: str
    sha256: str | None = None
    size: int | None = None


class _JsonFile(msgspec.Struct, frozen=True):
    filename: str
    url: str
    hashes: dict[str, str] = {}
    size: int | None = None


class _JsonPage(msgspec.Struct, frozen=True):
    files: list[_JsonFile]


def settings(
    environment: Mapping[str, str] = os.environ,
    *,
    system: Path = Path("/etc"),
    site: Path = Path(sys.prefix),
) -> PipSettings:
    """What pip would use here: its files, then the environment, later ones going before earlier ones.

    `system` and `site` are the folders of the machine's and of the virtual environment's own file.
    """
    values: dict[str, str] = {}
    for path in _files(environment, system, site):
        values.update(_read(path))
    for key in ("index-url", "extra-index-url", "no-index", "proxy", "cert"):
        value = environment.get(f"PIP_{key.replace('-', '_').upper()}")
        if value is not None:
            values[key] = value
    if "index-url" not in values:
        values["index-url"] = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL") or _PYPI
    indexes = [values["index-url"], *values.get("extra-index-url", "").split()]
    if values.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        indexes = []
    return PipSettings(
        indexes=tuple(dict.fromkeys(url.rstrip("/") for url in indexes if url)),
        proxy=values.get("proxy") or None,
        ca_file=values.get("cert") or None,
    )


async def project_files(http: httpx2.AsyncClient, index: str, project: str) -> list[Link]:
    """All files of `project` in one index; raises Lost when it has none or cannot be read."""
    url = f"{index}/{project}/"
    if index.startswith("file:"):
        return _html(_page_of_folder(url), url)
    try:
        response = await http.get(url, headers={"accept": _ACCEPT})
    except httpx2.HTTPError as error:
        raise Lost(describe(error, url)) from error
    host = httpx2.URL(url).host
    if response.status_code == 404:
        raise Lost(f"{host} has no {project}")
    if response.status_code != 200:
        raise Lost(f"{host} answered {response.status_code} {response.reason_phrase}".rstrip())
    if len(response.content) > _MAX_PAGE:
        raise Lost(f"{host} sent an index page of more than {_MAX_PAGE >> 20} MB")
    base = str(response.url)
    if "json" in response.headers.get("content-type", ""):
        links = _json(response.content, base)
    else:
        links = _html(response.text, base)
    return [_with_login(link, index) for link in links]


def local_path(url: str) -> Path | None:
    """The path a file: URL names, or None."""
    split = urlsplit(url)
    return Path(unquote(split.path)) if split.scheme == "file" else None


def _files(environment: Mapping[str, str], system: Path, site: Path) -> list[Path]:
    """pip's configuration files, least important first."""
    own = environment.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return []
    home = Path(environment.get("HOME", "/"))
    shared = (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    paths = [Path(folder, "pip", "pip.conf") for folder in shared if folder]
    paths += [system / "pip.conf", home / ".pip" / "pip.conf", user / "pip" / "pip.conf"]
    paths.append(site / "pip.conf")
    return [*paths, Path(own)] if own else paths


def _read(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        # pip itself says what is wrong with it; the other settings still hold.
        return {}
    values: dict[str, str] = {}
    for section in ("global", "download", "install"):
        if parser.has_section(section):
            values.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    return values


def _page_of_folder(url: str) -> str:
    folder = local_path(url)
    try:
        return (folder or Path("/")).joinpath("index.html").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Lost(f"{folder} has no index page") from error


def _json(content: bytes, base: str) -> list[Link]:
    try:
        page = msgspec.json.decode(content, type=_JsonPage)
    except msgspec.DecodeError as error:
        raise Lost(f"{httpx2.URL(base).host} sent an index page that is no JSON of PEP 691") from error
    return [
        Link(
            name=each.filename, url=urljoin(base, each.url), sha256=each.hashes.get("sha256"), size=each.size
        )
        for each in page.files
    ]


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.targets += [value for name, value in attrs if name == "href" and value]


def _html(text: str, base: str) -> list[Link]:
    anchors = _Anchors()
    anchors.feed(text)
    links: list[Link] = []
    for target in anchors.targets:
        url, fragment = urldefrag(urljoin(base, target))
        match = re.search(r"sha256=([0-9a-fA-F]{64})", fragment)
        name = unquote(urlsplit(url).path.rsplit("/", 1)[-1])
        links.append(Link(name=name, url=url, sha256=match[1].lower() if match else None))
    return links


def _with_login(link: Link, index: str) -> Link:
    """The login of an index holds for files on the same host, as with pip."""
    own, other = urlsplit(index), urlsplit(link.url)
    if "@" not in own.netloc or "@" in other.netloc or own.netloc.rpartition("@")[2] != other.netloc:
        return link
    return msgspec.structs.replace(link, url=urlunsplit(other._replace(netloc=own.netloc)))
