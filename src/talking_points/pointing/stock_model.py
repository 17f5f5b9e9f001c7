"""A stock model in this process, asked about points: a photo is encoded and read once, questions go side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from talking_points.bases.stock import Seen, StockBase, Suffix, generate, read_prefix
from talking_points.memory import room_for_batch
from talking_points.model.shared_prefix import SharedPrefix
from talking_points.pointing.encoding import PhotoCache
from talking_points.pointing.pairs import OnText, in_batches
from talking_points.pointing.stock import Question, Refusal

PICTURES_AT_ONCE = 16
"""Pictures that go through the vision encoder together."""


class StockAsker:
    """A `stock.Asker`."""

    shares_photos = True
    ring_side_px = 512
    """The photo itself is shown beside the one with the ring."""

    def __init__(self, base: StockBase, *, cache: PhotoCache | None = None, memory_bytes: int | None = None) -> None:
        """
        Args:
            base: the model.
            cache: where what is computed of photos is kept; None: one of its own.
            memory_bytes: room for a batch; None: `memory.room_for_batch`.
        """
        self.base = base
        self.cache = PhotoCache() if cache is None else cache
        self.memory_bytes = memory_bytes
        self.name = base.name

    def shown_wh(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """Size in which the model sees a whole photo, in pixels."""
        return self.base.shown_wh(size_wh)

    @torch.inference_mode()
    def ask(self, questions: Sequence[Question], *, on_text: OnText | None = None) -> list[str | Refusal]:
        """Answers in the order of the questions."""
        answers: list[str | Refusal] = []

        def work(places: Sequence[int]) -> list[str]:
            return self._ask([questions[place] for place in places], places, on_text)

        # Of one photo side by side.
        order = sorted(range(len(questions)), key=lambda place: _key(questions[place]))
        answered = dict(zip(order, in_batches(order, self._at_once(questions), work), strict=True))
        answers += [answered[place] for place in range(len(questions))]
        return answers

    def _at_once(self, questions: Sequence[Question]) -> int:
        """Questions that fit into memory together, the longest of them counted for each."""
        room = room_for_batch(self.base.device) if self.memory_bytes is None else self.memory_bytes
        longest = max((self._tokens(one) for one in questions), default=1)
        # Keys and values in the batch's cache, and of the photo alone and padded, where each question has its own.
        return max(1, room // (3 * longest * self.base.token_bytes))

    def _tokens(self, question: Question) -> int:
        """At most so many: of photo, pictures, words and answer."""
        assert question.photo is not None
        sizes = [self.base.shown_wh(question.photo.size_wh), *(picture.size for picture in question.pictures)]
        return sum(width * height for width, height in sizes) // 32**2 + len(question.words) + question.longest + 64

    def _ask(self, questions: Sequence[Question], places: Sequence[int], on_text: OnText | None) -> list[str]:
        keys = [_key(one) for one in questions]
        photos = dict(zip(keys, questions, strict=True))
        prefixes = {key: self._prefix(one) for key, one in photos.items()}
        own = iter(self._look([picture for one in questions for picture in one.pictures], whole=False))
        suffixes = []
        for one in questions:
            pictures = tuple(next(own) for _ in one.pictures)
            suffixes.append(Suffix(ids=self.base.suffix_ids(pictures, one.words), pictures=pictures))

        def told(row: int, ids: list[int]) -> None:
            assert on_text is not None
            on_text(places[row], self.base.decode(ids))

        order = list(prefixes)
        answers = generate(
            self.base,
            [prefixes[key] for key in order],
            [order.index(key) for key in keys],
            suffixes,
            longest=max(one.longest for one in questions),
            on_token=None if on_text is None else told,
        )
        return [self.base.decode(ids).strip() for ids in answers]

    def _prefix(self, question: Question) -> SharedPrefix:
        """A photo's, from the cache or read now; its features are kept apart, as they are a twentieth of it."""
        key = _key(question)
        prefix: SharedPrefix | None = self.cache.get("prefix", key)
        if prefix is None:
            seen: Seen | None = self.cache.get("features", key)
            if seen is None:
                assert question.photo is not None
                [seen] = self._look([question.photo.picture], whole=True)
                self.cache.put("features", key, seen)
            prefix = read_prefix(self.base, seen)
            self.cache.put("prefix", key, prefix)
        return prefix

    def _look(self, pictures: Sequence[Image.Image], *, whole: bool) -> list[Seen]:
        return in_batches(pictures, PICTURES_AT_ONCE, lambda some: self.base.look(some, whole=whole))


def _key(question: Question) -> bytes:
    assert question.photo is not None
    return question.photo.key
