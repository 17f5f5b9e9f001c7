"""What a stock vision tower makes of letterboxed squares."""

# B photos, L levels, N picture tokens, D width

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class SquareFeatures:
    """Picture tokens of B squares, row by row; a `bases.base.PhotoFeatures`."""

    levels_BLND: Tensor
    """What goes in at the tokens, then what is added there after each of the first blocks (DeepStack)."""

    @property
    def bytes(self) -> int:
        return self.levels_BLND.numel() * self.levels_BLND.element_size()

    @property
    def cells(self) -> int:
        """Along a side of the square."""
        return round(self.levels_BLND.shape[2] ** 0.5)

    @property
    def grid_BDhw(self) -> Tensor:
        """The tokens as they go in, at their places."""
        return self.levels_BLND[:, 0].transpose(1, 2).unflatten(-1, (self.cells, self.cells))

    def select(self, photos: Tensor) -> SquareFeatures:
        return SquareFeatures(levels_BLND=self.levels_BLND[photos])

    def photo(self, index: int) -> SquareFeatures:
        return SquareFeatures(levels_BLND=self.levels_BLND[index : index + 1].clone())

    def join(self, others: Sequence[SquareFeatures]) -> SquareFeatures:
        if not others:
            return self
        return SquareFeatures(levels_BLND=torch.cat([self.levels_BLND, *(one.levels_BLND for one in others)]))
