"""A real hybrid GGUF model with random weights: attention beside short convolutions (arch lfm2), whose
memory cannot be cut in the middle."""

from pathlib import Path

import gguf
import numpy as np

from kimi_testing.tiny_model import CHATML, write_vocabulary

_WIDTH, _HIDDEN, _HEADS, _CACHE = 64, 128, 4, 3
_KV_HEADS = (0, 2, 0, 2)
"""By layer; 0: a convolution."""


def write_hybrid_model(path: Path, *, context: int = 2048) -> Path:
    """Four layers, two of them convolutions, with the byte vocabulary of the tiny model; returns `path`."""
    writer = gguf.GGUFWriter(path, "lfm2")
    writer.add_name("hybrid")
    writer.add_context_length(context)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(len(_KV_HEADS))
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(list(_KV_HEADS))
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_shortconv_l_cache(_CACHE)
    size = write_vocabulary(writer)
    writer.add_vocab_size(size)
    writer.add_chat_template(CHATML)
    _write_weights(writer, size, np.random.default_rng(3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_weights(writer: gguf.GGUFWriter, size: int, random: np.random.Generator) -> None:
    def add(name: str, *shape: int) -> None:
        weights = random.standard_normal(shape, dtype=np.float32) * (shape[-1] ** -0.5)
        writer.add_tensor(f"{name}.weight", weights.astype(np.float32))

    def ones(name: str, width: int = _WIDTH) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))

    head = _WIDTH // _HEADS
    add("token_embd", size, _WIDTH)
    ones("token_embd_norm")
    for layer, kv_heads in enumerate(_KV_HEADS):
        at = f"blk.{layer}"
        ones(f"{at}.attn_norm")
        ones(f"{at}.ffn_norm")
        add(f"{at}.ffn_gate", _HIDDEN, _WIDTH)
        add(f"{at}.ffn_up", _HIDDEN, _WIDTH)
        add(f"{at}.ffn_down", _WIDTH, _HIDDEN)
        if kv_heads:
            ones(f"{at}.attn_q_norm", head)
            ones(f"{at}.attn_k_norm", head)
            add(f"{at}.attn_q", _WIDTH, _WIDTH)
            add(f"{at}.attn_k", kv_heads * head, _WIDTH)
            add(f"{at}.attn_v", kv_heads * head, _WIDTH)
            add(f"{at}.attn_output", _WIDTH, _WIDTH)
        else:
            add(f"{at}.shortconv.conv", _WIDTH, _CACHE)
            add(f"{at}.shortconv.in_proj", 3 * _WIDTH, _WIDTH)
            add(f"{at}.shortconv.out_proj", _WIDTH, _WIDTH)
