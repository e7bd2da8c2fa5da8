"""pip's settings as pip would read them, and the two forms of an index page."""

from pathlib import Path

import httpx2
import pytest

from kimi_runtime.pip_index import PipSettings, project_files, settings
from kimi_runtime.transfer import Lost
from kimi_testing.file_server import Fault, FileServer

DIGEST = "ab" * 32


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def found(environment: dict[str, str]) -> PipSettings:
    """What is configured where neither the machine nor the virtual environment says anything."""
    return settings(environment, system=Path("/nonexistent"), site=Path("/nonexistent"))


def test_without_settings_it_is_pypi(tmp_path: Path) -> None:
    assert settings({"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}) == PipSettings(
        indexes=("https://pypi.org/simple",)
    )


def test_files_then_environment(tmp_path: Path) -> None:
    shared, home = tmp_path / "xdg", tmp_path / "home"
    write(shared / "pip" / "pip.conf", "[global]\nindex-url = https://shared/simple/\ncert = /shared.pem\n")
    write(
        home / ".config/pip/pip.conf",
        "[global]\nextra_index_url =\n  https://one/simple\n  https://two/simple\n",
    )
    own = tmp_path / "own.conf"
    write(own, "[download]\nproxy = http://proxy:3128\n[wheel]\nproxy = http://other:1\n")
    environment = {"HOME": str(home), "XDG_CONFIG_DIRS": str(shared), "PIP_CONFIG_FILE": str(own)}
    assert found(environment) == PipSettings(
        indexes=("https://shared/simple", "https://one/simple", "https://two/simple"),
        proxy="http://proxy:3128",
        ca_file="/shared.pem",
    )
    environment |= {"PIP_INDEX_URL": "https://env/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_CERT": "/env.pem"}
    assert found(environment).indexes == ("https://env/simple",)
    assert found(environment).ca_file == "/env.pem"
    assert found(environment | {"PIP_NO_INDEX": "1"}).indexes == ()


def test_a_broken_file_is_passed_over(tmp_path: Path) -> None:
    own = tmp_path / "own.conf"
    own.write_text("index-url = no section\n")
    environment = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path), "PIP_CONFIG_FILE": str(own)}
    assert found(environment).indexes[0].startswith("https://")


async def test_a_folder_as_index(tmp_path: Path) -> None:
    page = f'<a href="../../files/a_b-1.0-py3-none-any.whl#sha256={DIGEST.upper()}">a</a><a>no link</a>'
    write(tmp_path / "simple" / "a-b" / "index.html", page)
    async with httpx2.AsyncClient() as http:
        (link,) = await project_files(http, f"file://{tmp_path}/simple", "a-b")
        assert link.name == "a_b-1.0-py3-none-any.whl"
        assert link.url == f"file://{tmp_path}/files/a_b-1.0-py3-none-any.whl"
        assert link.sha256 == DIGEST
        with pytest.raises(Lost, match="no index page"):
            await project_files(http, f"file://{tmp_path}/simple", "absent")


async def links(server: FileServer, login: str = "") -> list[str]:
    index = server.url.replace("://", f"://{login}") + "/simple"
    async with httpx2.AsyncClient(trust_env=False) as http:
        return [link.url for link in await project_files(http, index, "a-b")]


async def test_the_login_goes_to_its_own_host_only() -> None:
    with FileServer() as server:
        page = b'<a href="/files/a.whl">a</a> <a href="https://elsewhere/b.whl">b</a>'
        server.put("/simple/a-b/", page, content_type="text/html")
        own = server.url.replace("://", "://me:secret@") + "/files/a.whl"
        assert await links(server, "me:secret@") == [own, "https://elsewhere/b.whl"]


JSON = "application/vnd.pypi.simple.v1+json"


@pytest.mark.parametrize(
    ("status", "kind", "content", "reason"),
    [
        (404, JSON, b"", "127.0.0.1 has no a-b"),
        (401, JSON, b"", "127.0.0.1 answered 401 Unauthorized"),
        (0, JSON, b'{"files": 3}', "no JSON of PEP 691"),
        (0, JSON, b"<html>", "no JSON of PEP 691"),
    ],
)
async def test_what_an_index_refuses(status: int, kind: str, content: bytes, reason: str) -> None:
    with FileServer() as server:
        server.put("/simple/a-b/", content, content_type=kind)
        server.faults["/simple/a-b/"].append(Fault(status=status))
        with pytest.raises(Lost) as caught:
            await links(server, "me:secret@")
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_an_index_that_is_not_there() -> None:
    with FileServer() as server:
        pass
    with pytest.raises(Lost, match=r"127\.0\.0\.1 cannot be reached"):
        await links(server, "me:secret@")
