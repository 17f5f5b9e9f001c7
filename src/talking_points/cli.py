"""The command line: parse, call the library, print.

Only the answer goes to stdout; what is being done goes to stderr. The exit status is 0, or 2 with one line on
stderr for bad input, or 130 after Ctrl-C (and `parity` has 1 for numbers that differ). torch takes seconds to
import, so it is imported by the library, after everything that can be checked without it.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import talking_points
from talking_points.memory import keep_freed_memory

if TYPE_CHECKING:
    from PIL import Image

    from talking_points import TalkingPoints
    from talking_points.bulk import Task

# typer keeps its exceptions' common parent to itself: BadParameter is a UsageError is a ClickException.
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    help="Describe one pixel of a photo in words, and find it again from those words.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train_app = typer.Typer(help="Train the network, stage by stage.", no_args_is_help=True)
app.add_typer(train_app, name="train")

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
ModelOption = Annotated[str, typer.Option("--model", help="'mini', a checkpoint folder, or a Hub id (owner/name).")]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="'cpu', 'cuda', 'cuda:1', ...; chosen for you unless given.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
InputOption = Annotated[
    Path | None,
    typer.Option("--input", metavar="FILE.jsonl", help="Many at once, instead of PHOTO: see the README."),
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

# On the photo of Grace Hopper that matplotlib ships (512x600): the cap, the face, the collar, the jacket.
DEMO_POINTS_PX = [(345.5, 120.5), (265.5, 265.5), (306.5, 392.5), (115.5, 430.5)]


FIGURE_FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".pdf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One point of an answer; what a command does not know is None. Points are in pixels of the photo."""

    asked_px: tuple[float, float] | None = None
    description: str | None = None
    found_px: tuple[float, float] | None = None
    error: float | None = None
    """Distance of asked and found in the photo's normalised coordinates."""


@app.command()
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
    folder = _found(model)
    from talking_points.descriptor import PointDescriptor

    speaker = PointDescriptor.from_pretrained(folder, device=device)
    _say(f"describing {len(points)} point(s)")
    texts = speaker.describe(image, points)
    answers = [Answer(asked_px=p, description=text) for p, text in zip(points, texts, strict=True)]
    _give(answers, image, photo, model, as_json=as_json, figure=figure)


@app.command()
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
    folder = _found(model)
    from talking_points.localizer import PointLocalizer

    finder = PointLocalizer.from_pretrained(folder, device=device)
    _say(f"finding {len(text)} point(s)")
    found = finder.localize(image, text)
    answers = [Answer(description=one, found_px=p) for one, p in zip(text, found, strict=True)]
    _give(answers, image, photo, model, as_json=as_json, figure=figure)


@app.command("round-trip")
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


