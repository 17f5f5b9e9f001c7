"""The side in a part's name: "left headlight" is a headlight on the left side of the car, as seen by the car."""

from __future__ import annotations

SIDES = ("left", "right")
"""In the name of a part they are the object's own sides, as if seen by the object; everywhere else the picture's."""


def has_side(part_name: str) -> bool:
    """Whether a part's name says on which of the object's own sides it is."""
    return any(word.lower() in SIDES for word in part_name.split(" "))


def without_side(part_name: str) -> str:
    """A part's name without its side, wherever in it that stands.

    Example:
        >>> without_side("front left door")
        'front door'
    """
    return " ".join(word for word in part_name.split(" ") if word.lower() not in SIDES)
