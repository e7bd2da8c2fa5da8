"""A real GGUF model with random weights, made in a second: for tests of everything but what a model says."""

from pathlib import Path

import gguf
import numpy as np

CHATML = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n' }}{%- endif %}
    {%- for tool in tools %}{{- tool | tojson + '\\n' }}{%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role != 'system' or not loop.first %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- '\\n<tool_call>\\n' + (call.function | tojson) + '\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TAGS = ("<tool_call>", "</tool_call>")
_MERGES = ("t h", "th e", "i n", "a n", "e r")
_WIDTH, _HIDDEN, _LAYERS, _HEADS, _KV_HEADS = 64, 128, 2, 4, 2


def write_tiny_model(
    path: Path,
    *,
    template: str = CHATML,
    context: int = 2048,
    seed: int = 1,
    control: tuple[str, ...] = (),
) -> Path:
    """A two-layer llama of 80,000 weights with a byte vocabulary, and more `control` tokens if a family
    has some; returns `path`."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    size = write_vocabulary(writer, control)
    writer.add_vocab_size(size)
    if template:
        writer.add_chat_template(template)
    _write_weights(writer, size, np.random.default_rng(seed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_vocabulary(writer: gguf.GGUFWriter, control: tuple[str, ...] = ()) -> int:
    """Bytes, a few merges and ChatML's tokens; returns how many tokens that is."""
    tokens = [*_byte_letters(), *(merge.replace(" ", "") for merge in _MERGES)]
    kinds = [gguf.TokenType.NORMAL] * len(tokens)
    tokens += [*SPECIAL, *TAGS, *control]
    kinds += [gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.USER_DEFINED] * len(TAGS)
    kinds += [gguf.TokenType.CONTROL] * len(control)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(list(_MERGES))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    return len(tokens)


def _byte_letters() -> list[str]:
    """The 256 letters that byte-level BPE writes bytes as: themselves where printable, shifted up
    otherwise."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable}
    letters |= {byte: chr(256 + at) for at, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def _write_weights(writer: gguf.GGUFWriter, size: int, random: np.random.Generator) -> None:
    def add(name: str, *shape: int) -> None:
        weights = random.standard_normal(shape, dtype=np.float32) * (shape[-1] ** -0.5)
        writer.add_tensor(f"{name}.weight", weights.astype(np.float32))

    def ones(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(_WIDTH, dtype=np.float32))

    kv = _WIDTH // _HEADS * _KV_HEADS
    add("token_embd", size, _WIDTH)
    add("output", size, _WIDTH)
    ones("output_norm")
    for layer in range(_LAYERS):
        at = f"blk.{layer}"
        ones(f"{at}.attn_norm")
        ones(f"{at}.ffn_norm")
        add(f"{at}.attn_q", _WIDTH, _WIDTH)
        add(f"{at}.attn_k", kv, _WIDTH)
        add(f"{at}.attn_v", kv, _WIDTH)
        add(f"{at}.attn_output", _WIDTH, _WIDTH)
        add(f"{at}.ffn_gate", _HIDDEN, _WIDTH)
        add(f"{at}.ffn_up", _HIDDEN, _WIDTH)
        add(f"{at}.ffn_down", _WIDTH, _HIDDEN)
