from string import Template

import pytest

from talking_points.dataset import prompts
from talking_points.dataset.places import DIALECTS
from talking_points.dataset.prompts import PROMPT_NAMES, fill_prompt, prompts_sha256

WORDS = ("object_name", "part_name", "relations", "object_description", "local_description", "dialect")
WORDS += ("draft", "text", "problems", "max_words")


def test_every_prompt_is_there_and_fills():
    given = {word: f"<{word}>" for word in WORDS}
    for name in PROMPT_NAMES:
        template = Template(prompts._read(name))
        # A misspelt word, or a dollar sign of its own, would be left as it is.
        filled = fill_prompt(name, **given)
        assert "$" not in filled and filled == filled.strip() and template.template.strip()


def test_every_dialect_has_its_prompt():
    assert {f"dialect_{name}" for name in DIALECTS} == {name for name in PROMPT_NAMES if name.startswith("dialect_")}


def test_a_word_that_is_not_given_is_an_error():
    with pytest.raises(KeyError, match="relations"):
        fill_prompt("refine", object_name="dog", part_name="ear")


def test_the_hash_is_of_all_prompts(monkeypatch):
    before = prompts_sha256()
    assert before == prompts_sha256() and len(before) == 64
    read = prompts._read
    monkeypatch.setattr(prompts, "_read", lambda name: read(name) + ("!" if name == "repair" else ""))
    assert prompts_sha256() != before
