"""Makes docs/gallery.md and docs/gallery/: what `mini` says and finds on forty photos, good and bad.

    python docs/gallery.py --data DATA

DATA is the folder of the labelled photos that benchmarks/mini.py measures on, which are outside the repository. Equal
arguments draw equal photos, points and texts. Only photos that may be shown with their attribution are drawn.
tests/test_gallery.py holds the page to the answers and to the pictures.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from talking_points import open_photo
from talking_points.demo import demo_photos
from talking_points.evaluation.figures import mark_photo
from talking_points.files import read_json, write_whole
from talking_points.photos import encode_photo
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.points import Point
from talking_points.progress import one_line
from talking_points.samples import PhotoPoint, absence, percent, points_as_json

HERE = Path(__file__).parent
PAGE, PICTURES = HERE / "gallery.md", HERE / "gallery"
ABSENT = HERE.parent / "benchmarks" / "data" / "absent.jsonl"
PHOTOS = 40
SEED = 0
LONG_SIDE, QUALITY = 420, 80
"""Of a picture: pixels, and of JPEG."""
NEAR = 0.1
"""Found: less than this away, in the photo's normalised coordinates."""

TITLES = {
    "demo": "The photos of the demo",
    "coco_people": "People",
    "coco_objects": "Everyday objects",
    "pets": "Cats and dogs",
    "livestock": "Farm animals",
    "facades": "Buildings",
}
"""In the page's order. Photos of clothing and cars are not shown: nothing says that they may be."""
CREDITS = {
    "pets": "Oxford-IIIT Pet, Parkhi et al. 2012, [CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/)",
    "livestock": "Yiwei Wang et al., LivestockKeypoints, v1.0, licensed under "
    "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)",
    "facades": "[a-hwang/building-facade-segmentation](https://github.com/a-hwang/building-facade-segmentation), "
    "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)",
}
COCO_LICENCES = {
    4: "[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/)",
    5: "[CC BY-SA 2.0](https://creativecommons.org/licenses/by-sa/2.0/)",
}
"""Of COCO's eight those that let a changed photo be shown by anybody: 1 to 3 are non-commercial, 6 allows no changes,
7 and 8 are no licences."""
OF_THE_DEMO = (("livestock", "00018.jpg"), ("facades", "00040.jpg"))
"""Test photos that are the demo's cow and building."""

HEAD = """# Gallery

<!-- Written by docs/gallery.py: change that, not this. -->

What [`mini`](faq.md#what-does-mini-know), the model that comes with the package, says and finds on forty photos, good
and bad.

{counts}

Nothing is picked by hand but the five photos of the demo and what is asked of them. The others are test photos, drawn
by a seed ({seed}), evenly over the sets; so are the points and the texts. No answer is left out, and they stand by set,
not by success. Only photos that may be shown and that have texts are drawn: five of people are all there are, and those
of clothing and cars are not shown. These are few; [Results](results.md) has the figures of all test photos.

1. **Described**: `mini`'s own words for a point (star), and where they lead back to (ring). They name a place in the
   photo and are found mostly by that place: a ring near its star does not mean that the words are true.
2. **Asked for**: a text of another point (star), at length or in passing, and where `mini` finds it (ring). These texts
   are model-written, by a large model that looked at the photo; those of the demo are the project's. A text in passing
   often means a whole thing, and any place on it would do: the distance is to the one point.
3. **Not there**, on some: a text of a thing that the photo does not show, model-written too
   (`benchmarks/data/absent.jsonl`).

Distances are in per cent of the photo: 100 times the distance in its normalised coordinates. If `mini` thinks it less
likely than not that a thing is there, it says that the thing is not in the photo, and no ring is drawn. If the thing is
there all the same, the distance to its likeliest place is measured.

```sh
python docs/gallery.py --data $DATA
```

The pictures are resized, and points are drawn on them. Each keeps the licence of its photo, share-alike included (of
the demo's: [TERMS.md](../src/talking_points/demo_photos/TERMS.md)); they are no part of what the project's licence
covers. COCO's licences are as its annotations state them. The answers are in
[answers.jsonl](gallery/answers.jsonl).
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A photo of the gallery and what is asked about it; points are in pixels of the upright photo."""

    set: str
    path: Path
    title: str
    """What is on it."""
    credit: str
    """Author or source, and licence; Markdown."""
    described_px: Point
    text_px: Point
    text: str
    """Of `text_px`."""
    form: str
    """Of the text: "at length", "in passing", or empty."""
    absent: str | None
    """Text of a thing that is not in the photo."""


# What is shown


