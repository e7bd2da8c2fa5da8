"""A thin typed layer over the C API of llama.cpp. Knows no request and no template; one thread owns a
Context."""

import ctypes
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as lib
import msgspec
import numpy as np
from numpy.typing import NDArray

from kimi_runtime.faults import EngineFault, LoadFault, OutOfMemory

Logits = NDArray[np.float32]

_ERROR_LEVEL = 4  # GGML_LOG_LEVEL_ERROR
_errors: deque[str] = deque(maxlen=8)


def _log(level: int, text: bytes, _: object) -> None:
    if level == _ERROR_LEVEL:
        _errors.append(text.decode("utf-8", "replace").strip())


# The library keeps the pointer for ever, so the callback must never be collected.
_log_callback = lib.llama_log_callback(_log)
_ready = False


def start_backend() -> None:
    """Initialise llama.cpp once; its log goes nowhere but for errors, which failures quote."""
    global _ready
    if not _ready:
        lib.llama_log_set(_log_callback, ctypes.c_void_p(0))
        lib.llama_backend_init()
        _ready = True


def last_error() -> str:
    return next((line for line in reversed(_errors) if line), "")


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`repack`: copy quantised weights into another layout, at the price of as much memory again.

    Measured on Zen 4 with a 1.5B model at Q4_K_M, processor time per token against none: prompts cost 50 %
    more, 32 answers at once 10 % more, 8 answers 10 % less, one the same. Hence off.
    """

    repack: bool = False
    vocab_only: bool = False


class ContextOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`cells`: tokens the KV cache holds over all sequences; `batch`: tokens of one step."""

    cells: int
    batch: int = 512
    sequences: int = 64
    threads: int = 2
    flash: bool = True


class Model:
    """Weights and vocabulary of one GGUF file, memory-mapped."""

    def __init__(
        self, path: Path, options: LoadOptions, *, progress: Callable[[float], None] | None = None
    ) -> None:
        start_backend()
        self.path = path
        params = lib.llama_model_default_params()
        params.use_extra_bufts = options.repack
        params.vocab_only = options.vocab_only

        def report(fraction: float, _: object) -> bool:
            if progress is not None:
                progress(fraction)
            return True

        callback = lib.llama_progress_callback(report)
        params.progress_callback = callback
        _errors.clear()
        pointer = lib.llama_model_load_from_file(os.fsencode(path), params)
        if pointer is None:
            raise _load_fault(path)
        self.pointer = pointer
        vocabulary = lib.llama_model_get_vocab(pointer)
        assert vocabulary is not None
        self.vocabulary = vocabulary
        self.train_context = lib.llama_model_n_ctx_train(pointer)
        self.parameters = lib.llama_model_n_params(pointer)
        self.bytes = lib.llama_model_size(pointer)
        self.can_rewind = not (lib.llama_model_is_recurrent(pointer) or lib.llama_model_is_hybrid(pointer))

    def close(self) -> None:
        lib.llama_model_free(self.pointer)

    def metadata(self, key: str) -> str | None:
        """A value of the GGUF header as text; None where it has none."""
        size = 256
        while True:
            buffer: Any = ctypes.create_string_buffer(size)
            length = lib.llama_model_meta_val_str(self.pointer, key.encode(), buffer, size)
            if length < 0:
                return None
            if length < size:
                return bytes(buffer.raw[:length]).decode("utf-8", "replace")
            size = length + 1

    def template(self) -> str:
        """The chat template of the file; empty where it has none."""
        return self.metadata("tokenizer.chat_template") or ""

    def kv_bytes(self) -> int:
        """Bytes of KV cache a token needs at 16 bits, estimated from the header (MLA models: from
        key_length)."""
        arch = self.metadata("general.architecture") or ""
        layers = lib.llama_model_n_layer(self.pointer)
        heads = max(1, lib.llama_model_n_head(self.pointer))
        kv_heads = max(1, lib.llama_model_n_head_kv(self.pointer))
        width = lib.llama_model_n_embd(self.pointer) // heads
        key = int(self.metadata(f"{arch}.attention.key_length") or width)
        value = int(self.metadata(f"{arch}.attention.value_length") or width)
        return layers * kv_heads * (key + value) * 2


def _load_fault(path: Path) -> LoadFault:
    detail = last_error()
    if "alloc" in detail or "memory" in detail:
        return OutOfMemory(
            f"There is not enough memory to load {path.name}.",
            hint="Close other programs or choose a smaller model.",
        )
    return LoadFault(
        f"{path.name} cannot be loaded: {detail or 'llama.cpp does not understand it'}.",
        hint="The file may be truncated or of an unknown kind. Fetch it again: kimi-code models pull",
    )


