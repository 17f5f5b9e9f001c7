"""What is asked of a tokenizer, and the plain one, which reads tokenizer.json without transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import tokenizers


class Tokenizer(Protocol):
    """Of transformers' tokenizers what the prompts use."""

    @property
    def bos_token_id(self) -> Any: ...

    def __call__(self, text: Any, *, add_special_tokens: bool) -> Any:
        """Token ids under "input_ids"."""

    def decode(self, ids: Any, /, *, skip_special_tokens: bool) -> Any: ...

    def get_vocab(self) -> dict[str, int]: ...

    def convert_ids_to_tokens(self, ids: int, /) -> Any: ...


class PlainTokenizer:
    """A `Tokenizer` out of tokenizer.json, for one text at a time."""

    def __init__(self, content: str, *, bos_token: str | None) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_str(content)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.bos_token_id = None if bos_token is None else self._tokenizer.token_to_id(bos_token)

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def decode(self, ids: Sequence[int], /, *, skip_special_tokens: bool) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def get_vocab(self) -> dict[str, int]:
        return self._tokenizer.get_vocab(with_added_tokens=True)

    def convert_ids_to_tokens(self, ids: int, /) -> str | None:
        return self._tokenizer.id_to_token(ids)