@app.command()
def demo(
    model: ModelOption = "mini",
    device: DeviceOption = None,
    as_json: JsonOption = False,
    figure: Annotated[Path, typer.Option("--figure", metavar="OUT.png", help="Where the figure is written.")] = Path(
        "talking-points-demo.png"
    ),
) -> None:
    """Round trip of a few points on the photo of Grace Hopper that matplotlib ships."""
    from matplotlib.cbook import get_sample_data

    path = Path(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    image = talking_points.open_photo(path)
    _check_figure(figure)
    answers = _there_and_back(image, DEMO_POINTS_PX, model, device)
    _give(answers, image, path, model, as_json=as_json, figure=figure)


@app.command()
def parity(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Weights, inputs and outputs of the published model.")],
) -> None:
    """Compare our network with the published one's stored outputs; exit status 0 only when they agree."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    from talking_points.parity import run_parity

    report = run_parity(folder)
    typer.echo(json.dumps(report, indent=2))
    if not report["passed"]:
        raise typer.Exit(1)


@app.command("import-omg-llava")
def import_omg_llava(
    llm: Annotated[Path, typer.Option(metavar="DIR", help="InternLM2-chat, as published.")],
    segmenter: Annotated[Path, typer.Option(metavar="FILE", help="OMG-Seg's weights.")],
    class_embed: Annotated[Path, typer.Option(metavar="FILE", help="OMG-Seg's class embeddings.")],
    llava: Annotated[Path, typer.Option(metavar="FILE", help="OMG-LLaVA's weights.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where our checkpoint folder is written.")],
    clip: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CLIP ConvNeXt, where the segmenter lacks its trunk.")
    ] = None,
    dtype: Annotated[str, typer.Option(metavar="float32|bfloat16", help="Type of the weights.")] = "bfloat16",
) -> None:
    """Turn the published OMG-LLaVA files into a checkpoint folder of ours."""
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"--dtype must be float32 or bfloat16, got {dtype}")
    if not llm.is_dir():
        raise FileNotFoundError(f"no such folder: {llm}")
    for file in (segmenter, class_embed, llava, clip):
        if file is not None and not file.is_file():
            raise FileNotFoundError(f"no such file: {file}")
    from talking_points.import_omg_llava import import_omg_llava as import_published

    import_published(
        llm=llm, segmenter=segmenter, class_embed=class_embed, llava=llava, clip=clip, dtype=dtype, out=out
    )
    _say(f"wrote {out}")


SourceOption = Annotated[
    list[str],
    typer.Option(
        "--source",
        metavar="NAME=DIR",
        help="Part-labelled photos: pascal-part-116, ade20k-part-234, part-imagenet, ap-10k, label-map or coco-parts. "
        "Repeatable.",
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where results go; an earlier run there resumes.")
]
StepsOption = Annotated[int, typer.Option("--steps", help="Steps in all.")]
RateOption = Annotated[float, typer.Option("--learning-rate", help="Highest learning rate.")]
PhotosOption = Annotated[int, typer.Option("--photos", help="Scenes a step.")]
PointsOption = Annotated[int, typer.Option("--points", help="Points, or phrases and captions, of each scene.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Equal seeds see equal batches.")]
LoraRankOption = Annotated[int, typer.Option("--lora-rank", help="Rank of the adapter; the 7B's is 512.")]
LoraAlphaOption = Annotated[int, typer.Option("--lora-alpha", help="Scale of the adapter; the 7B's is 256.")]
LoraDropoutOption = Annotated[float, typer.Option("--lora-dropout", help="The 7B's is 0.05.")]
BaseOption = Annotated[Path, typer.Option("--base", metavar="DIR", help="Checkpoint folder of the base.")]


@train_app.command("trunk")
def train_trunk(
    source: SourceOption,
    out: OutOption,
    steps: StepsOption = 2400,
    learning_rate: RateOption = 1.5e-3,
    photos: PhotosOption = 16,
    side: Annotated[int, typer.Option("--side", help="Side of the square seen, in pixels; a multiple of 32.")] = 192,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start", metavar="DIR", help="Where a trunk finished that is to learn more. Use another --seed."
        ),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Train mini's trunk: the part that each cell of a photo shows, and where on it the cell is."""
    sources, loop, sizes = _training(source, steps, learning_rate, photos, 1, seed, weight_decay=0.05)
    from talking_points.pretrained import choose_device
    from talking_points.training.run import TRUNK_FILE
    from talking_points.training.run import train_trunk as run

    finished = run(sources, out, loop, photos=sizes.photos, side=side, start=start, device=choose_device(device))
    _finish(finished, out / TRUNK_FILE)


@train_app.command("base")
def train_base(
    source: SourceOption,
    out: OutOption,
    trunk: Annotated[
        Path | None, typer.Option("--trunk", metavar="DIR", help="Where `train trunk` finished; else mini's own.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start", metavar="DIR", help="Checkpoint folder of a base that is to learn more. Use another --seed."
        ),
    ] = None,
    steps: StepsOption = 3000,
    learning_rate: RateOption = 1e-3,
    photos: PhotosOption = 8,
    points: PointsOption = 4,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Train mini's base over its trunk: masks, class words, captions, pointing at regions and points."""
    sources, loop, sizes = _training(source, steps, learning_rate, photos, points, seed, weight_decay=0.02)
    from talking_points.pretrained import choose_device
    from talking_points.training.run import train_base as run

    _finish(run(sources, out, loop, sizes, trunk=trunk, start=start, device=choose_device(device)), out / "checkpoint")


@train_app.command("descriptor")
def train_descriptor(
    source: SourceOption,
    base: BaseOption,
    out: OutOption,
    steps: StepsOption = 450,
    learning_rate: RateOption = 1.5e-3,
    photos: PhotosOption = 8,
    points: PointsOption = 8,
    lora_rank: LoraRankOption = 32,
    lora_alpha: LoraAlphaOption = 32,
    lora_dropout: LoraDropoutOption = 0.0,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Train the descriptor's adapter over a frozen base."""
    sources, loop, sizes = _training(source, steps, learning_rate, photos, points, seed)
    from talking_points.model.checkpoint import lora_config
    from talking_points.pretrained import choose_device
    from talking_points.training.run import train_role

    lora = lora_config("descriptor", rank=lora_rank, alpha=lora_alpha, dropout=lora_dropout)
    _finish(
        train_role("descriptor", sources, base, out, loop, sizes, lora=lora, device=choose_device(device)),
        out / "checkpoint",
    )


@train_app.command("localizer")
def train_localizer(
    source: SourceOption,
    base: BaseOption,
    out: OutOption,
    steps: StepsOption = 400,
    learning_rate: RateOption = 1.5e-3,
    photos: PhotosOption = 8,
    points: PointsOption = 8,
    lora_rank: LoraRankOption = 32,
    lora_alpha: LoraAlphaOption = 32,
    lora_dropout: LoraDropoutOption = 0.0,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="Blank the photo: the text-only reference of the model card.")
    ] = False,
) -> None:
    """Train the localizer's adapter, projector and heads over a frozen base."""
    sources, loop, sizes = _training(source, steps, learning_rate, photos, points, seed)
    from talking_points.model.checkpoint import lora_config
    from talking_points.pretrained import choose_device
    from talking_points.training.run import train_role

    lora = lora_config("localizer", rank=lora_rank, alpha=lora_alpha, dropout=lora_dropout)
    chosen = choose_device(device)
    _finish(
        train_role("localizer", sources, base, out, loop, sizes, lora=lora, device=chosen, blind=blind),
        out / "checkpoint",
    )


@train_app.command("join")
def train_join(
    descriptor: Annotated[Path, typer.Option("--descriptor", metavar="DIR", help="Checkpoint folder.")],
    localizer: Annotated[Path, typer.Option("--localizer", metavar="DIR", help="Checkpoint folder, same base.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New checkpoint folder, fp16.")],
) -> None:
    """Put a descriptor and a localizer over one base into one checkpoint folder."""
    from talking_points.training.run import join_roles

    join_roles(descriptor, localizer, out)
    _log(f"wrote {out}")


@app.command()
def evaluate(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the report goes; an earlier run there resumes.")
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", metavar="PATH", help="A built set, a JSON-lines file of triplets, or AP-10K. Repeatable."
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="NAME=DIR", help="Or part-labelled photos, to draw points from. Repeatable."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="With --source: 'plain' photos, or 'hard' crops and mosaics. Repeatable; both."),
    ] = None,
    points: Annotated[int, typer.Option("--points", help="With --source: points of each photo.")] = 4,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="'test' for the last measurement; with --source also 'val', to choose by: the default there.",
        ),
    ] = None,
    model: ModelOption = "mini",
    describer: Annotated[
        list[str] | None,
        typer.Option(
            "--describer",
            help="ground-truth, descriptor, object-caption, region-caption, file:PATH or endpoint:URL,MODEL. "
            "Repeatable; the first two.",
        ),
    ] = None,
    localizer: Annotated[
        list[str] | None,
        typer.Option("--localizer", help="localizer, blind:DIR (trained blind), or endpoint:URL,MODEL. Repeatable."),
    ] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", help="Requests to endpoints side by side.")] = 8,
    max_requests: Annotated[int | None, typer.Option("--max-requests", help="To endpoints, in all runs.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Of endpoints, in all runs.")] = None,
    quantize: Annotated[
        str | None, typer.Option("--quantize", help="nf4 or int8 for the base's language model, by bitsandbytes.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="With --data: samples of each set, at most.")] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Score describers through localizers, beside references that show what a score is worth, as JSON."""
    if bool(data) == bool(source):
        raise ValueError("expected --data PATH, or --source NAME=DIR, and not both")
    for option, value in (("--limit", limit), ("--points", points), ("--concurrency", concurrency)):
        if value is not None and value < 1:
            raise ValueError(f"{option} is {value}; allowed: at least 1")
    split = split or ("test" if data else "val")
    keep_freed_memory()
    from talking_points.dataset.sources.loading import parse_sources

    sources = parse_sources(source or [])
    folder = _found(model)
    from talking_points.dataset.describers.endpoint import Budget, Endpoint, EndpointConfig
    from talking_points.dataset.ledger import Ledger
    from talking_points.evaluation import run
    from talking_points.evaluation.contestants import open_describers, open_localizers

    problems: list[str] = []
    if data:
        chosen = run.sets_of_data(data, split=split, limit=limit, problems=problems)
    else:
        chosen = run.sets_of_sources(sources, sets or ["plain", "hard"], split=split, points=points, seed=seed)
    for problem in problems:
        _log(f"passed over: {problem}")
    samples = [sample for one in chosen for sample in one.samples]
    have_texts = all(sample.text is not None for sample in samples)
    describer = describer or [*(["ground-truth"] if have_texts else []), "descriptor"]
    localizer = localizer or ["localizer"]
    ours = None
    if {"descriptor", "object-caption", "region-caption", "localizer"} & {*describer, *localizer}:
        from talking_points.talking_points import TalkingPoints

        ours = TalkingPoints.from_pretrained(folder, device=device, quantize=quantize)
    settings = {"model": model, "quantize": quantize, "split": split, "describers": describer, "localizers": localizer}
    out.mkdir(parents=True, exist_ok=True)
    with Ledger(out) as ledger, _Progress() as progress:
        budget = Budget(max_requests=max_requests, max_tokens=max_tokens, spent=ledger.spent())

        def ask(config: EndpointConfig) -> Endpoint:
            return Endpoint(config, ledger, budget)

        describers = open_describers(describer, ours, samples, ask, concurrency=concurrency)
        localizers = open_localizers(localizer, ours, ask, concurrency=concurrency, device=device)
        report = run.evaluate(
            chosen,
            describers,
            localizers,
            out,
            settings=settings,
            seed=seed,
            problems=problems,
            on_progress=progress.show,
        )
    for name, check in report["checks"].items():
        if not check["passed"]:
            _log(f'warning: {name}: the checks of the pairing failed, see "checks" in the report')
    typer.echo(json.dumps(report, indent=2))


@app.command()
def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="Where `evaluate` wrote.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Where it wrote another time.")],
    as_json: JsonOption = False,
) -> None:
    """Say what changed from one evaluation to another: paired differences in mPCK, with intervals."""
    from talking_points.evaluation.compare import compare as run

    rows = run(one, other)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        low, high = row["difference_ci"]
        typer.echo(
            f"{row['set']}: {row['describer']} -> {row['localizer']}: {row['mpck'][0]:.1f} -> {row['mpck'][1]:.1f}, "
            f"{row['difference']:+.1f} ({low:+.1f} to {high:+.1f})"
        )


