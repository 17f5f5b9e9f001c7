from __future__ import annotations

import pytest

from talking_points.part_sides import has_side, without_side


@pytest.mark.parametrize(
    ("name", "sided", "without"),
    [
        ("left ear", True, "ear"),
        ("front left door", True, "front door"),
        ("right", True, ""),
        ("leftmost window", False, "leftmost window"),
        ("Left ear", True, "ear"),
        ("", False, ""),
    ],
)
def test_a_side_is_a_word_of_the_name(name: str, sided: bool, without: str) -> None:
    assert has_side(name) is sided
    assert without_side(name) == without
