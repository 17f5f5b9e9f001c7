"""What is asked of a tokenizer, and the plain one, which reads tokenizer.json without transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import tokenizers

TOKENIZER_CLASS = "TokenizersBackend"
"""Of transformers: all that it does stands in tokenizer.json. Others change what they find there."""
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
IGNORED = (
    "backend",
    "is_local",
    "local_files_only",
    "model_max_length",
    "padding_side",
    "clean_up_tokenization_spaces",
)
"""Settings that change no text's ids."""


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

    def __init__(self, text: str, config: Mapping[str, Any]) -> None:
        """
        Args:
            text: tokenizer.json.
            config: tokenizer_config.json, one that `reads_plainly` passes.
        """
        self._tokenizer = tokenizers.Tokenizer.from_str(text)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        bos = config.get("bos_token")
        self.bos_token_id = None if bos is None else self._tokenizer.token_to_id(bos)

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def decode(self, ids: Sequence[int], /, *, skip_special_tokens: bool) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def get_vocab(self) -> dict[str, int]:
        return self._tokenizer.get_vocab(with_added_tokens=True)

    def convert_ids_to_tokens(self, ids: int, /) -> str | None:
        return self._tokenizer.id_to_token(ids)


def reads_plainly(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> bool:
    """Whether transformers would make nothing else of a tokenizer than its file says.

    Args:
        config, tokenizer: contents of tokenizer_config.json and tokenizer.json.
    """
    known = {*SPECIAL, *IGNORED, "tokenizer_class", "extra_special_tokens"}
    if config.get("tokenizer_class") != TOKENIZER_CLASS or config.get("clean_up_tokenization_spaces"):
        return False
    if any(value for name, value in config.items() if name not in known):
        return False
    added = tokenizer.get("added_tokens")
    extra = config.get("extra_special_tokens") or []
    if not isinstance(added, list) or not isinstance(extra, list):
        return False
    there = [token.get("content") for token in added if isinstance(token, dict) and token.get("special") is True]
    named = [*(config[name] for name in SPECIAL if config.get(name) is not None), *extra]
    return all(name in there for name in named)