@app.command("build-dataset")
def build_dataset(
    source: SourceOption,
    out: OutOption,
    split: Annotated[
        str, typer.Option("--split", help="Which of the sources' photos to read: 'train', 'val' or 'test'.")
    ] = "train",
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds build equal sets.")] = 0,
    records: Annotated[int, typer.Option("--records", help="Records with texts, at most.")] = 21_000,
    equal_shares: Annotated[
        bool, typer.Option("--equal-shares/--all-points", help="As many records of each source as of the smallest.")
    ] = True,
    test_share: Annotated[
        float, typer.Option("--test-share", help="Share of the records that becomes the set's own test split.")
    ] = 4 / 21,
    points_per_photo: Annotated[int, typer.Option("--points-per-photo", help="Points of a photo, at most.")] = 1,
    per_part: Annotated[int, typer.Option("--per-part", help="Points of one part of a photo, at most.")] = 1,
    smooth_share: Annotated[
        float, typer.Option("--smooth-share", help="Share of points on surfaces without texture.")
    ] = 0.0,
    dialect: Annotated[
        list[str] | None,
        typer.Option("--dialect", help="'paper', 'coarse', 'place-free' or 'short'. Repeatable: each record gets one."),
    ] = None,
    object_describer: Annotated[
        str,
        typer.Option("--object-describer", metavar="WHO", help="'rules', 'endpoint:URL,MODEL' or 'descriptor:MODEL'."),
    ] = "rules",
    local_describer: Annotated[
        str, typer.Option("--local-describer", metavar="WHO", help="Of the point's surroundings; the same choices.")
    ] = "rules",
    writer: Annotated[
        str, typer.Option("--writer", metavar="WHO", help="Of the texts: 'rules' or 'endpoint:URL,MODEL'.")
    ] = "rules",
    api_key_env: Annotated[
        str, typer.Option("--api-key-env", metavar="NAME", help="Environment variable with the endpoints' key.")
    ] = "OPENAI_API_KEY",
    photo_side: Annotated[
        int, typer.Option("--photo-side", help="Long side of photos sent to endpoints, in pixels.")
    ] = 1024,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for one answer.")] = 120.0,
    concurrency: Annotated[int, typer.Option("--concurrency", help="Requests at the same time.")] = 8,
    max_requests: Annotated[int | None, typer.Option("--max-requests", help="Budget of all runs together.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Budget of all runs together.")] = None,
    photos: Annotated[
        str, typer.Option("--photos", help="'embed' the photos' files into the set, or note their 'path'.")
    ] = "embed",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Pass over photos that cannot be read, and list them.")
    ] = False,
    workers: Annotated[int, typer.Option("--workers", help="Processes.")] = 1,
    engine: Annotated[str, typer.Option("--engine", help="'local', or 'ray' for many machines.")] = "local",
    audit: Annotated[
        str | None, typer.Option("--audit", metavar="SHARE", help="Write a page of, say, 5% for a person to check.")
    ] = None,
) -> None:
    """Build image, point and text triplets from part-labelled photos; the same command goes on after a stop."""
    if photos not in ("embed", "path"):
        raise ValueError(f"--photos must be embed or path, got {photos}")
    if engine not in ("local", "ray"):
        raise ValueError(f"--engine must be local or ray, got {engine}")
    audit_share = None if audit is None else _parse_share("--audit", audit)
    keep_freed_memory()
    from talking_points.dataset.sources.loading import parse_sources

    sources = parse_sources(source)
    from talking_points.dataset.build import BuildConfig, EndpointOptions, build

    config = BuildConfig(
        sources=sources,
        out=out,
        split=split,
        seed=seed,
        records=records,
        equal_shares=equal_shares,
        test_share=test_share,
        points_per_photo=points_per_photo,
        per_part=per_part,
        smooth_share=smooth_share,
        dialects=tuple(dialect or ["paper"]),
        object_describer=object_describer,
        local_describer=local_describer,
        writer=writer,
        endpoint_photo_side_px=photo_side,
        embed_photos=photos == "embed",
        skip_bad=skip_bad,
        workers=workers,
        engine=engine,  # type: ignore[arg-type]
        endpoint=EndpointOptions(
            api_key_env=api_key_env,
            timeout_s=timeout,
            concurrency=concurrency,
            max_requests=max_requests,
            max_tokens=max_tokens,
        ),
        audit_share=audit_share,
    )
    with _Progress() as progress:
        report = build(config, progress.show)
    for of_split, counts in report.kept.items():
        listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        typer.echo(f"{of_split}: {sum(counts.values()):,} records ({listed})")
    typer.echo(f"rejected: {sum(report.rejected.values()):,} records")
    for reason, count in report.rejected.items():
        typer.echo(f"  {count:,}: {reason}")
    typer.echo(f"skipped: {len(report.skipped):,} photos")
    for name, photo_id, reason in report.skipped[:10]:
        typer.echo(f"  {name} {photo_id}: {reason}")
    if len(report.skipped) > 10:
        typer.echo(f"  ... all are in {out / 'report.json'}")
    typer.echo(f"points not needed: {report.not_chosen:,}")
    if report.spent.requests:
        typer.echo(f"endpoint answers: {report.spent.requests:,}, {report.spent.tokens:,} tokens")
    _log(f"wrote {out}")


