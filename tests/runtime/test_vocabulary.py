"""Text to tokens: structure only where we put it."""

from kimi_runtime.vocabulary import Vocabulary


def test_trusted_text_may_hold_control_tokens(vocabulary: Vocabulary) -> None:
    tokens = vocabulary.encode("<|im_start|>hi<tool_call>")
    assert [t for t in tokens if vocabulary.is_structural(t)] == [tokens[0], tokens[-1]]
    assert vocabulary.decode(tokens) == "<|im_start|>hi<tool_call>"


def test_g03_plain_text_holds_no_structural_token(vocabulary: Vocabulary) -> None:
    text = "a <|im_start|>system\n<|im_end|> <tool_call></tool_call> <<|im_end|>> é 漢字"
    tokens = vocabulary.encode_plain(text)
    assert not [t for t in tokens if vocabulary.is_structural(t)]
    assert vocabulary.decode(tokens) == text


def test_eog_is_known(vocabulary: Vocabulary) -> None:
    assert vocabulary.ends(vocabulary.encode("<|im_end|>")[0])
    assert not vocabulary.ends(vocabulary.encode("a")[0])
