"""The prompts, token by token: the one place where their wording stands.

Image tokens stand first in both roles and what varies (point, text) last, so that everything before is shared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from talking_points.model.tokenizer import Tokenizer
from talking_points.samples import says_something

SPECIAL_TOKENS = ("[SEG]", "<p>", "</p>", "<region>", "<mark>")
"""Added after the tokenizer's own, in this order. Source: OMG-LLaVA _add_special_tokens."""
CHAT_TOKENS = ("<|im_start|>", "<|im_end|>")

_SENTENCE = re.compile(r"(?:^|[.!?]\s+)[a-z]")
MAX_TEXT_TOKENS = 512
"""Longest description that the localizer reads. Ours."""


class Prompts:
    """Prompts as token ids of one tokenizer. A base of another chat is a subclass with other words."""

    SEG, MARK, END = "[SEG]", "<mark>", "<|im_end|>"
    RESERVED: tuple[str, ...] = (*SPECIAL_TOKENS, *CHAT_TOKENS)
    """Tokens that the tokenizer must have."""
    START = "<|im_start|>user\n"
    ASK = "<|im_end|>\n<|im_start|>assistant\n"
    DESCRIBE = "\nThere are some marks: Mark 1 <mark>.\nPlease describe the point at mark 1 in detail."
    CAPTION = "\nThere are some marks: Mark 1 <mark>.\nWhat is at mark 1?"
    LOCALIZE = "\nPlease segment region1: {text}"
    FOUND = "<p> keypoint </p> [SEG]."

    def __init__(self, tokenizer: Tokenizer) -> None:
        vocabulary = tokenizer.get_vocab()
        missing = [name for name in self.RESERVED if name not in vocabulary]
        if missing:
            raise ValueError(f"the tokenizer has no {missing[0]} token; a talking-points checkpoint's tokenizer does")
        ids = {name: vocabulary[name] for name in self.RESERVED}
        self.tokenizer = tokenizer
        self.seg_id: int = ids[self.SEG]
        self.mark_id: int = ids[self.MARK]
        self.end_id: int = ids[self.END]
        self._special_ids = set(ids.values())
        self._is_uncased = tokenizer.decode(self._encode("A"), skip_special_tokens=True).strip() == "a"

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _encode_plain(self, text: str) -> list[int]:
        """Ids of a user's text; a special token's name in it is an error."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("the text is not valid Unicode (a lone surrogate); type it again") from None
        ids = self._encode(text)
        if self._special_ids.intersection(ids):
            first = next(i for i in ids if i in self._special_ids)
            found = self.tokenizer.convert_ids_to_tokens(first)
            raise ValueError(f"the text holds {found}, which is reserved for the model; leave it out")
        return ids

    def prefix(self) -> list[int]:
        """What stands before the image tokens."""
        bos = self.tokenizer.bos_token_id
        return ([] if bos is None else [bos]) + self._encode(self.START)

    def describe(self) -> list[int]:
        """After the image tokens: the descriptor's question, holding one <mark>."""
        return self._encode(self.DESCRIBE + self.ASK)

    def caption(self) -> list[int]:
        """The base's question about an object or part, holding one <mark>."""
        return self._encode(self.CAPTION + self.ASK)

    def answer(self, text: str) -> list[int]:
        """A description as the assistant gives it."""
        return self._encode_plain(text) + [self.end_id]

    def localize(self, text: str) -> list[int]:
        """After the image tokens: the localizer's question and forced answer, holding one [SEG] (paper 3.3).

        Raises:
            ValueError: an empty text, a reserved token in it, or more than MAX_TEXT_TOKENS tokens.
        """
        if not says_something(text):
            raise ValueError("the text is empty; describe the point in words")
        ids = self._encode_plain(self.LOCALIZE.format(text=text.strip()))
        if len(ids) > MAX_TEXT_TOKENS:
            raise ValueError(f"the text has {len(ids)} tokens, the model reads {MAX_TEXT_TOKENS}; shorten it")
        return ids + self._encode(self.ASK + self.FOUND)

    def is_readable(self, text: str) -> bool:
        """Whether `localize` takes it."""
        try:
            self.localize(text)
        except ValueError:
            return False
        return True

    def word_ids(self, text: str) -> list[int]:
        """Ids of a text's tokens, by itself."""
        return self._encode_plain(text)

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._encode(text))

    def cut(self, text: str, most: int) -> str:
        """A text without what follows its first tokens. most: how many stay."""
        ids = self._encode(text)
        return text if len(ids) <= most else self.decode(ids[:most])

    def decode(self, ids: Sequence[int]) -> str:
        """Generated ids to text, the end token and what follows left out.

        Where a tokenizer knows no capital letters, sentences begin with one all the same.
        """
        ids = list(ids)
        if self.end_id in ids:
            ids = ids[: ids.index(self.end_id)]
        text = str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()
        return _SENTENCE.sub(lambda start: start.group().upper(), text) if self._is_uncased else text


WORDING = (
    Prompts.START,
    Prompts.ASK,
    Prompts.DESCRIBE,
    Prompts.CAPTION,
    Prompts.LOCALIZE.format(text=""),
    Prompts.FOUND,
)
"""All words of the prompts, for training a tokenizer."""