@app.command("inspect-dataset")
def inspect_dataset(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What build-dataset wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Count a built set, measure its texts, and list records that look wrong."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    from dataclasses import asdict

    from talking_points.dataset.inspection import inspect_dataset as inspect

    found, audit = inspect(folder)
    if as_json:
        answers = None if audit is None else asdict(audit)
        typer.echo(json.dumps({**asdict(found), "audit": answers}, indent=2, ensure_ascii=False))
        return
    for split, counts in found.records.items():
        listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        typer.echo(f"{split}: {sum(counts.values()):,} records ({listed})")
    typer.echo(f"photos: {found.photos:,}")
    typer.echo(f"semantic points: {100 * found.semantic:.1f}%")
    tables = {"object categories": found.objects, "part categories": found.parts, "points": found.kinds}
    for title, counts in (tables | {"dialects": found.dialects, "written by": found.written_by}).items():
        listed = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:8])
        typer.echo(f"{title}: {len(counts)} ({listed}{', ...' if len(counts) > 8 else ''})")
    if found.lengths is not None:
        lengths = found.lengths
        typer.echo(f"words a text: {lengths.least} to {lengths.most}, median {lengths.median:g}, mean {lengths.mean:g}")
    typer.echo(f"vocabulary: {found.vocabulary:,} words; records that share their text: {found.repeated:,}")
    if audit is not None and audit.answered:
        low, high = audit.interval
        shares = f"{100 * audit.share:.1f}%, 95% interval {100 * low:.1f} to {100 * high:.1f}"
        typer.echo(f"audit: {audit.found} of {audit.answered} found ({shares}), {audit.asked} asked")
    elif audit is not None:
        typer.echo(f"audit: none of {audit.asked} answered yet")
    typer.echo(f"records that look wrong: {len(found.suspects):,}")
    for suspect in found.suspects[:20]:
        typer.echo(f"  {suspect.record_id}: {suspect.reason}")
    if len(found.suspects) > 20:
        typer.echo("  ... all with --json")


