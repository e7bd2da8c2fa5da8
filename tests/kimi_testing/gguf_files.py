"""Small GGUF files for tests, written with the package of the format: well-formed, but they cannot talk."""

from pathlib import Path

import numpy as np
from gguf import GGUFWriter


def tiny_gguf(path: Path, *, tokens: int = 40, rows: int = 4, seed: int = 0) -> Path:
    """Write a valid file of a few kilobytes: two tensors of `rows` rows, a vocabulary, a chat template."""
    writer = GGUFWriter(str(path), "llama")
    writer.add_name("Tiny")
    writer.add_context_length(2048)
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_head_count(8)
    writer.add_head_count_kv([2, 4])
    writer.add_expert_count(16)
    writer.add_expert_used_count(2)
    writer.add_file_type(1)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"token {number}" for number in range(tokens)])
    writer.add_token_types([1] * tokens)
    writer.add_chat_template("{{ messages[0].content }}")
    random = np.random.default_rng(seed)
    writer.add_tensor("token_embd.weight", random.random((rows, 64), dtype=np.float32))
    writer.add_tensor("blk.0.attn_q.weight", random.random((rows, 64)).astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
