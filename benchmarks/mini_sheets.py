"""Sheets of a model's own texts for somebody who looks, a person or a large vision-language model, and their answers.

Two folders, to be read by two who have not seen the other: `find` shows each photo plain and under a grid, without the
point, beside the text; `judge` shows the point. `key.jsonl`, which neither sees, has the points. And sheets of points
without a text, for somebody who names what they are on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mini_data import read_lines
from mini_scores import located_figures, share
from PIL import Image, ImageDraw, ImageFont

from talking_points.evaluation.metrics import normalised_errors
from talking_points.evaluation.samples import Sample

LONG_SIDE = 760
"""Of the shown photo, in pixels."""
MARGIN = 34
STEP = 10
"""Per cent of the photo between lines of the grid."""
NEAR_SHARE = 0.09
"""Of the photo's longer side that the enlargement reaches around the point."""
WRONG = ("name", "side", "colour", "place", "other")

FIND_TASK = """# Find points from texts
For each line of texts.jsonl view its sheet: the photo plain, and the same photo under a grid of per cent of its width
and height. The text describes one pixel. Write one line a sheet to a file:
{"n": 0, "x": 43.5, "y": 61}
x per cent of the photo's width from its left border, y per cent of its height from the top; as exact as the text
allows, read off between the lines. Where the text is false, answer what it most likely means. Look at nothing but this
folder.
"""
JUDGE_TASK = """# Is anything wrong with these texts?
For each line of texts.jsonl view its sheet: the photo with one point ringed, and its surroundings enlarged. The text is
meant to describe the pixel in the middle of the ring. Write one line a sheet to a file:
{"n": 0, "wrong": ["side"], "colour": true}
"wrong": all that is false, of "name" (the object or the part), "side" (left and right of bodies and cars are their
own), "colour", "place" (in the photo, the object or the part) and "other"; [] where nothing is. What is only vague is
not wrong.
"colour": whether the text names a colour of what is at the point.
"""
NAME_TASK = """# What is this point on?
For each line of points.jsonl view its sheet: the photo with one point ringed, and its surroundings enlarged. Say what
the pixel in the middle of the ring is on, by the names of the line's set in names.json, as exactly as they allow. Left
and right of bodies and cars are their own. Write one line a sheet to a file:
{"n": 0, "object": "person", "part": "left shoe"}
"part" is null where none of the object's parts fits, "object" where the point is on nothing that is named there. Look
at nothing but this folder.
"""