def _parse_share(option: str, text: str) -> float:
    """0.05 from "5%" or "0.05"."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise ValueError(f"{option} expects a share such as 5% or 0.05, got {text!r}")
    return share


class _Progress:
    """Progress of a long command on stderr: a bar with rate and time left, or a line now and then into a file."""

    LINE_EVERY_S = 10.0

    def __enter__(self) -> _Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self._lines = not console.is_terminal
        self._bar.start()
        self._stages: dict[str, tuple[Any, float, int]] = {}
        self._last_line = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage not in self._stages:
            self._stages[stage] = (self._bar.add_task(stage, total=total, completed=done, rate=""), now, done)
        task, begun, before = self._stages[stage]
        # Of this run alone: what an earlier run did took no time now.
        rate = (done - before) / max(now - begun, 1e-3)
        self._bar.update(task, completed=done, total=total, rate=f"{rate:.1f}/s" if rate else "")
        if self._lines and (done == total or now - self._last_line >= self.LINE_EVERY_S):
            self._last_line = now
            left = f", {(total - done) / rate:.0f} s left" if rate and done < total else ""
            _log(f"{stage}: {done:,} of {total:,}{f', {rate:.1f}/s' if rate and total > 1 else ''}{left}")


def _training(
    source: list[str],
    steps: int,
    rate: float,
    photos: int,
    points: int,
    seed: int,
    *,
    weight_decay: float = 0.0,
) -> Any:
    """Sources, loop and sizes of a training command, and its log on stderr."""
    import logging

    # Threads that wait by spinning stand in each other's way as soon as anything else runs on the machine. Read
    # when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    from talking_points.dataset.sources.loading import parse_sources

    sources = parse_sources(source)
    from talking_points.training.batches import BatchSizes
    from talking_points.training.loop import LoopConfig

    loop = LoopConfig(steps=steps, learning_rate=rate, weight_decay=weight_decay, seed=seed)
    return sources, loop, BatchSizes(photos=photos, points=points)


def _finish(finished: bool, written: Path) -> None:
    if finished:
        _log(f"wrote {written}")
    else:
        raise typer.Exit(143)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"talking-points {talking_points.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: what follows the program's name; those of the process unless given.
    """
    try:
        status = app(args=arguments, prog_name="talking-points", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except _ClickException as error:
        status = _fail(error.format_message())  # type: ignore[attr-defined]
    except (ValueError, OSError, ImportError) as error:
        status = _fail(str(error))
    sys.exit(status or 0)


def _fail(message: str) -> int:
    """Print a message as one line. typer prints the help for a command that got no arguments by itself."""
    if message:
        typer.echo(f"error: {' '.join(message.split())}", err=True)
    return 2


def _say(message: str) -> None:
    """Tell a person at the terminal what is being done; a program that reads stderr gets errors only."""
    if sys.stderr.isatty():
        _log(message)


def _log(message: str) -> None:
    """Progress of long work, for people and for log files."""
    typer.echo(message, err=True)


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


def _load(model: str, device: str | None) -> TalkingPoints:
    folder = _found(model)
    from talking_points.talking_points import TalkingPoints

    return TalkingPoints.from_pretrained(folder, device=device)


def _found(model: str) -> Path:
    """The folder of a model that is to be loaded next."""
    from talking_points.pretrained import find_checkpoint

    # Before torch is imported, so that an unknown model is reported at once.
    folder = find_checkpoint(model)
    _say(f"loading {model}")
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    return folder


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
    """Answer a file of lines; see `talking_points.bulk`."""
    if out is None:
        raise ValueError("--input needs --out OUT.jsonl, the file that the answers go to")
    if engine not in ("local", "ray"):
        raise ValueError(f"--engine is {engine!r}; allowed: local, ray")
    if workers < 1 or (workers > 1 and engine == "local"):
        raise ValueError(f"--workers is {workers}; allowed: 1, or 1 and more with --engine ray")
    if not source.is_file():
        raise FileNotFoundError(f"no such file: {source}")
    folder = _found(model)
    from functools import partial

    from talking_points.bulk import ROLES, read_lines, run_bulk
    from talking_points.pretrained import load_network

    with source.open("rb") as file:
        total = sum(1 for _ in read_lines(file))
    with _Progress() as progress:
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
        )
    before = f", {report.done_before:,} were done before" if report.done_before else ""
    bad = f', {report.bad:,} could not be and say why under "problem"' if report.bad else ""
    _log(f"{out}: {report.answered:,} lines answered{bad}{before}")


