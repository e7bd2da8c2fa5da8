"""What a GGUF file says about itself, read within bounds. Knows no weights: only the header is read.

The file is hostile input. No count in it is believed: each is compared with a cap and with what is left of
the file before anything is allocated or repeated. Format: GGUF versions 2 and 3, little-endian.
"""

import re
from pathlib import Path

import msgspec

from kimi_runtime.failures import BadModel
from kimi_runtime.ggml import FILE_TYPES, TYPES
from kimi_runtime.gguf_bytes import Array, Bytes, Scalar, Value
from kimi_runtime.store import files_of

_MAX_COUNT = 100_000
_MAX_KEY = 65_535
_MAX_NAME = 63
_MAX_DIMS = 4
_MAX_ALIGNMENT = 1 << 16
_MAX_TEMPLATE = 1 << 20
_SMALL_TEXT = 256
_INT64 = (1 << 63) - 1
# Integer tables that some models look tokens up in; every other integer tensor would end the process.
_TABLE = "tid2eid"


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """`shape`: fastest dimension first, as in the file. `offset`, `size`: bytes, in file number `part`."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    size: int
    part: int = 0


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """A model described. Counts are 0 and texts empty where the file does not say.

    parameters: values in all tensors. size: bytes of all files. files: names of all parts. quantisation:
    the mix, such as Q4_K_M. head_count_kv: the largest of all layers. metadata: numbers and short texts.
    """

    architecture: str
    name: str
    kind: str
    parameters: int
    context_length: int
    block_count: int
    embedding_length: int
    head_count: int
    head_count_kv: int
    expert_count: int
    expert_used_count: int
    quantisation: str
    chat_template: str
    tokenizer_model: str
    tokenizer_pre: str
    vocab_size: int
    size: int
    files: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    metadata: dict[str, Scalar | tuple[int | float, ...]]


def read_header(path: Path) -> Header:
    """The header of a model; of a split one give the first part, all must be there.

    Raises BadModel when the file is not one that can be loaded safely, or cannot be read.
    """
    files = files_of(path)
    if len(files) > 1 and path != files[0]:
        raise BadModel(f"{path.name} is not the first part of its model.", hint=f"Use {files[0].name}")
    values, tensors, size = _read_file(path, 0)
    declared = values.get("split.count", 0)
    if isinstance(declared, int) and declared > 1 and declared != len(files):
        raise BadModel(
            f"{path.name} says that it is one of {declared} parts, but its name does not.",
            hint="Keep the names NAME-00001-of-0000N.gguf that the parts came with.",
        )
    for number, each in enumerate(files[1:], 1):
        _, more, bytes_ = _read_file(each, number)
        tensors += more
        size += bytes_
    _unique(tensors, path)
    return _describe(path, values, tensors, size, files)


def _read_file(path: Path, part: int) -> tuple[dict[str, Value], list[Tensor], int]:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            source = Bytes(file, size, path.name)
            return *_parse(source, part), size
    except OSError as error:
        raise BadModel(f"{path} cannot be read: {error.strerror or error}.") from error


def _parse(source: Bytes, part: int) -> tuple[dict[str, Value], list[Tensor]]:
    if source.size < 24 or source.take(4) != b"GGUF":
        raise source.bad("it does not begin as one")
    version = source.u32()
    if version not in (2, 3):
        swapped = version & 0xFFFF == 0
        raise source.bad(
            "it is big-endian" if swapped else f"version {version} of the format is not supported"
        )
    tensor_count, value_count = source.u64(), source.u64()
    for count, what in ((tensor_count, "tensors"), (value_count, "values")):
        if count > _MAX_COUNT:
            raise source.bad(f"it claims {count} {what}, at most {_MAX_COUNT} are accepted")
    values: dict[str, Value] = {}
    for _ in range(value_count):
        key = source.text("a key", _MAX_KEY, _MAX_KEY)
        if key in values:
            raise source.bad(f"the key {key[:80]!r} is there twice")
        values[key] = source.value(repr(key[:80]))
    rows = [_tensor(source) for _ in range(tensor_count)]
    return values, _place(source, rows, _alignment(source, values), part)


def _alignment(source: Bytes, values: dict[str, Value]) -> int:
    alignment = values.get("general.alignment", 32)
    if type(alignment) is not int or not 8 <= alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        raise source.bad("its alignment is not a power of two that makes sense")
    return alignment


def _tensor(source: Bytes) -> Tensor:
    """One line of the table; `offset` still counts from the begin of the data."""
    name = source.text("the name of a tensor", _MAX_NAME, _MAX_NAME)
    said = f"tensor {name!r}"
    dims = source.u32()
    if not 1 <= dims <= _MAX_DIMS:
        raise source.bad(f"{said} has {dims} dimensions")
    shape = tuple(source.u64() for _ in range(dims))
    kind, offset = source.u32(), source.u64()
    layout = TYPES.get(kind)
    if layout is None:
        raise source.bad(f"{said} has the type {kind}, which this version does not know")
    if not layout.weights and not (layout.name == "I32" and _TABLE in name):
        raise source.bad(f"{said} has the type {layout.name}, which cannot be computed with")
    count = 1
    for each in shape:
        count *= each
        if not 1 <= each <= _INT64 or count > _INT64:
            raise source.bad(f"{said} has an impossible shape")
    if shape[0] % layout.block:
        raise source.bad(f"the rows of {said} do not fit its type {layout.name}")
    size = count // layout.block * layout.bytes
    return Tensor(name=name, shape=shape, type=layout.name, offset=offset, size=size)


def _place(source: Bytes, rows: list[Tensor], alignment: int, part: int) -> list[Tensor]:
    """Check where the tensors lie; returns them with offsets from the begin of the file."""
    begin = -(-source.at // alignment) * alignment
    end = begin
    placed: list[Tensor] = []
    for row in sorted(rows, key=lambda row: row.offset):
        offset = begin + row.offset
        if row.offset % alignment:
            raise source.bad(f"tensor {row.name!r} is not aligned to {alignment} bytes")
        if offset < end:
            raise source.bad(f"tensor {row.name!r} overlaps another")
        end = offset + row.size
        if end > source.size:
            raise source.bad(f"it ends after {source.size} bytes, tensor {row.name!r} would end at {end}")
        placed.append(msgspec.structs.replace(row, offset=offset, part=part))
    return placed


def _unique(tensors: list[Tensor], path: Path) -> None:
    names = {tensor.name for tensor in tensors}
    if len(names) != len(tensors):
        raise BadModel(
            f"{path.name} has two tensors of one name.", hint="The file is damaged; pull it again."
        )


def _describe(
    path: Path, values: dict[str, Value], tensors: list[Tensor], size: int, files: tuple[Path, ...]
) -> Header:
    def text(key: str) -> str:
        value = values.get(key, "")
        return value if isinstance(value, str) else ""

    def number(key: str) -> int:
        value = values.get(f"{architecture}.{key}", 0)
        items = value.items if isinstance(value, Array) else (value,)
        return max((each for each in items if type(each) is int and 0 <= each <= _INT64), default=0)

    architecture = text("general.architecture")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", architecture):
        raise BadModel(f"{path.name} does not say which architecture it is.", hint="Is it a language model?")
    template = text("tokenizer.chat_template")
    if len(template) >= _MAX_TEMPLATE:
        raise BadModel(f"The chat template of {path.name} is longer than {_MAX_TEMPLATE >> 20} MB.")
    tokens = values.get("tokenizer.ggml.tokens")
    file_type = values.get("general.file_type")
    return Header(
        architecture=architecture,
        name=text("general.name"),
        kind=text("general.type") or "model",
        parameters=sum(_product(tensor.shape) for tensor in tensors),
        context_length=number("context_length"),
        block_count=number("block_count"),
        embedding_length=number("embedding_length"),
        head_count=number("attention.head_count"),
        head_count_kv=number("attention.head_count_kv") or number("attention.head_count"),
        expert_count=number("expert_count"),
        expert_used_count=number("expert_used_count"),
        quantisation=FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else "",
        chat_template=template,
        tokenizer_model=text("tokenizer.ggml.model"),
        tokenizer_pre=text("tokenizer.ggml.pre"),
        vocab_size=tokens.count if isinstance(tokens, Array) else number("vocab_size"),
        size=size,
        files=tuple(each.name for each in files),
        tensors=tuple(tensors),
        metadata=_small(values),
    )


def _small(values: dict[str, Value]) -> dict[str, Scalar | tuple[int | float, ...]]:
    small: dict[str, Scalar | tuple[int | float, ...]] = {}
    for key, value in values.items():
        if isinstance(value, Array):
            if value.items:
                small[key] = value.items
        elif not isinstance(value, str) or len(value) <= _SMALL_TEXT:
            small[key] = value
    return small


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for each in shape:
        count *= each
    return count
