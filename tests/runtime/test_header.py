"""The GGUF header reader: agrees with the format's own package, and refuses what is damaged or hostile."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGUFReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_runtime.failures import BadModel
from kimi_runtime.header import Header, read_header
from kimi_testing.gguf_files import tiny_gguf

U32, STRING, ARRAY = 4, 8, 9
F32, F16, Q8_1, Q4_K, I32, F64 = 0, 1, 9, 12, 26, 28


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def kv(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: bytes, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return (
        text(name)
        + struct.pack("<I", len(shape))
        + struct.pack(f"<{len(shape)}Q", *shape)
        + struct.pack("<IQ", kind, offset)
    )


LLAMA = kv(b"general.architecture", STRING, text(b"llama"))


def gguf(
    *,
    values: tuple[bytes, ...] = (LLAMA,),
    tensors: tuple[bytes, ...] = (),
    data: int = 4096,
    counts: tuple[int, int] | None = None,
    magic: bytes = b"GGUF",
    version: int = 3,
) -> bytes:
    """A file from its parts; `counts` (tensors, values) lie where they are given."""
    claimed = counts or (len(tensors), len(values))
    body = magic + struct.pack("<IQQ", version, *claimed) + b"".join(values) + b"".join(tensors)
    return body + bytes(-len(body) % 32) + bytes(data)


def read(tmp_path: Path, content: bytes) -> Header:
    path = tmp_path / "made.gguf"
    path.write_bytes(content)
    return read_header(path)


def why(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(BadModel) as caught:
        read(tmp_path, content)
    assert caught.value.message.endswith(".")
    return caught.value.message


def test_agrees_with_the_package_of_the_format(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "tiny.gguf")
    header, reader = read_header(path), GGUFReader(path)
    theirs = {
        t.name: (tuple(map(int, t.shape)), t.tensor_type.name, t.data_offset, t.n_bytes)
        for t in reader.tensors
    }
    assert {t.name: (t.shape, t.type, t.offset, t.size) for t in header.tensors} == theirs
    for key, value in header.metadata.items():
        field = reader.get_field(key)
        assert field is not None
        contents = field.contents()
        assert value == (tuple(contents) if isinstance(contents, list) else contents)
    assert header.parameters == sum(t.n_elements for t in reader.tensors)


def test_says_what_the_model_is(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "tiny.gguf", tokens=500)
    header = read_header(path)
    assert (header.architecture, header.name, header.kind) == ("llama", "Tiny", "model")
    assert (header.context_length, header.block_count, header.embedding_length) == (2048, 2, 64)
    assert (header.head_count, header.head_count_kv) == (8, 4)
    assert header.metadata["llama.attention.head_count_kv"] == (2, 4)
    assert (header.expert_count, header.expert_used_count) == (16, 2)
    assert (header.quantisation, header.vocab_size) == ("F16", 500)
    assert (header.tokenizer_model, header.tokenizer_pre) == ("gpt2", "qwen2")
    assert header.chat_template == "{{ messages[0].content }}"
    assert (header.size, header.files) == (path.stat().st_size, ("tiny.gguf",))


def test_a_vocabulary_larger_than_one_read_is_stepped_over(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "wide.gguf", tokens=120_000)
    assert read_header(path).vocab_size == 120_000
    assert read_header(path).chat_template == "{{ messages[0].content }}"


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "tiny.gguf", tokens=4)
    assert read_header(path).architecture == "llama"
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        assert "GGUF" in _refused(path)


def test_what_is_no_gguf(tmp_path: Path) -> None:
    assert "does not begin as one" in why(tmp_path, b"")
    assert "does not begin as one" in why(tmp_path, gguf(magic=b"GGML"))
    assert "version 1" in why(tmp_path, gguf(version=1))
    assert "big-endian" in why(tmp_path, gguf(version=3 << 24))
    assert "cannot be read" in _refused(tmp_path / "absent.gguf")
    assert "cannot be read" in _refused(tmp_path)
    assert "architecture" in why(tmp_path, gguf(values=()))
    assert "architecture" in why(tmp_path, gguf(values=(kv(b"general.architecture", STRING, text(b"../x")),)))


def _refused(path: Path) -> str:
    with pytest.raises(BadModel) as caught:
        read_header(path)
    return caught.value.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gguf(counts=(0, 1 << 63)), "claims 9223372036854775808 values"),
        (gguf(counts=((1 << 64) - 1, 1)), "tensors, at most"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 100_000) + LLAMA, "middle of its header"),
        (gguf(values=(struct.pack("<Q", 1 << 63),)), "a key is 9223372036854775808 bytes long"),
        (gguf(values=(kv(b"k", STRING, struct.pack("<Q", 1 << 62)),)), "bytes long"),
        (gguf(values=(kv(b"k", STRING, struct.pack("<Q", 1 << 23)),)), "middle of its header"),
        (gguf(values=(kv(b"k", ARRAY, struct.pack("<IQ", U32, 1 << 60)),)), "elements, at most"),
        (gguf(values=(kv(b"k", ARRAY, struct.pack("<IQ", U32, 1 << 20)),)), "middle of its header"),
        (gguf(values=(kv(b"k", ARRAY, struct.pack("<IQ", STRING, 1 << 20)),)), "middle of its header"),
        (gguf(values=(kv(b"k", ARRAY, struct.pack("<IQQ", STRING, 1, 1 << 63)),)), "beyond the end"),
        (gguf(values=(kv(b"k", ARRAY, struct.pack("<IQ", ARRAY, 1)),)), "array of arrays"),
        (gguf(values=(kv(b"k", ARRAY, struct.pack("<IQ", 77, 1)),)), "unknown type 77"),
        (gguf(values=(kv(b"k", 13, b""),)), "unknown type 13"),
        (gguf(values=(LLAMA, LLAMA)), "twice"),
        (gguf(values=(LLAMA, kv(b"general.alignment", U32, struct.pack("<I", 0)))), "alignment"),
        (gguf(values=(LLAMA, kv(b"general.alignment", U32, struct.pack("<I", 48)))), "alignment"),
        (gguf(values=(LLAMA, kv(b"general.alignment", U32, struct.pack("<I", 1 << 31)))), "alignment"),
        (gguf(values=(LLAMA, kv(b"general.alignment", STRING, text(b"32")))), "alignment"),
    ],
)
def test_absurd_values(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in why(tmp_path, content)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ((tensor(b"a", (8,), F64, 0),), "F64, which cannot be computed with"),
        ((tensor(b"a", (8,), I32, 0),), "I32, which cannot"),
        ((tensor(b"a", (32,), Q8_1, 0),), "Q8_1, which cannot"),
        ((tensor(b"a", (8,), 999, 0),), "type 999"),
        ((tensor(b"a", (8,), 4, 0),), "type 4"),
        ((tensor(b"a", (), F32, 0),), "0 dimensions"),
        ((tensor(b"a", (1, 1, 1, 1, 1), F32, 0),), "5 dimensions"),
        ((text(b"a") + struct.pack("<I", (1 << 32) - 1),), "4294967295 dimensions"),
        ((tensor(b"a", (0,), F32, 0),), "impossible shape"),
        ((tensor(b"a", ((1 << 64) - 1,), F32, 0),), "impossible shape"),
        ((tensor(b"a", (1 << 32, 1 << 32), F32, 0),), "impossible shape"),
        ((tensor(b"a", (1 << 31, 1 << 31), F32, 0),), "would end at"),
        ((tensor(b"a", (255,), Q4_K, 0),), "do not fit its type Q4_K"),
        ((tensor(b"a" * 64, (8,), F32, 0),), "64 bytes long"),
        ((tensor(b"a", (8,), F32, 4),), "not aligned"),
        ((tensor(b"a", (1025,), F32, 0),), "would end at"),
        ((tensor(b"a", (8,), F32, (1 << 64) - 32),), "would end at"),
        ((tensor(b"a", (16,), F32, 0), tensor(b"b", (16,), F32, 32)), "overlaps"),
        ((tensor(b"a", (16,), F32, 0), tensor(b"b", (16,), F32, 0)), "overlaps"),
        ((tensor(b"a", (8,), F32, 0), tensor(b"a", (8,), F32, 32)), "two tensors of one name"),
    ],
)
def test_tensors_that_would_break_the_loader(tmp_path: Path, tensors: tuple[bytes, ...], reason: str) -> None:
    assert reason in why(tmp_path, gguf(tensors=tensors))


def test_gaps_and_any_order_are_fine(tmp_path: Path) -> None:
    rows = (
        tensor(b"b", (8,), F32, 64),
        tensor(b"a", (8,), F16, 0),
        tensor(b"x.ffn_gate_tid2eid", (8,), I32, 128),
    )
    found = read(tmp_path, gguf(tensors=rows)).tensors
    assert [(t.name, t.size) for t in found] == [("a", 16), ("b", 32), ("x.ffn_gate_tid2eid", 32)]
    assert found[1].offset - found[0].offset == 64


def test_text_that_is_no_utf8_is_shown_all_the_same(tmp_path: Path) -> None:
    header = read(tmp_path, gguf(values=(LLAMA, kv(b"general.name", STRING, text(b"caf\xe9\xff")))))
    assert header.name == "caf\ufffd\ufffd"


def test_an_endless_header_ends(tmp_path: Path) -> None:
    """A sparse file of 64 GB whose header claims strings without end costs neither memory nor disk."""
    path = tmp_path / "huge.gguf"
    array = kv(b"k", ARRAY, struct.pack("<IQ", 0, 1_900_000))
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 1000))
        for number in range(80):
            file.write(array.replace(b"k", bytes([33 + number]), 1))
            file.seek(1_900_000, 1)
        file.truncate(64 << 30)
    with pytest.raises(BadModel, match="longer than 128 MB"):
        read_header(path)


def test_a_split_model_is_read_as_one(tmp_path: Path) -> None:
    count = kv(b"split.count", 2, struct.pack("<H", 2))
    first, second = tmp_path / "m-00001-of-00002.gguf", tmp_path / "m-00002-of-00002.gguf"
    first.write_bytes(gguf(values=(LLAMA, count), tensors=(tensor(b"a", (8,), F32, 0),)))
    second.write_bytes(gguf(values=(count,), tensors=(tensor(b"b", (16,), F32, 0),)))
    header = read_header(first)
    assert [(t.name, t.part) for t in header.tensors] == [("a", 0), ("b", 1)]
    assert header.files == (first.name, second.name)
    assert header.size == first.stat().st_size + second.stat().st_size
    assert "not the first part" in _refused(second)
    renamed = first.rename(tmp_path / "alone.gguf")
    assert "one of 2 parts" in _refused(renamed)
    second.unlink()
    first.write_bytes(renamed.read_bytes())
    assert "cannot be read" in _refused(first)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_gguf(tmp_path_factory.mktemp("gguf") / "sound.gguf", tokens=6).read_bytes()


def _holds_together(header: Header, size: int) -> bool:
    ends = [tensor.offset + tensor.size for tensor in header.tensors]
    return header.size == size and all(end <= size for end in ends) and bool(header.architecture)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 1200), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4
    )
)
def test_any_damage_is_refused_or_harmless(
    tmp_path: Path, sound: bytes, changes: list[tuple[int, bytes]]
) -> None:
    content = bytearray(sound)
    for at, piece in changes:
        content[at : at + len(piece)] = piece
    _refused_or_harmless(lambda: read(tmp_path, bytes(content)), len(content))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=400))
def test_noise_is_refused(tmp_path: Path, noise: bytes) -> None:
    content = b"GGUF" + struct.pack("<I", 3) + noise
    _refused_or_harmless(lambda: read(tmp_path, content), len(content))


def _refused_or_harmless(attempt: Callable[[], Header], size: int) -> None:
    try:
        header = attempt()
    except BadModel:
        return
    assert _holds_together(header, size)
