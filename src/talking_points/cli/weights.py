"""Commands about the published weights: import-omg-llava, parity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from talking_points.cli.console import log, say
from talking_points.files import disk_full_explained
from talking_points.progress import Progress


def parity(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Weights, inputs and outputs of the published model.")],
) -> None:
    """Compare our network with the published one's stored outputs; exit status 0 only when they agree."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    from talking_points.omg_llava.parity import run_parity

    report = run_parity(folder)
    typer.echo(json.dumps(report, indent=2))
    if not report["passed"]:
        raise typer.Exit(1)


def import_omg_llava(
    llm: Annotated[Path, typer.Option(metavar="DIR", help="InternLM2-chat, as published.")],
    segmenter: Annotated[Path, typer.Option(metavar="FILE", help="OMG-Seg's weights.")],
    class_embed: Annotated[Path, typer.Option(metavar="FILE", help="OMG-Seg's class embeddings.")],
    llava: Annotated[Path, typer.Option(metavar="FILE", help="OMG-LLaVA's weights.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where our checkpoint folder is written.")],
    clip: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CLIP ConvNeXt, where the segmenter lacks its trunk.")
    ] = None,
    descriptor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="OMG-LLaVA fine-tuned to describe points, as its code saves it.")
    ] = None,
    localizer: Annotated[
        Path | None, typer.Option(metavar="FILE", help="OMG-LLaVA fine-tuned to find them, with a coordinate head.")
    ] = None,
    dtype: Annotated[str, typer.Option(metavar="float32|bfloat16", help="Type of the weights.")] = "bfloat16",
) -> None:
    """Turn the published OMG-LLaVA files, and roles fine-tuned from them, into a checkpoint folder of ours."""
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"--dtype must be float32 or bfloat16, got {dtype}")
    if not llm.is_dir():
        raise FileNotFoundError(f"no such folder: {llm}")
    for file in (segmenter, class_embed, llava, clip, descriptor, localizer):
        if file is not None and file.is_dir():
            raise ValueError(f"{file} is a folder; expected a file (OMG-LLaVA's convert_deepspeed2pth.py makes one)")
        if file is not None and not file.is_file():
            raise FileNotFoundError(f"no such file: {file}")
    from talking_points.omg_llava.importing import import_omg_llava as import_published

    with disk_full_explained(out, goes_on=False), Progress(log, "reading the published files") as progress:
        differences = import_published(
            llm=llm,
            segmenter=segmenter,
            class_embed=class_embed,
            llava=llava,
            clip=clip,
            descriptor=descriptor,
            localizer=localizer,
            dtype=dtype,
            out=out,
            on_progress=progress.show,
        )
    for role, difference in differences.items():
        log(f"{role}: {difference}")
    say(f"wrote {out}")
