"""What localizers find of photos' free texts and phrases, to choose by: `python -m recipes.mini.found`."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recipes.mini.examples import LENGTHS, point_in, read_lines, stem
from recipes.mini.scenes import read
from talking_points.dataset.scene import Scene
from talking_points.evaluation.metrics import mpck, mpck_interval, pck
from talking_points.memory import keep_freed_memory
from talking_points.pointing.localizer import PointLocalizer
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.points import Point, distance_unit
from talking_points.progress import OnProgress, Progress, one_line
from talking_points.samples import ABSENT_BELOW

FITTING = (*LENGTHS, "true")
"""Kinds of texts that fit their photo, with a point; "true" are phrases. All others do not fit."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text about a photo; point_px in pixels of that, None of a text that does not fit."""

    kind: str
    text: str
    point_px: Point | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """error is in the photo's normalised coordinates, NaN of a text that does not fit."""

    photo: str
    kind: str
    error: float
    there: float


def texts_of(
    scenes: Sequence[Scene], free: Iterable[Mapping[str, Any]], phrases: Iterable[Mapping[str, Any]]
) -> list[tuple[Scene, list[Text]]]:
    """Scenes that have free texts or phrases, with them; the voice that nothing learns from is among these."""
    of_photo: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for line in (*free, *phrases):
        of_photo[line["set"], stem(line["photo"])].append(line)
    asked: list[tuple[Scene, list[Text]]] = []
    for scene in scenes:
        texts: list[Text] = []
        for line in of_photo[scene.source, stem(scene.photo_id)]:
            if "kind" in line:
                at = point_in(scene, line) if line["there"] else None
                texts.append(Text(kind=line["kind"], text=line["text"], point_px=at))
            else:
                at = point_in(scene, line)
                texts += [Text(kind=length, text=line[length], point_px=at) for length in LENGTHS]
        if texts:
            asked.append((scene, texts))
    return asked


def answers_of(
    localizer: PointLocalizer, asked: Sequence[tuple[Scene, Sequence[Text]]], title: str, show: OnProgress
) -> list[Answer]:
    """What a localizer answers.

    Raises:
        ValueError: it does not tell whether a thing is there.
    """
    answers: list[Answer] = []
    for done, (scene, texts) in enumerate(asked, 1):
        photo = f"{scene.source}/{scene.photo_id}"
        for one, found in zip(
            texts, localizer.locate(Image.fromarray(scene.photo), [one.text for one in texts]), strict=True
        ):
            if found.there is None:
                raise ValueError(f"{title} does not tell whether a thing is there; give a localizer with a heatmap")
            at = one.point_px or (np.nan, np.nan)
            error = distance_unit(found.point_px, at, scene.size_wh)
            answers.append(Answer(photo=photo, kind=one.kind, error=error, there=found.there))
        show(title, done, len(asked))
    return answers


def told(answers: Sequence[Answer]) -> Iterable[str]:
    """mPCK of each kind of text that fits, and how well `there` tells phrases that do not."""
    for kind in FITTING:
        some = [one for one in answers if one.kind == kind]
        if not some:
            continue
        errors = [one.error for one in some]
        low, high = mpck_interval(errors, [one.photo for one in some])
        absent = 100 * np.mean([one.there < ABSENT_BELOW for one in some])
        yield (
            f"{kind}: mPCK {mpck(errors):.1f} ({low:.1f} to {high:.1f}), within 0.1 {pck(errors, 0.1):.1f}%, "
            f"said to be absent {absent:.1f}% of {len(some)}"
        )
    yes = np.array([one.there for one in answers if one.kind == "true"])
    for kind in sorted({one.kind for one in answers} - {*FITTING}):
        no = np.array([one.there for one in answers if one.kind == kind])
        score = auroc(yes, no)
        yield f"{kind}: AUROC {score:.3f}, said to be absent {100 * (no < ABSENT_BELOW).mean():.1f}% of {len(no)}"


def auroc(yes: np.ndarray, no: np.ndarray) -> float:
    """How often a true one is more likely than another; ties count half."""
    return float(((yes[:, None] > no) + 0.5 * (yes[:, None] == no)).mean())


def main() -> None:
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", required=True, help="`mini` or folders of checkpoints with a localizer")
    parser.add_argument("--scenes", type=Path, nargs="+", required=True, help="of the val split")
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--phrases", type=Path, nargs="+", required=True)
    given = parser.parse_args()
    try:
        scenes = [scene for path in given.scenes for scene in read(path)]
        asked = texts_of(scenes, read_lines(given.texts), read_lines(given.phrases))
        if not any(one.kind == "true" for _, texts in asked for one in texts):
            raise ValueError("--phrases has none that fit photos of --scenes; give phrases of these photos")
    except KeyError as error:
        parser.error(f"a line of --texts or --phrases has no {error}; give lines as recipes/mini/texts has them")
    except (ValueError, OSError) as error:
        parser.error(one_line(error))
    for model in given.model:
        try:
            localizer = PointLocalizer.from_pretrained(find_checkpoint(model))
            with Progress(lambda line: print(line, flush=True)) as progress:
                answers = answers_of(localizer, asked, model, progress.show)
        except (ValueError, OSError) as error:
            parser.error(one_line(error))
        print(model, *told(answers), sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
