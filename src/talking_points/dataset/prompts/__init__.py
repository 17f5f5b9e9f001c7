"""The prompts of the language models that write texts, as text files to read and to change."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from string import Template

PROMPT_NAMES = (
    "object",
    "local",
    "generate",
    "refine",
    "repair",
    "dialect_paper",
    "dialect_coarse",
    "dialect_place-free",
    "dialect_short",
)


@cache
def _read(name: str) -> str:
    return files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8")


def fill_prompt(name: str, **words: str) -> str:
    """The text of `<name>.txt` with its `$words` filled in; each must be given."""
    return Template(_read(name)).substitute(words).strip()


def prompts_sha256() -> str:
    """One hash over all prompts: equal hashes asked equal questions."""
    whole = hashlib.sha256()
    for name in sorted(PROMPT_NAMES):
        whole.update(f"{name}\n{_read(name)}\n".encode())
    return whole.hexdigest()