def write_points(out: Path, samples: Sequence[Sample], names: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """Write sheets of points for somebody who names what they are on. names: set to objects to their parts.

    Raises:
        ValueError: the folder is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; give another folder, or remove it")
    out.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples):
        judge_sheet(sample.open_photo(), sample.point_px).save(out / f"{number:03d}.png")
    (out / "TASK.md").write_text(NAME_TASK, encoding="utf-8")
    (out / "names.json").write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
    _write_lines(out / "points.jsonl", _asked(samples))


def _asked(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    return [
        {"n": n, "sheet": f"{n:03d}.png", "set": one.source, "photo": one.photo_id, "point_px": list(one.point_px)}
        for n, one in enumerate(samples)
    ]


def read_names(
    out: Path, answers: Path, samples: Sequence[Sample], names: Mapping[str, Mapping[str, Sequence[str]]]
) -> list[str]:
    """A reader's names of points, each as a text that claims them; "" where there is none.

    Args:
        out: folder of the sheets, as `write_points` wrote it for the same samples and names.
        answers: the reader's file.

    Raises:
        FileNotFoundError, ValueError: a file is missing, the sheets are of other points, or an answer is not as the
            task says; names the line.
    """
    if read_lines(out / "points.jsonl") != _asked(samples):
        raise ValueError(f"the sheets in {out} are of other points; give --split, --photos and --points as for them")
    texts: dict[int, str] = {}
    for number, line in enumerate(read_lines(answers), start=1):
        where = f"{answers}, line {number}"
        place, thing, part = (line.get(key) for key in ("n", "object", "part"))
        if not (isinstance(place, int) and 0 <= place < len(samples)) or place in texts:
            raise ValueError(f"{where}: n is {place!r}; allowed: 0 to {len(samples) - 1}, each once")
        known = names[samples[place].source]
        if not (thing is None or thing in list(known)) or not (part is None or part in known.get(thing, ())):
            raise ValueError(
                f"{where}: object and part are {thing!r}, {part!r}; allowed: names of {out}/names.json, null"
            )
        owned = f"{thing}'s {part}" if part else thing
        texts[place] = f"on the {owned}" if thing else ""
    return [texts.get(n, "") for n in range(len(samples))]


def write_sheets(out: Path, samples: Sequence[Sample], texts: Sequence[str], model: str) -> None:
    """Write `find`, `judge` and `key.jsonl` into a folder.

    Raises:
        ValueError: the folder holds sheets already.
    """
    key = out / "key.jsonl"
    if key.exists():
        raise ValueError(f"{out} holds sheets already; give another folder, or remove it")
    asked, known = [], []
    for number, (sample, text) in enumerate(zip(samples, texts, strict=True)):
        sheet = f"{number:03d}.png"
        photo = sample.open_photo()
        for folder, drawn in (("find", find_sheet(photo)), ("judge", judge_sheet(photo, sample.point_px))):
            (out / folder).mkdir(parents=True, exist_ok=True)
            drawn.save(out / folder / sheet)
        asked.append({"n": number, "sheet": sheet, "text": text})
        point = {"n": number, "photo": sample.photo_id, "size_wh": sample.size_wh, "point_px": sample.point_px}
        known.append({**point, "object": sample.object_name, "part": sample.part_name, "model": model, "text": text})
    for folder, task in (("find", FIND_TASK), ("judge", JUDGE_TASK)):
        (out / folder / "TASK.md").write_text(task, encoding="utf-8")
        _write_lines(out / folder / "texts.jsonl", asked)
    _write_lines(key, known)


def _write_lines(path: Path, lines: Sequence[Any]) -> None:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def find_sheet(photo: Image.Image) -> Image.Image:
    """A photo, and beside it the same under a grid of 10% with numbers; nothing tells where any point is."""
    shown = _enlarged(photo)
    width, height = shown.size
    sheet = Image.new("RGB", (2 * width + 3 * MARGIN, height + 2 * MARGIN), "white")
    sheet.paste(shown, (MARGIN, MARGIN))
    left = width + 2 * MARGIN
    sheet.paste(shown, (left, MARGIN))
    draw, font = ImageDraw.Draw(sheet, "RGBA"), ImageFont.load_default(15)
    for share_of_side in range(0, 101, STEP):
        x, y = left + width * share_of_side / 100, MARGIN + height * share_of_side / 100
        # A dark line beside a light one is seen on any photo.
        for shift, colour in ((0, (255, 255, 255, 190)), (1, (0, 0, 0, 190))):
            draw.line([(x + shift, MARGIN), (x + shift, MARGIN + height)], colour)
            draw.line([(left, y + shift), (left + width, y + shift)], colour)
        draw.text((x, MARGIN / 2), str(share_of_side), "black", font, anchor="mm")
        draw.text((left - 5, y), str(share_of_side), "black", font, anchor="rm")
    return sheet


def judge_sheet(photo: Image.Image, point_px: tuple[float, float]) -> Image.Image:
    """A photo with the point ringed, and its surroundings enlarged."""
    shown = _enlarged(photo)
    scale = shown.width / photo.width
    side = LONG_SIDE // 2
    sheet = Image.new("RGB", (shown.width + side + 3 * MARGIN, max(shown.height, side) + 2 * MARGIN), "white")
    sheet.paste(shown, (MARGIN, MARGIN))
    left = shown.width + 2 * MARGIN
    reach, (x, y) = NEAR_SHARE * max(photo.size), point_px
    box = (x - reach, y - reach, x + reach, y + reach)
    near = photo.transform((side, side), Image.Transform.EXTENT, box, Image.Resampling.BICUBIC)
    sheet.paste(near, (left, MARGIN))
    draw = ImageDraw.Draw(sheet)
    for cx, cy, radius in (
        (MARGIN + x * scale, MARGIN + y * scale, 9),
        (left + side / 2, MARGIN + side / 2, 14),
    ):
        for wider, width, colour in ((2, 5, "white"), (0, 2, "#e3120b")):
            reach = radius + wider
            draw.ellipse((cx - reach, cy - reach, cx + reach, cy + reach), outline=colour, width=width)
    return sheet


def _enlarged(photo: Image.Image) -> Image.Image:
    scale = LONG_SIDE / max(photo.size)
    return photo.resize([max(1, round(side * scale)) for side in photo.size], Image.Resampling.LANCZOS)


def read_sheets(out: Path, answers: Path) -> dict[str, Any]:
    """Scores of a reader's answers about sheets that `write_sheets` wrote.

    A text that was not answered is a miss. Where a line has `wrong`, it is of a reader who saw the points.

    Raises:
        FileNotFoundError, ValueError: as `read_answers`.
    """
    key, found, wrong, colour = read_answers(out, answers)
    result: dict[str, Any] = {"texts": len(key), "model": key[0]["model"]}
    if not np.isnan(found).all():
        result["found"] = _found_rows(key, found)
    if wrong:
        result["judged"] = _judged(key, wrong, colour)
    return result


def read_answers(
    out: Path, answers: Path
) -> tuple[list[dict[str, Any]], np.ndarray, dict[int, list[str]], dict[int, bool]]:
    """The key of sheets, and a reader's answers about them.

    Returns:
        the lines of `key.jsonl`; (N, 2) where a reader found them, in per cent of the photo, NaN where there is no
        answer; what is wrong with those that were judged; whether these name a colour.

    Raises:
        FileNotFoundError, ValueError: a file is missing, or an answer is not as the task says; names the line.
    """
    key = read_lines(out / "key.jsonl")
    found = np.full((len(key), 2), np.nan)
    wrong: dict[int, list[str]] = {}
    colour: dict[int, bool] = {}
    for number, line in enumerate(read_lines(answers), start=1):
        place = line.get("n")
        if not (isinstance(place, int) and 0 <= place < len(key)):
            raise ValueError(f"{answers}, line {number}: n is {place!r}; allowed: 0 to {len(key) - 1}")
        if "x" in line or "y" in line:
            found[place] = _per_cent(line, f"{answers}, line {number}")
        if "wrong" in line:
            if place in wrong:
                raise ValueError(f"{answers}, line {number}: n {place} is judged twice")
            if not (isinstance(line["wrong"], list) and all(one in WRONG for one in line["wrong"])):
                raise ValueError(f"{answers}, line {number}: wrong is {line['wrong']}; allowed: {', '.join(WRONG)}")
            wrong[place], colour[place] = line["wrong"], bool(line.get("colour"))
    if wrong and (missing := [k for k in range(len(key)) if k not in wrong]):
        raise ValueError(f"{answers} judges {len(wrong)} of {len(key)} sheets; the first without is {missing[0]}")
    if np.isnan(found).all() and not wrong:
        raise ValueError(f'{answers} answers nothing; expected lines such as {{"n": 0, "x": 43.5, "y": 61}}')
    return key, found, wrong, colour


def _per_cent(line: dict[str, Any], where: str) -> tuple[float, float]:
    values = line.get("x"), line.get("y")
    if not all(isinstance(one, int | float) and math.isfinite(one) and 0 <= one <= 100 for one in values):
        raise ValueError(f"{where}: x and y are {values}; expected per cent of the photo, 0 to 100")
    x, y = values
    return float(x or 0), float(y or 0)


def _found_rows(key: Sequence[dict[str, Any]], found: np.ndarray) -> list[dict[str, Any]]:
    sizes = np.array([one["size_wh"] for one in key], float)
    errors = normalised_errors(found / 100 * sizes, [one["point_px"] for one in key], sizes)
    photos = [one["photo"] for one in key]
    sets = np.array([photo.partition("/")[0] for photo in photos])
    rows = []
    for name in ("all", *dict.fromkeys(sets.tolist())):
        some = np.flatnonzero((sets == name) | (name == "all"))
        unanswered = int(np.isinf(errors[some]).sum())
        figures = located_figures(errors[some], [photos[k] for k in some])
        rows.append({"set": name, "n": len(some), "unanswered": unanswered, **figures})
    return rows


def _judged(key: Sequence[dict[str, Any]], wrong: dict[int, list[str]], colour: dict[int, bool]) -> dict[str, Any]:
    places = sorted(wrong)
    photos = [key[k]["photo"] for k in places]
    coloured = [k for k in places if colour[k]]
    return {
        "n": len(places),
        "nothing_wrong": share([not wrong[k] for k in places], photos),
        "wrong": {one: share([one in wrong[k] for k in places], photos) for one in WRONG},
        "names_a_colour": share([colour[k] for k in places], photos),
        "colour_right": share([("colour" not in wrong[k]) for k in coloured], [key[k]["photo"] for k in coloured]),
    }
