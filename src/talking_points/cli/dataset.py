"""Commands about sets of triplets: build-dataset, inspect-dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from talking_points.cli.console import Progress, log
from talking_points.cli.options import JsonOption, SourceOption
from talking_points.memory import keep_freed_memory


def build_dataset(
    source: SourceOption,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the set goes; an earlier run there resumes.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only read the sources, in all their splits, and list everything that is wrong."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --check: print the problems as JSON.")] = False,
    split: Annotated[
        str, typer.Option("--split", help="Which of the sources' photos to read: 'train', 'val' or 'test'.")
    ] = "train",
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds build equal sets.")] = 0,
    records: Annotated[int, typer.Option("--records", help="Records with good texts, at most.")] = 21_000,
    equal_shares: Annotated[
        bool, typer.Option("--equal-shares/--all-points", help="As many records of each source as of the smallest.")
    ] = True,
    balance: Annotated[
        bool, typer.Option("--balance/--no-balance", help="Points even over objects and parts, or by chance alone.")
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
        str | None,
        typer.Option(
            "--audit", metavar="SHARE", help="Write a page of, say, 5% of the test records for a person to check."
        ),
    ] = None,
) -> None:
    """Build image, point and text triplets from part-labelled photos; the same command goes on after a stop."""
    keep_freed_memory()
    if check:
        from talking_points.dataset.sources.loading import parse_sources

        _check(parse_sources(source), as_json)
        return
    if as_json:
        raise ValueError("--json goes with --check")
    if out is None:
        raise ValueError("give --out, the folder for the set; or --check, to have the labels looked through alone")
    from talking_points.dataset.build import build
    from talking_points.dataset.settings import BuildSettings
    from talking_points.pages import counted

    settings = BuildSettings(
        sources=tuple(source),
        out=out,
        split=split,  # type: ignore[arg-type]
        seed=seed,
        records=records,
        equal_shares=equal_shares,
        balance=balance,
        test_share=test_share,
        points_per_photo=points_per_photo,
        per_part=per_part,
        smooth_share=smooth_share,
        dialects=tuple(dialect or ["paper"]),
        object_describer=object_describer,
        local_describer=local_describer,
        writer=writer,
        endpoint_photo_side_px=photo_side,
        photos=photos,  # type: ignore[arg-type]
        skip_bad=skip_bad,
        workers=workers,
        engine=engine,  # type: ignore[arg-type]
        api_key_env=api_key_env,
        timeout_s=timeout,
        concurrency=concurrency,
        max_requests=max_requests,
        max_tokens=max_tokens,
        audit=audit,
    )
    with Progress() as progress:
        report = build(settings, progress.show)
    for of_split, counts in report.kept.items():
        listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        typer.echo(f"{of_split}: {counted(sum(counts.values()), 'record')} ({listed})")
    typer.echo(f"rejected: {counted(sum(report.rejected.values()), 'record')}")
    for reason, count in report.rejected.items():
        typer.echo(f"  {count:,}: {reason}")
    alike = [one for one in report.skipped if one[2].startswith("looks like ")]
    others = [one for one in report.skipped if one not in alike]
    typer.echo(f"skipped: {counted(len(others), 'photo')}")
    for name, photo_id, reason in others[:10]:
        typer.echo(f"  {name} {photo_id}: {reason}")
    if len(others) > 10:
        typer.echo(f"  ... all are in {out / 'report.json'}")
    if alike:
        first = "; ".join(f"{name} {photo_id} {reason}" for name, photo_id, reason in alike[:3])
        typer.echo(f"left out as look-alikes: {counted(len(alike), 'photo')} ({first}{'; ...' if alike[3:] else ''})")
    for one in report.unchecked:
        typer.echo(f"look-alikes: {one}")
    if report.left_out_count:
        typer.echo(f"left out: {counted(report.left_out_count, 'annotation')} that cannot be read")
        for problem in report.left_out[:5]:
            typer.echo(f"  {problem}")
        if report.left_out_count > 5:
            typer.echo(f"  ... more are in {out / 'report.json'}; build-dataset --check lists all")
    for note, count in report.notes.items():
        typer.echo(f"noted: {count:,} x {note}")
    typer.echo(f"points not needed: {report.not_chosen:,}")
    if report.spent.requests:
        typer.echo(f"endpoint answers: {report.spent.requests:,}, {report.spent.tokens:,} tokens")
    log(f"wrote {out}")


def _check(sources: Mapping[str, Path], as_json: bool) -> None:
    """Print what is wrong with labels; leaves with status 2 where anything is."""
    from dataclasses import asdict

    from talking_points.dataset.check import check_sources
    from talking_points.pages import counted

    with Progress() as progress:
        found = check_sources(sources, progress.show)
    for note, count in found.notes.items():
        log(f"noted: {count:,} x {note}")
    if as_json:
        problems = [asdict(problem) for problem in found.problems]
        typer.echo(_printable(json.dumps({"problems": problems}, indent=2, ensure_ascii=False)))
    else:
        for problem in found.problems:
            typer.echo(_printable(str(problem)))
        if not found.problems:
            typer.echo(f"no problems in {counted(found.photos, 'photo')}")
    if found.problems:
        log(f"{counted(len(found.problems), 'problem')} in {counted(found.photos, 'photo')}")
        raise typer.Exit(2)


def _printable(text: str) -> str:
    """The text with a "?" for what no terminal can show: JSON may hold halves of characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


def inspect_dataset(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What build-dataset wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Count a built set, measure its texts, and list records that look wrong."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    from dataclasses import asdict

    from talking_points.dataset.inspection import inspect_dataset as inspect
    from talking_points.pages import counted

    found, audit = inspect(folder)
    if as_json:
        answers = None if audit is None else asdict(audit)
        typer.echo(json.dumps({**asdict(found), "audit": answers}, indent=2, ensure_ascii=False))
        return
    for split, counts in found.records.items():
        listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        typer.echo(f"{split}: {counted(sum(counts.values()), 'record')} ({listed})")
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
