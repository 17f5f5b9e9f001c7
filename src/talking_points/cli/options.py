"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelOption = Annotated[str, typer.Option("--model", help="'mini', a checkpoint folder, or a Hub id (owner/name).")]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="'cpu', 'cuda', 'cuda:1', ...; chosen for you unless given.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


SourceOption = Annotated[
    list[str],
    typer.Option(
        "--source",
        metavar="NAME=DIR",
        help="Part-labelled photos: pascal-part-116, ade20k-part-234, part-imagenet, ap-10k, label-map, coco-parts or "
        "coco (objects, joints, boxes). Repeatable.",
    ),
]


OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where results go; an earlier run there resumes.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Equal seeds make equal choices.")]
ObjectOption = Annotated[
    list[str] | None,
    typer.Option("--object", help="Only points on these: an object's name, or its family in AP-10K. Repeatable."),
]
PartOption = Annotated[
    list[str] | None,
    typer.Option("--part", help="Only points on these parts, by their name or a word of it. Repeatable."),
]
