"""Commands about points of one photo, or of many in a file: describe, localize, round-trip, demo."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import talking_points
from talking_points.cli.console import Progress, find_model, log, say
from talking_points.cli.options import DeviceOption, JsonOption, ModelOption
from talking_points.demo import DEMO_POINTS_PX, demo_photo
from talking_points.samples import PhotoPoint, points_as_json

if TYPE_CHECKING:
    from PIL import Image

    from talking_points.pointing.files import Task


PhotoArgument = Annotated[
    Path | None, typer.Argument(metavar="[PHOTO]", help="A photo: JPEG, PNG, WebP, TIFF, ...", show_default=False)
]
PointOption = Annotated[
    list[str] | None,
    typer.Option(
        "--point",
        metavar="X,Y",
        help="A point, in pixels of the upright photo from its top-left corner. Give as many as you like.",
    ),
]


InputOption = Annotated[
    Path | None,
    typer.Option(
        "--input",
        metavar="FILE",
        help="Many at once, instead of PHOTO: JSON lines, .csv, .parquet, or COCO keypoints as .json; see the README.",
    ),
]
BulkOutOption = Annotated[
    Path | None, typer.Option("--out", metavar="OUT.jsonl", help="Answers to --input; an earlier run there resumes.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="With --input: stop at a line that cannot be answered.")]
BulkEngineOption = Annotated[str, typer.Option("--engine", help="With --input: local, or ray for a cluster.")]
BulkWorkersOption = Annotated[int, typer.Option("--workers", help="With --engine ray: actors, a model each.")]
FigureOption = Annotated[
    Path | None,
    typer.Option("--figure", metavar="OUT.png", help="Draw the points and the texts into a file."),
]


FIGURE_FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".pdf")


def describe(
    photo: PhotoArgument = None,
    point: PointOption = None,
    model: ModelOption = "mini",
    device: DeviceOption = None,
    as_json: JsonOption = False,
    figure: FigureOption = None,
    input_file: InputOption = None,
    out: BulkOutOption = None,
    strict: StrictOption = False,
    engine: BulkEngineOption = "local",
    workers: BulkWorkersOption = 1,
) -> None:
    """Put points of a photo into words."""
    if input_file is not None:
        if photo or point or as_json or figure:
            raise ValueError("--input comes without PHOTO, --point, --json and --figure: its lines say what to do")
        _bulk("describe", input_file, out, model, device, strict=strict, engine=engine, workers=workers)
        return
    photo, image, points = _open_with_points(photo, point)
    _check_figure(figure)
    folder = find_model(model)
    from talking_points.pointing.descriptor import PointDescriptor

    speaker = PointDescriptor.from_pretrained(folder, device=device)
    say(f"describing {len(points)} point(s)")
    texts = speaker.describe(image, points)
    answers = [PhotoPoint(point_px=p, description=text) for p, text in zip(points, texts, strict=True)]
    _give(answers, image, photo, model, as_json=as_json, figure=figure)


def localize(
    photo: PhotoArgument = None,
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT...]", help="What the point is on, in words.", show_default=False),
    ] = None,
    model: ModelOption = "mini",
    device: DeviceOption = None,
    as_json: JsonOption = False,
    figure: FigureOption = None,
    input_file: InputOption = None,
    out: BulkOutOption = None,
    strict: StrictOption = False,
    engine: BulkEngineOption = "local",
    workers: BulkWorkersOption = 1,
) -> None:
    """Find the point of a photo that each text is about."""
    if input_file is not None:
        if photo or text or as_json or figure:
            raise ValueError("--input comes without PHOTO, TEXT, --json and --figure: its lines say what to do")
        _bulk("localize", input_file, out, model, device, strict=strict, engine=engine, workers=workers)
        return
    if photo is None or not text:
        raise ValueError("expected PHOTO and one TEXT or more, or --input FILE.jsonl --out OUT.jsonl")
    image = talking_points.open_photo(photo)
    for number, one in enumerate(text, start=1):
        if not one.strip():
            raise ValueError(f"text {number} is empty: expected a description of a point")
    _check_figure(figure)
    folder = find_model(model)
    from talking_points.pointing.localizer import PointLocalizer

    finder = PointLocalizer.from_pretrained(folder, device=device)
    say(f"finding {len(text)} point(s)")
    found = finder.locate(image, text)
    answers = [PhotoPoint(text=one).answered(place, image.size) for one, place in zip(text, found, strict=True)]
    _give(answers, image, photo, model, as_json=as_json, figure=figure)


def round_trip(
    photo: PhotoArgument = None,
    point: PointOption = None,
    model: ModelOption = "mini",
    device: DeviceOption = None,
    as_json: JsonOption = False,
    figure: FigureOption = None,
    input_file: InputOption = None,
    out: BulkOutOption = None,
    strict: StrictOption = False,
    engine: BulkEngineOption = "local",
    workers: BulkWorkersOption = 1,
) -> None:
    """Describe points of a photo, and find them again from the descriptions alone."""
    if input_file is not None:
        if photo or point or as_json or figure:
            raise ValueError("--input comes without PHOTO, --point, --json and --figure: its lines say what to do")
        _bulk("round-trip", input_file, out, model, device, strict=strict, engine=engine, workers=workers)
        return
    photo, image, points = _open_with_points(photo, point)
    _check_figure(figure)
    answers = _there_and_back(image, points, model, device)
    _give(answers, image, photo, model, as_json=as_json, figure=figure)


def demo(
    model: ModelOption = "mini",
    device: DeviceOption = None,
    as_json: JsonOption = False,
    figure: Annotated[Path, typer.Option("--figure", metavar="OUT.png", help="Where the figure is written.")] = Path(
        "talking-points-demo.png"
    ),
) -> None:
    """Round trip of a few points on the photo of Grace Hopper that matplotlib ships."""
    path = demo_photo()
    image = talking_points.open_photo(path)
    _check_figure(figure)
    answers = _there_and_back(image, DEMO_POINTS_PX, model, device)
    _give(answers, image, path, model, as_json=as_json, figure=figure)
    if model == "mini" and not as_json:
        say("(mini learned from whole figures in the street and from cars: of a close-up like this it knows little)")


def _parse_point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"--point expects X,Y such as 120,45.5, got {text!r}") from None
    return x, y


def _open_with_points(
    photo: Path | None, texts: list[str] | None
) -> tuple[Path, Image.Image, list[tuple[float, float]]]:
    if photo is None or not texts:
        raise ValueError("expected PHOTO and one --point X,Y or more, or --input FILE.jsonl --out OUT.jsonl")
    points = [_parse_point(text) for text in texts]
    image = talking_points.open_photo(photo)
    talking_points.check_points(points, image.size)
    return photo, image, points


def _check_figure(path: Path | None) -> None:
    """Find out before the work, not after it, that the figure cannot be written."""
    if path is None:
        return
    if path.suffix.lower() not in FIGURE_FORMATS or path.is_dir():
        raise ValueError(f"a figure is a file such as figure.png ({', '.join(FIGURE_FORMATS)}), got {path}")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"no such folder for the figure: {path.parent}")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise PermissionError(f"the figure cannot be written: {path}; choose a place you may write to")


def _bulk(
    task: Task,
    source: Path,
    out: Path | None,
    model: str,
    device: str | None,
    *,
    strict: bool,
    engine: str,
    workers: int,
) -> None:
    """Answer a file of lines; see `talking_points.pointing.files`."""
    if out is None:
        raise ValueError("--input needs --out OUT.jsonl, the file that the answers go to")
    if engine not in ("local", "ray"):
        raise ValueError(f"--engine is {engine!r}; allowed: local, ray")
    if workers < 1 or (workers > 1 and engine == "local"):
        raise ValueError(f"--workers is {workers}; allowed: 1, or 1 and more with --engine ray")
    from talking_points.sample_files import count_samples, read_samples

    # Before the model is loaded: a file of another kind is refused at once.
    next(read_samples(source), None)
    folder = find_model(model)
    from functools import partial

    from talking_points.pointing.files import ROLES, run_bulk
    from talking_points.pointing.pretrained import load_network

    total = count_samples(source)
    with Progress() as progress:
        report = run_bulk(
            task,
            partial(load_network, folder.absolute(), device=device, roles=ROLES[task]),
            source,
            out,
            model=model,
            strict=strict,
            engine="ray" if engine == "ray" else "local",
            workers=workers,
            on_progress=lambda lines: progress.show("lines", lines, total),
            on_note=log,
        )
    before = f", {report.done_before:,} were done before" if report.done_before else ""
    bad = f', {report.bad:,} could not be and say why under "problem"' if report.bad else ""
    if report.bad_before:
        before += f" ({report.bad_before:,} of them could not be)"
    log(f"{out}: {report.answered:,} lines answered{bad}{before}")
    raise typer.Exit(report.exit_status)


def _there_and_back(
    image: Image.Image, points: list[tuple[float, float]], model: str, device: str | None
) -> list[PhotoPoint]:
    folder = find_model(model)
    from talking_points.pointing.round_trip import TalkingPoints

    both = TalkingPoints.from_pretrained(folder, device=device)
    say(f"describing {len(points)} point(s) and finding them again")
    return [trip.as_point() for trip in both.round_trip(image, points)]


def _give(
    answers: list[PhotoPoint], image: Image.Image, path: Path, model: str, *, as_json: bool, figure: Path | None
) -> None:
    if figure is not None:
        # Imported here: matplotlib takes a while, and most calls draw nothing.
        from talking_points.evaluation.figures import draw_points

        draw_points(image, answers).save(figure)
        say(f"wrote {figure}")
    if as_json:
        typer.echo(json.dumps(points_as_json(answers, image.size, model=model, path=str(path)), indent=2))
    else:
        for answer in answers:
            typer.echo(_as_text(answer))


def _as_text(answer: PhotoPoint) -> str:
    asked = f"({answer.point_px[0]:g}, {answer.point_px[1]:g})" if answer.point_px else ""
    found = f"({answer.found_px[0]:.1f}, {answer.found_px[1]:.1f})" if answer.found_px else ""
    lines = [f"{asked or found}: {answer.words or '(no description)'}"]
    if answer.confidence is not None and answer.point_px is None:
        other = ""
        if answer.runner_up_px is not None:
            other = "; or else at ({:.1f}, {:.1f})".format(*answer.runner_up_px)
        # Never "100%": so sure it has not been shown to be.
        sure = min(99, round(100 * answer.confidence))
        lines.append(f"  {sure}% sure to be within a tenth of the photo's longer side{other}")
    if answer.point_px and answer.found_px and answer.error is not None:
        pixels = math.dist(answer.point_px, answer.found_px)
        lines.append(f"  found again at {found}, {pixels:.1f} px away ({100 * answer.error:.1f}% of the photo)")
    return "\n".join(lines)