def _there_and_back(
    image: Image.Image, points: list[tuple[float, float]], model: str, device: str | None
) -> list[Answer]:
    both = _load(model, device)
    _say(f"describing {len(points)} point(s) and finding them again")
    return [
        Answer(asked_px=trip.point_px, description=trip.description, found_px=trip.found_px, error=trip.error)
        for trip in both.round_trip(image, points)
    ]


def _give(
    answers: list[Answer], image: Image.Image, path: Path, model: str, *, as_json: bool, figure: Path | None
) -> None:
    if figure is not None:
        # Imported here: matplotlib takes a while, and most calls draw nothing.
        from talking_points.evaluation.figures import FigurePoint, draw_points

        points = [
            FigurePoint(asked_px=answer.asked_px, found_px=answer.found_px, description=answer.description)
            for answer in answers
        ]
        draw_points(image, points).save(figure)
        _say(f"wrote {figure}")
    if as_json:
        typer.echo(json.dumps(_as_json(answers, image, path, model), indent=2))
    else:
        for answer in answers:
            typer.echo(_as_text(answer))


def _as_json(answers: list[Answer], image: Image.Image, path: Path, model: str) -> dict[str, Any]:
    points = []
    for answer in answers:
        x, y = answer.asked_px or (None, None)
        found_x, found_y = answer.found_px or (None, None)
        point = {"x": x, "y": y, "description": answer.description}
        point |= {"found_x": found_x, "found_y": found_y, "error": answer.error}
        points.append({key: value for key, value in point.items() if value is not None})
    photo = {"path": str(path), "width": image.width, "height": image.height}
    return {"model": model, "photo": photo, "points": points}


def _as_text(answer: Answer) -> str:
    asked = f"({answer.asked_px[0]:g}, {answer.asked_px[1]:g})" if answer.asked_px else ""
    found = f"({answer.found_px[0]:.1f}, {answer.found_px[1]:.1f})" if answer.found_px else ""
    lines = [f"{asked or found}: {answer.description or '(no description)'}"]
    if answer.asked_px and answer.found_px and answer.error is not None:
        pixels = math.dist(answer.asked_px, answer.found_px)
        lines.append(f"  found again at {found}, {pixels:.1f} px away ({100 * answer.error:.1f}% of the photo)")
    return "\n".join(lines)
