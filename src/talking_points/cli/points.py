"""Commands about points of one photo, or of many in a file: describe, localize, round-trip, demo."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

import talking_points
from talking_points.cli.console import expect_model, log, say
from talking_points.cli.options import takes
from talking_points.demo import DemoPhoto, demo_photos, on_one_sheet
from talking_points.fields import FieldSettings
from talking_points.points import WITHIN_ONE_PIXEL, look_normalised
from talking_points.progress import Progress
from talking_points.samples import PhotoPoint, as_text, points_as_json, says_something
from talking_points.settings import argument, flag

if TYPE_CHECKING:
    from PIL import Image

    from talking_points.pointing.files import Task
    from talking_points.pointing.round_trip import TalkingPoints

OF_ASKING = ("model", "device", "as_json", "figure", "input", "fields", "out", "strict", "engine", "workers")
FIGURE_FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".pdf")


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    """Who answers, and how the answers are given."""

    model: str = "mini"
    """'mini', a checkpoint folder, a Hub id (owner/name), or endpoint:URL,MODEL."""
    device: str | None = None
    """'cpu', 'cuda', 'cuda:1', ...; chosen for you unless given."""
    style: str | None = None
    """Of a stock model or an endpoint, how it writes points; told by its name unless given."""
    as_json: bool = field(default=False, metadata=flag("--json"))
    """Print the answers as JSON."""
    figure: Path | None = field(default=None, metadata=flag(metavar="OUT.png"))
    """Draw the points and the texts into a file."""

    def __post_init__(self) -> None:
        # Found out before the work, not after it.
        if self.figure is None:
            return
        folder = self.figure.absolute().parent
        if self.figure.suffix.lower() not in FIGURE_FORMATS or self.figure.is_dir():
            raise ValueError(f"a figure is a file such as figure.png ({', '.join(FIGURE_FORMATS)}), got {self.figure}")
        if not folder.is_dir():
            raise FileNotFoundError(f"no such folder for the figure: {self.figure.parent}")
        if not os.access(self.figure if self.figure.exists() else folder, os.W_OK):
            raise PermissionError(f"the figure cannot be written: {self.figure}; choose a place you may write to")


@dataclass(frozen=True, kw_only=True)
class AskSettings(AnswerSettings, FieldSettings):
    """One photo, or many in a file."""

    photo: Path | None = field(default=None, metadata=argument("PHOTO"))
    """A photo: JPEG, PNG, WebP, TIFF, ..."""
    input: Path | None = field(default=None, metadata=flag(metavar="FILE"))
    """Many at once, instead of PHOTO: JSON lines, .csv, .parquet, COCO or Label Studio as .json, CVAT as .xml."""
    out: Path | None = field(default=None, metadata=flag(metavar="OUT.jsonl"))
    """Answers to --input; an earlier run there resumes."""
    strict: bool = False
    """With --input: stop at a line that cannot be answered."""
    engine: Literal["local", "ray"] = "local"
    """With --input: ray for a cluster."""
    workers: int = 1
    """With --engine ray: actors, a model each."""

    def check(self, asked: tuple[str, ...], what: str) -> None:
        """ValueError unless there is either a photo, with what is asked about it, or a file."""
        AnswerSettings.__post_init__(self)
        FieldSettings.__post_init__(self)
        if self.input is None:
            if self.photo is None or not asked:
                raise ValueError(f"expected PHOTO and one {what} or more, or --input FILE.jsonl --out OUT.jsonl")
            of_files = (self.fields, self.out, self.strict or None, self.engine != "local" or None)
            if any(given is not None for given in of_files) or self.workers != 1:
                raise ValueError("--fields, --out, --strict, --engine and --workers are for --input, and there is none")
            if self.figure is not None and self.figure.resolve() == self.photo.resolve():
                raise ValueError(f"--figure is the photo itself, {self.photo}; choose another file")
        elif self.photo or asked or self.as_json or self.figure:
            raise ValueError(f"--input comes without PHOTO, {what}, --json and --figure: its lines say what to do")
        elif self.out is None:
            raise ValueError("--input needs --out OUT.jsonl, the file that the answers go to")
        if self.workers < 1 or (self.workers > 1 and self.engine == "local"):
            raise ValueError(f"--workers is {self.workers}; allowed: 1, or 1 and more with --engine ray")

    def open_photo(self) -> Image.Image:
        assert self.photo is not None
        return talking_points.open_photo(self.photo)


@dataclass(frozen=True, kw_only=True)
class PointSettings(AskSettings):
    """Of describe and round-trip."""

    points: tuple[str, ...] = field(default=(), metadata=flag("--point", metavar="X,Y"))
    """A point, in pixels of the upright photo from its top-left corner. Give as many as you like."""
    choose: bool = False
    """Try several texts for a point, and give one by which the localizer finds it back: more exact, and slower."""

    def __post_init__(self) -> None:
        self.check(self.points, "--point X,Y")

    def open(self) -> tuple[Image.Image, list[tuple[float, float]]]:
        """The photo and the points on it."""
        points = [_parse_point(text) for text in self.points]
        image = self.open_photo()
        talking_points.check_points(points, image.size)
        if look_normalised(points, image.size):
            log(f"note: {WITHIN_ONE_PIXEL}")
        return image, points


@dataclass(frozen=True, kw_only=True)
class TextSettings(AskSettings):
    """Of localize."""

    texts: tuple[str, ...] = field(default=(), metadata=argument("TEXT..."))
    """What the point is on, in words."""

    def __post_init__(self) -> None:
        self.check(self.texts, "TEXT")
        for number, one in enumerate(self.texts, start=1):
            if not says_something(one):
                raise ValueError(f"text {number} is empty: expected a description of a point")


@dataclass(frozen=True, kw_only=True)
class DemoSettings(AnswerSettings):
    """Of demo."""

    figure: Path | None = field(default=Path("talking-points-demo.png"), metadata=flag(metavar="OUT.png"))
    """Where the figure is written."""


@takes(PointSettings, shown=("photo", "points", "choose", *OF_ASKING))
def describe(settings: PointSettings) -> None:
    """Put points of a photo into words."""
    if settings.input is not None:
        _answer_file("describe", settings)
    image, points = settings.open()
    model = _load(settings, *_roles("describe", settings))
    say(f"describing {len(points)} point(s)")
    texts = model.describe(image, points)
    answers = [PhotoPoint(point_px=p, description=text) for p, text in zip(points, texts, strict=True)]
    _give(answers, image, settings.photo, settings)


@takes(TextSettings, shown=("photo", "texts", *OF_ASKING))
def localize(settings: TextSettings) -> None:
    """Find the point of a photo that each text is about."""
    if settings.input is not None:
        _answer_file("localize", settings)
    image = settings.open_photo()
    model = _load(settings, "localizer")
    say(f"finding {len(settings.texts)} point(s)")
    found = model.locate(image, list(settings.texts))
    pairs = zip(settings.texts, found, strict=True)
    answers = [PhotoPoint(text=text).answered(place, image.size) for text, place in pairs]
    _give(answers, image, settings.photo, settings)


@takes(PointSettings, shown=("photo", "points", "choose", *OF_ASKING))
def round_trip(settings: PointSettings) -> None:
    """Describe points of a photo, and find them again from the descriptions alone."""
    if settings.input is not None:
        _answer_file("round-trip", settings)
    image, points = settings.open()
    both = _load(settings, "descriptor", "localizer")
    say(f"describing {len(points)} point(s) and finding them again")
    _give([trip.as_point() for trip in both.round_trip(image, points)], image, settings.photo, settings)


@takes(DemoSettings)
def demo(settings: DemoSettings) -> None:
    """Points and texts of a few photos that come with the package: described, found, or not there."""
    both = _load(settings, "descriptor", "localizer")
    shown = demo_photos()
    answered = []
    for photo in shown:
        say(f"{photo.title}: describing {len(photo.points_px)} points, finding them and what else was asked for")
        image = talking_points.open_photo(photo.path)
        points = [trip.as_point() for trip in both.round_trip(image, photo.points_px)]
        texts = [*photo.texts, *photo.absent]
        found = both.locate(image, texts)
        points += [PhotoPoint(text=text).answered(one, image.size) for text, one in zip(texts, found, strict=True)]
        answered.append((photo, image, points))
    if settings.figure is not None:
        from talking_points.evaluation.figures import draw_points

        figures = [draw_points(image, points) for _, image, points in answered]
        on_one_sheet(shown, figures).save(settings.figure)
    if settings.as_json:
        typer.echo(json.dumps([_demo_as_json(*one, model=settings.model) for one in answered], indent=2))
    else:
        for photo, _, points in answered:
            typer.echo(f"{photo.title} ({photo.path.name}; {photo.credit})")
            for point in points:
                typer.echo(as_text(point))
            typer.echo()
        if settings.model == "mini":
            say("(mini is small and makes mistakes: a ring far from its star is one)")
    if settings.figure is not None:
        say(f"all of it as a picture: {settings.figure}")


def _demo_as_json(photo: DemoPhoto, image: Image.Image, points: list[PhotoPoint], *, model: str) -> dict[str, Any]:
    answer = points_as_json(points, image.size, model=model, path=str(photo.path))
    return {"title": photo.title, "credit": photo.credit, **answer}


def _parse_point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"--point expects X,Y such as 120,45.5, got {text!r}") from None
    return x, y


def _load(settings: AnswerSettings, *roles: str) -> TalkingPoints:
    expect_model(settings.model)
    from talking_points.pointing.pretrained import load_roles

    choose = _chooses(settings)
    return load_roles(settings.model, device=settings.device, roles=roles, style=settings.style, choose=choose)


def _name(settings: AnswerSettings) -> str:
    """Of who answers: a model that chooses among texts is another one."""
    return f"{settings.model}{', chosen' if _chooses(settings) else ''}"


def _chooses(settings: AnswerSettings) -> bool:
    return isinstance(settings, PointSettings) and settings.choose


def _roles(task: Task, settings: AnswerSettings) -> tuple[str, ...]:
    """Those that a task needs; who chooses among texts needs both."""
    from talking_points.pointing.files import ROLES

    return ROLES["round-trip" if _chooses(settings) else task]


def _answer_file(task: Task, settings: AskSettings) -> None:
    """Answer a file of lines, see `talking_points.pointing.files`, and exit."""
    from talking_points.sample_files import count_samples, read_samples

    assert settings.input is not None and settings.out is not None
    # Before the model is loaded: a file of another kind is refused at once.
    fields = settings.named_fields
    next(read_samples(settings.input, wants_text=task == "localize", fields=fields), None)
    expect_model(settings.model)
    from talking_points.pages import counted
    from talking_points.pointing.files import run_bulk
    from talking_points.pointing.pretrained import load_roles

    as_style = "" if settings.style is None else f" as {settings.style}"
    total = count_samples(settings.input, fields=fields)
    # Ray's actors are elsewhere.
    absolute = Path(settings.model).absolute() if Path(settings.model).is_dir() else settings.model
    with Progress(log, f"loading {settings.model}") as progress:
        report = run_bulk(
            task,
            partial(
                load_roles,
                absolute,
                device=settings.device,
                roles=_roles(task, settings),
                style=settings.style,
                choose=_chooses(settings),
            ),
            settings.input,
            settings.out,
            # Answers read in another form, or chosen among several, are another model's.
            model=f"{_name(settings)}{as_style}",
            strict=settings.strict,
            engine=settings.engine,
            workers=settings.workers,
            on_progress=lambda lines: progress.show("lines", lines, total),
            on_note=log,
            fields=fields,
        )
    before = f", {report.done_before:,} were done before" if report.done_before else ""
    bad = f', {report.bad:,} could not be and say why under "problem"' if report.bad else ""
    if report.bad_before:
        before += f" ({report.bad_before:,} of them could not be)"
    log(f"{settings.out}: {counted(report.answered, 'line')} answered{bad}{before}")
    raise typer.Exit(report.exit_status)


def _give(answers: list[PhotoPoint], image: Image.Image, path: Path | None, settings: AnswerSettings) -> None:
    if settings.figure is not None:
        # Imported here: matplotlib takes a while, and most calls draw nothing.
        from talking_points.evaluation.figures import draw_points

        draw_points(image, answers).save(settings.figure)
        say(f"wrote {settings.figure}")
    if settings.as_json:
        typer.echo(json.dumps(points_as_json(answers, image.size, model=_name(settings), path=str(path)), indent=2))
    else:
        for answer in answers:
            typer.echo(as_text(answer))