def shares(available: Sequence[int], count: int) -> list[int]:
    """How many photos of each set, dealt one by one until there are enough; what a set lacks the others give.

    Example:
        >>> shares([5, 13, 29], 21)
        [5, 8, 8]
    """
    given = [0] * len(available)
    while sum(given) < min(count, sum(available)):
        for k, most in enumerate(available):
            if given[k] < most and sum(given) < count:
                given[k] += 1
    return given


def credit_of(name: str, image: Mapping[str, Any]) -> str | None:
    """The attribution of a photo of a set; None where it may not be shown.

    Args:
        name: of the set.
        image: its record in the set's annotations; of COCO with `license` and `coco_id`.
    """
    if not name.startswith("coco_"):
        return CREDITS.get(name)
    licence = COCO_LICENCES.get(image.get("license") or 0)
    number = image.get("coco_id")
    source = f"[COCO 2017, photo {number}](https://cocodataset.org/#explore?id={number})"
    return licence and f"{source}, by the user of Flickr who is linked there, {licence}"


def lines_of(path: Path, *keys: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The lines of a file of JSON lines about test photos, by set and photo, in the file's order.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or a line lacks one of the keys; says which.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        one = json.loads(line)
        if lacking := [key for key in ("set", "split", "photo", *keys) if key not in one]:
            raise ValueError(f"{path}, line {number}: {lacking[0]!r} is missing")
        if one["split"] == "test":
            found.setdefault((one["set"], one["photo"]), []).append(one)
    return found


def choose(data: Path) -> list[Shown]:
    """The demo's photos and drawn test photos, forty in all, by set.

    Raises:
        FileNotFoundError, ValueError: the folder lacks a file, or a line of texts is not as it should be.
    """
    rng = np.random.default_rng(SEED)
    texts = lines_of(data / "texts" / "test.jsonl", "x", "y", "object", "long", "short")
    absent = lines_of(ABSENT, "kind", "text")
    shown = of_the_demo(rng)
    drawn = [name for name in TITLES if name != "demo"]
    credits = {(name, photo): credit for name in drawn for photo, credit in credits_of(data, name).items()}
    may = {name: sorted(p for p in texts if p[0] == name and p in credits and p not in OF_THE_DEMO) for name in drawn}
    counts = shares([len(may[name]) for name in drawn], PHOTOS - len(shown))
    for name, count in zip(drawn, counts, strict=True):
        for k in sorted(rng.permutation(len(may[name]))[:count].tolist()):
            photo = may[name][k]
            path = data / name / "test" / "images" / photo[1]
            shown.append(asked_of(path, texts[photo], absent.get(photo, ()), credits[photo], rng))
    return shown


def credits_of(data: Path, name: str) -> dict[str, str]:
    """The test photos of a set that may be shown, with their attribution."""
    images = read_json(data / name / "test" / "annotations.json")["images"]
    credits = {image["file_name"]: credit_of(name, image) for image in images}
    return {photo: credit for photo, credit in credits.items() if credit is not None}


def asked_of(
    path: Path,
    texts: Sequence[Mapping[str, Any]],
    absent: Sequence[Mapping[str, Any]],
    credit: str,
    rng: np.random.Generator,
) -> Shown:
    """Draw what is asked about a photo: one point to describe, the text of another, and a thing that is not there.

    Args:
        texts: lines about points of the photo, two at least.
        absent: lines about things that are not there; only those of kind "absent" count, and there may be none.
    """
    described, found = (texts[k] for k in rng.permutation(len(texts))[:2].tolist())
    form, key = (("at length", "long"), ("in passing", "short"))[int(rng.integers(2))]
    missing = [line["text"] for line in absent if line["kind"] == "absent"]
    return Shown(
        set=found["set"],
        path=path,
        title=", ".join(dict.fromkeys(line["object"] for line in texts)),
        credit=credit,
        described_px=(described["x"], described["y"]),
        text_px=(found["x"], found["y"]),
        text=found[key],
        form=form,
        absent=missing[int(rng.integers(len(missing)))] if missing else None,
    )


def of_the_demo(rng: np.random.Generator) -> list[Shown]:
    """The demo's photos, each with one of its points, of its known texts, and of its absent things."""
    shown = []
    for photo in demo_photos():
        text_px, text = photo.known[int(rng.integers(len(photo.known)))]
        shown.append(
            Shown(
                set="demo",
                path=photo.path,
                title=photo.title,
                credit=photo.credit,
                described_px=photo.points_px[int(rng.integers(len(photo.points_px)))],
                text_px=text_px,
                text=text,
                form="",
                absent=photo.absent[int(rng.integers(len(photo.absent)))],
            )
        )
    return shown


# What the model answers


def answer(model: TalkingPoints, one: Shown) -> tuple[dict[str, Any], Image.Image]:
    """The answers about a photo, a line of answers.jsonl, and the picture with its points."""
    photo = open_photo(one.path)
    [trip] = model.round_trip(photo, [one.described_px])
    asked = [PhotoPoint(point_px=one.text_px, text=one.text)]
    asked += [] if one.absent is None else [PhotoPoint(text=one.absent)]
    found = model.locate(photo, [str(point.text) for point in asked])
    points = [trip.as_point(), *(p.answered(f, photo.size) for p, f in zip(asked, found, strict=True))]
    picture = mark_photo(photo, points)
    scale = LONG_SIDE / max(picture.size)
    picture = picture.resize([round(side * scale) for side in picture.size], Image.Resampling.LANCZOS)
    known = {"set": one.set, "picture": f"{one.set}-{one.path.stem}.jpg", "title": one.title}
    known["credit"] = f"{one.credit.removesuffix('; resized')}; resized, marked"
    return {**known, "form": one.form, **points_as_json(points, photo.size, model="mini")}, picture


# What the page says


def counts_of(answers: Sequence[Mapping[str, Any]]) -> str:
    """How many were found, and rightly told to be there or not: a line for test photos, one for the demo's."""
    lines = []
    for name, of_demo in (("Test photos", False), ("Photos of the demo", True)):
        some = [one["points"] for one in answers if (one["set"] == "demo") == of_demo]
        own, given, missing = ([points[k] for points in some if len(points) > k] for k in range(3))
        near = [sum(p.get("error", NEAR) < NEAR for p in points) for points in (own, given)]
        there = sum(not absence(p["there"]) for p in (*own, *given))
        away = sum(bool(absence(p["there"])) for p in missing)
        lines.append(
            f"- **{name}** ({len(some)}): within {100 * NEAR:g}% of the photo are {near[0]} of {len(own)} points found "
            f"from `mini`'s own words, and {near[1]} of {len(given)} from the texts asked for; {there} of "
            f"{len(own) + len(given)} are rightly said to be there, {away} of {len(missing)} rightly not to be."
        )
    return "\n".join(lines)


def plain(text: str) -> str:
    """A text as Markdown that shows as it is."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]])", r"\\\1", text)


def _led(point: Mapping[str, Any], verb: str) -> str:
    """Where the words of a point that is in the photo led."""
    if point.get("error") is None:
        return "no answer"
    away = f"{100 * point['error']:.1f}% away"
    gone = absence(point["there"])
    return f"said to be {gone}, wrongly; likeliest place {away}" if gone else f"{verb} {away}"


def entry(answered: Mapping[str, Any]) -> str:
    """A photo on the page: the picture, its texts, its attribution."""
    own, given, *missing = answered["points"]
    marks = "a star is the point asked, a ring the point found; 1 by mini's own words, 2 by the text asked for"
    lines = [f"![{plain(answered['title'])}: {marks}](gallery/{answered['picture']})", ""]
    lines.append(f"1. **Described**: “{plain(own.get('description') or '')}” ({_led(own, 'found again')})")
    form = f" {answered['form']}" if answered["form"] else ""
    lines.append(f"2. **Asked for**{form}: “{plain(given['text'])}” ({_led(given, 'found')})")
    for point in missing:
        said = f"said to be {gone}" if (gone := absence(point["there"])) else "taken to be there, wrongly"
        lines.append(f"3. **Not there**: “{plain(point['text'])}” ({said}; {percent(point['there'])} likely there)")
    return "\n".join([*lines, "", f"<small>Photo: {answered['credit']}</small>"])


def page(answers: Sequence[Mapping[str, Any]]) -> str:
    """The whole page, the sets in their order."""
    parts = [HEAD.format(counts=counts_of(answers), seed=SEED)]
    for name, title in TITLES.items():
        parts.append(f"## {title}\n")
        parts.append("\n\n---\n\n".join(entry(one) for one in answers if one["set"] == name) + "\n")
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the page, its pictures and `answers.jsonl` anew, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled photos and texts")
    given = parser.parse_args(arguments)
    try:
        shown = choose(given.data)
    except (OSError, ValueError) as error:
        parser.error(one_line(error))
    model = TalkingPoints.from_pretrained("mini", device="cpu")
    answers, pictures = zip(*(answer(model, one) for one in shown), strict=True)
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.glob("*.jpg"):
        old.unlink()
    for one, picture in zip(answers, pictures, strict=True):
        (PICTURES / one["picture"]).write_bytes(encode_photo(picture, quality=QUALITY))
    write_whole(PICTURES / "answers.jsonl", "".join(f"{json.dumps(one)}\n" for one in answers))
    write_whole(PAGE, page(answers))
    print(counts_of(answers))


if __name__ == "__main__":
    main()
