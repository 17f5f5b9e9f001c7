"""Prompts in Qwen's chat, token by token.

No token is added to the model: tokens of Qwen2-VL's way to point, which Qwen3-VL does not use any more, stand for ours.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from talking_points.model.prompts import Prompts
from talking_points.model.tokenizer import Tokenizer

DIGITS = 3
"""Of a coordinate: thousandths of the square, as Qwen3-VL itself writes them, zeros in front."""
_NUMBER = "<|quad_start|>" * DIGITS


class QwenPrompts(Prompts):
    """What stands behind the photo's tokens; those before them are `START`'s, and the base's own."""

    SEG, MARK = "<|box_end|>", "<|box_start|>"
    DIGIT = "<|quad_start|>"
    """A place for a digit of the point's numbers, so that all prompts have one length."""
    RESERVED = (SEG, MARK, DIGIT, "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
    DESCRIBE = f"\nPoint {MARK} is at [{_NUMBER}, {_NUMBER}]. Describe what lies there, so that it can be found again."
    CAPTION = f"\nPoint {MARK} is at [{_NUMBER}, {_NUMBER}]. What lies there?"
    LOCALIZE = "\nFind the point of this description: {text}"
    FOUND = f"The point is {SEG}"

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        vocabulary = tokenizer.get_vocab()
        # Of its own, as the flag is a state of the tokenizer, and servers read texts in many threads.
        plain: Any = deepcopy(tokenizer)
        plain.split_special_tokens = True
        self._plain = plain
        self.digit_id: int = vocabulary[self.DIGIT]
        self.ids_of_digits: list[int] = []
        for digit in "0123456789":
            ids = self._encode(digit)
            if len(ids) != 1:
                raise ValueError(f"the tokenizer writes the digit {digit} in {len(ids)} tokens; a Qwen's has one each")
            self.ids_of_digits += ids

    def _encode_plain(self, text: str) -> list[int]:
        """Nothing in it is special, whatever people write."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("the text is not valid Unicode (a lone surrogate); type it again") from None
        return list(self._plain(text, add_special_tokens=False)["input_ids"])