class Context:
    """One KV cache and its compute buffers. Every method must be called from the thread that owns it."""

    def __init__(self, model: Model, options: ContextOptions) -> None:
        params = lib.llama_context_default_params()
        params.n_ctx = options.cells
        params.n_batch = params.n_ubatch = options.batch
        params.n_seq_max = options.sequences
        params.n_threads = params.n_threads_batch = options.threads
        params.kv_unified = True
        params.no_perf = True
        # On CPUs the flash kernel skips masked cells, which is what makes many sequences in one cache cheap.
        params.flash_attn_type = (
            lib.LLAMA_FLASH_ATTN_TYPE_AUTO if options.flash else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        _errors.clear()
        pointer = lib.llama_init_from_model(model.pointer, params)
        if pointer is None:
            raise OutOfMemory(
                f"There is not enough memory for a context of {options.cells} tokens.",
                hint="Start with a smaller context (--ctx), or choose a smaller model.",
            )
        self.pointer = pointer
        self.cells = lib.llama_n_ctx(pointer)
        self.options = options
        self.vocabulary_size = lib.llama_vocab_n_tokens(model.vocabulary)
        memory = lib.llama_get_memory(pointer)
        assert memory is not None
        self._memory = memory
        self._batch = _Batch(options.batch)

    def close(self) -> None:
        lib.llama_free(self.pointer)

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int], wanted: Sequence[int]
    ) -> Logits:
        """Evaluate one batch. `wanted`: ascending indices whose logits are returned, as a view (wanted,
        vocabulary).

        The view is valid until the next call and may be written to.
        """
        batch = self._batch.fill(tokens, positions, sequences, wanted)
        _errors.clear()
        outcome = lib.llama_decode(self.pointer, batch)
        if outcome != 0:
            why = "the KV cache is full" if outcome == 1 else last_error() or f"code {outcome}"
            raise EngineFault(f"A step of the model failed: {why}.")
        if not wanted:
            return np.empty((0, self.vocabulary_size), dtype=np.float32)
        return np.ctypeslib.as_array(
            lib.llama_get_logits(self.pointer), shape=(len(wanted), self.vocabulary_size)
        )

    def copy_sequence(self, source: int, target: int, end: int, start: int = 0) -> None:
        """Let `target` share the cells of `source` at positions [start, end)."""
        lib.llama_memory_seq_cp(self._memory, source, target, start, end)

    def remove(self, sequence: int, start: int = 0) -> bool:
        """Forget the positions from `start` on; False where this kind of model cannot."""
        return bool(lib.llama_memory_seq_rm(self._memory, sequence, start, -1))

    def save_range(self, sequence: int, start: int, end: int, scratch: int) -> bytes:
        """The state of the positions [start, end), bit for bit. `scratch` is the id of an empty sequence.

        A range that does not begin at 0 needs a model whose memory can be cut (not recurrent, not hybrid).
        """
        self.copy_sequence(sequence, scratch, end, start)
        size = lib.llama_state_seq_get_size(self.pointer, lib.llama_seq_id(scratch))
        buffer = (ctypes.c_uint8 * size)()
        written = lib.llama_state_seq_get_data(self.pointer, buffer, size, lib.llama_seq_id(scratch))
        self.remove(scratch)
        return memoryview(buffer)[:written].tobytes()

    def restore_range(self, sequence: int, state: bytes, start: int, end: int, scratch: int) -> bool:
        """Append saved positions [start, end) to a sequence that holds [0, start); False, and nothing
        changed, when the state does not fit. It needs free cells for all that the state holds."""
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        target = lib.llama_seq_id(scratch)
        read = lib.llama_state_seq_set_data(self.pointer, buffer, len(state), target)
        if read == len(state):
            self.copy_sequence(scratch, sequence, end, start)
        self.remove(scratch)
        return read == len(state)


class _Batch:
    """A llama_batch over numpy memory, so that filling it costs a few copies and no loop."""

    def __init__(self, size: int) -> None:
        self._token = np.zeros(size, dtype=np.int32)
        self._position = np.zeros(size, dtype=np.int32)
        self._count = np.ones(size, dtype=np.int32)
        self._sequence = np.zeros(size, dtype=np.int32)
        first = self._sequence.ctypes.data
        self._pointers = (first + np.arange(size, dtype=np.uintp) * self._sequence.itemsize).astype(np.uintp)
        self._logits = np.zeros(size, dtype=np.int8)
        self._batch = lib.llama_batch()
        kinds: dict[str, Any] = {field[0]: field[1] for field in lib.llama_batch._fields_}
        for name, array in (
            ("token", self._token),
            ("pos", self._position),
            ("n_seq_id", self._count),
            ("seq_id", self._pointers),
            ("logits", self._logits),
        ):
            setattr(self._batch, name, ctypes.cast(array.ctypes.data, kinds[name]))

    def fill(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int], wanted: Sequence[int]
    ) -> lib.llama_batch:
        count = len(tokens)
        self._token[:count] = tokens
        self._position[:count] = positions
        self._sequence[:count] = sequences
        self._logits[:count] = 0
        if wanted:
            self._logits[np.asarray(wanted)] = 1
        self._batch.n_tokens = count
        return self._batch
