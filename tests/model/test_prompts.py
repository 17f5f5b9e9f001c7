from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from talking_points.model.prompts import CHAT_TOKENS, SPECIAL_TOKENS, WORDING, Prompts
from tests.tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def uncased() -> Prompts:
    """Word pieces without a capital letter, as the small model's are."""
    special = ["<pad>", "[UNK]", *CHAT_TOKENS, *SPECIAL_TOKENS]
    letters = [*"abcdefghijklmnopqrstuvwxyz.?1:", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
    vocabulary = {token: k for k, token in enumerate([*special, *letters])}
    pieces = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", continuing_subword_prefix="##"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    pieces.add_special_tokens([AddedToken(one, special=True, normalized=False) for one in special])
    return Prompts(PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="[UNK]"))


@pytest.fixture(scope="module")
def cased() -> Prompts:
    return Prompts(tiny_tokenizer())


def test_where_there_are_no_capitals_sentences_begin_with_one(uncased: Prompts) -> None:
    ids = uncased.answer("the left shoe. is it on the Person? on the hood")
    assert uncased.decode(ids) == "The left shoe. Is it on the person? On the hood"
    assert uncased.decode([*ids, *ids]) == uncased.decode(ids)  # nothing of what follows the end


@pytest.mark.parametrize("text", ["the left shoe. near its top edge.", "The left shoe. near its top edge.", "a"])
def test_where_there_are_capitals_a_text_stays_as_it_was_written(text: str, cased: Prompts) -> None:
    assert cased.decode(cased.answer(text)) == text


def test_a_prompt_holds_its_question_and_what_varies(cased: Prompts) -> None:
    assert cased.describe().count(cased.mark_id) == cased.caption().count(cased.mark_id) == 1
    ids = cased.localize("  the left shoe ")
    assert ids.count(cased.seg_id) == 1 and cased.localize("the left shoe") == ids
    said = cased.tokenizer.decode(ids)
    assert "Please segment region1: the left shoe<|im_end|>" in said and said.endswith(WORDING[-1])
