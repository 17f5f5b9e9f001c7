"""How models of others write points: a module a format, each with the prompt that asks for it beside it.

`parse` of each takes an answer and the size of the photo as it was shown, and gives x, y in pixels of that; an answer
that holds no point is a ValueError.
"""

import re
from collections.abc import Callable
from importlib.resources import files
from string import Template

from talking_points.evaluation.pointing import molmo, moondream, pixels, qwen

Parse = Callable[[str, tuple[int, int]], tuple[float, float]]
FORMATS: dict[str, Parse] = {
    "molmo": molmo.parse,
    "qwen": qwen.parse,
    "moondream": moondream.parse,
    "pixels": pixels.parse,
}


def format_of_model(model: str) -> str:
    """The format that a model of this name writes; "pixels", which any model can be asked for, when none is known."""
    return next((name for name in FORMATS if name in model.lower()), "pixels")


def ask_for_point(name: str, text: str, shown_wh: tuple[int, int]) -> str:
    """The prompt that asks where a text's point is."""
    return prompt(name, width=shown_wh[0], height=shown_wh[1], text=text)


def prompt(name: str, **words: str | int) -> str:
    """The text of `<name>.txt` with its `$words` filled in."""
    return Template(_template(name)).substitute(words).strip()


def words_of_prompt(name: str, text: str) -> dict[str, str] | None:
    """The inverse of `prompt`: what its `$words` stand for in a text; None when the text is no such prompt."""
    pieces = re.split(r"\$(\w+)", _template(name).strip())
    pattern = "".join(f"(?P<{piece}>.+?)" if n % 2 else re.escape(piece) for n, piece in enumerate(pieces))
    found = re.fullmatch(pattern, text.strip(), re.DOTALL)
    return found.groupdict() if found else None


def _template(name: str) -> str:
    return files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
