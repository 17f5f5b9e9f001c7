"""What `mini` is measured by, on photos and texts that it never saw; each command prints JSON and a table.

    python benchmarks/mini.py free --texts DATA/texts/test.jsonl --data DATA --model mini
    python benchmarks/mini.py absent --texts DATA/texts/test.jsonl --data DATA --model mini
    python benchmarks/mini.py phrases --data DATA --model mini
    python benchmarks/mini.py phrases --data DATA --read benchmarks/data/phrases_read.jsonl
    python benchmarks/mini.py parts --data DATA --model mini
    python benchmarks/mini.py parts --data DATA --photos 105 --points 1 --out runs/points
    python benchmarks/mini.py parts --data DATA --photos 105 --points 1 --out runs/points --read names.jsonl
    python benchmarks/mini.py own --data DATA --model mini --out runs/own
    python benchmarks/mini.py own --out runs/own --read answers.jsonl
    python benchmarks/mini.py labels --data DATA > benchmarks/data/labels.json

DATA holds the seven sets of `mini_data.SETS`, each as its source reads it. Intervals are 95% bootstraps over photos.
Equal arguments give equal figures. "How mini is measured" in docs/results.md says what each figure is.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from mini_claims import Vocabulary
from mini_data import (
    ABSENT,
    FITTING,
    KINDS,
    PHRASES,
    SETS,
    FreeText,
    is_joint_disc,
    labelled_sets,
    labels_of,
    read_absent,
    read_answers,
    read_fitting,
    read_free_texts,
    read_labels,
    read_phrases,
    some_photos,
    source_of,
)
from mini_models import Found, certainty, described, errors_of, load_model, located
from mini_scores import auroc_figure, calibration, located_figures, share, table
from mini_sheets import read_names, read_sheets, write_points, write_sheets

from talking_points.dataset.checks import is_named, words_of
from talking_points.dataset.colours import COLOURS
from talking_points.evaluation.protocol import shuffled
from talking_points.evaluation.run import versions
from talking_points.evaluation.samples import Sample
from talking_points.files import sha256_of
from talking_points.progress import OnProgress, Progress, one_line

NEAR = 0.1
"""A short text on no labelled part is found within this, in the photo's normalised coordinates."""
AGAINST = (
    ("absent things", ("absent",)),
    ("a wrong part or look", ("wrong",)),
    ("implausible things", ("implausible",)),
    ("absent or wrong", KINDS),
)
"""Phrases that do not fit, by kind. The last is told of each set."""


# Free texts


def free(given: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Free texts, long and short, and the model's own of the same points unless the localizer is measured alone."""
    texts = wanted_texts(given)
    samples = [text.where for text in texts]
    photos = [sample.photo_id for sample in samples]
    model = load_model(given.model, localizer_only=given.localizer_only, device=given.device, choose=given.choose)
    said = {"long": [text.long for text in texts], "short": [text.short for text in texts]}
    if not given.localizer_only:
        said["own"] = described(model, samples, on_progress, "own texts")
    found = {kind: located(model, samples, some, on_progress, f"{kind} texts") for kind, some in said.items()}
    rows = []
    for kind, answers in found.items():
        errors = errors_of(samples, answers)
        inside = found_inside(given.data, texts, answers, errors) if kind == "short" else {}
        rows += rows_by_set(kind, samples, errors, inside)
    calibrated = calibrations(samples, found)
    columns = {"texts": "texts", "set": "set", "n": "points", "mpck": "mPCK", "pck@0.05": "PCK@0.05"}
    columns |= {"pck@0.1": "PCK@0.1", "pck@0.2": "PCK@0.2", "inside": "inside the part, else within 0.1"}
    columns |= {"in discs": "the same, joints' discs as parts"}
    result: dict[str, Any] = {
        "points": len(samples),
        "photos": len(set(photos)),
        "sha256": sha256_of(
            [(s.photo_id, s.point_px, text.long, text.short) for s, text in zip(samples, texts, strict=True)]
        ),
        "unreadable": {kind: sum(one is None for one in answers) for kind, answers in found.items()},
        "rows": rows,
        "calibration": calibrated,
        "tables": [table(rows, columns)],
        "answers": answers_as_lines(samples, said, found),
    }
    if calibrated is not None:
        of = [{"texts": name, **one} for name, one in calibrated.items()]
        titles = {"texts": "texts", "n": "answers", "error": "calibration error, points"}
        result["tables"].append(table(of, titles))
    return result


def wanted_texts(given: argparse.Namespace) -> list[FreeText]:
    """The free texts, of at most `--photos` photos."""
    texts = read_free_texts(given.texts, given.data)
    wanted = some_photos((text.where.photo_id for text in texts), given.photos)
    return [text for text in texts if text.where.photo_id in wanted]


def found_inside(data: Path, texts: Sequence[FreeText], found: Found, errors: np.ndarray) -> dict[str, list[bool]]:
    """Whether each point found is in the annotated part that holds the true one; where none does, is within `NEAR`.

    Under "inside" the disc of a joint, a few pixels of a place rather than a part, counts as none; under "in discs" as
    any other part.
    """
    near = (errors < NEAR).tolist()
    inside: dict[str, list[bool]] = {"inside": list(near), "in discs": list(near)}
    scenes: dict[str, Any] = {}
    for k, (text, answer) in enumerate(zip(texts, found, strict=True)):
        where = text.where
        if where.photo_id not in scenes:
            # One at a time: texts of a photo stand together.
            scenes = {where.photo_id: source_of(data, where.source, text.split).read(text.photo_id)}
        scene = scenes[where.photo_id]
        part = scene.part_index_at(where.point_px)
        if part is not None:
            is_in = answer is not None and scene.part_index_at(answer.point_px) == part
            inside["in discs"][k] = is_in
            if not is_joint_disc(scene, part):
                inside["inside"][k] = is_in
    return inside


def rows_by_set(
    kind: str, samples: Sequence[Sample], errors: np.ndarray, inside: Mapping[str, Sequence[bool]]
) -> list[dict[str, Any]]:
    """Figures of all points, their mean over sets, and of each set."""
    sets = np.array([sample.source for sample in samples])
    rows = []
    for name in ("all", "mean over sets", *(one for one in SETS if (sets == one).any())):
        some = np.flatnonzero((sets == name) | (name in ("all", "mean over sets")))
        photos = [samples[k].photo_id for k in some.tolist()]
        groups = sets[some].tolist() if name == "mean over sets" else None
        row = {"texts": kind, "set": name, "n": len(some), **located_figures(errors[some], photos, groups)}
        rows.append(row | {key: share(np.array(hits)[some], photos, groups) for key, hits in inside.items()})
    return rows


def calibrations(samples: Sequence[Sample], found: Mapping[str, Found]) -> dict[str, Any] | None:
    """Of long texts, short ones and both; None where the head does not say how sure it is."""
    result = {}
    for name, kinds in {"long and short": ("long", "short"), "long": ("long",), "short": ("short",)}.items():
        pairs = [certainty(samples, found[kind]) for kind in kinds]
        sure = [one for some, _ in pairs for one in some if one is not None]
        if len(sure) < sum(len(some) for some, _ in pairs):
            return None
        right = [one for _, some in pairs for one in some]
        result[name] = calibration(sure, right, [sample.photo_id for sample in samples] * len(kinds))
    return result


def answers_as_lines(
    samples: Sequence[Sample], said: Mapping[str, Sequence[str]], found: Mapping[str, Found]
) -> list[dict[str, Any]]:
    """Every answer, from which the figures can be computed again."""
    lines = []
    for kind, answers in found.items():
        for sample, text, one in zip(samples, said[kind], answers, strict=True):
            known = {} if one is None else {"found_px": one.point_px, "confidence": one.confidence, "there": one.there}
            at = {"photo": sample.photo_id, "size_wh": sample.size_wh, "point_px": sample.point_px}
            lines.append({"texts": kind, **at, "text": text, **known})
    return lines


# Things that are not there


def absent(given: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """How well `there` tells true texts from those of other photos, absent things, and wrong parts or looks."""
    texts = wanted_texts(given)
    samples = [text.where for text in texts] * 2
    true = [text.long for text in texts] + [text.short for text in texts]
    lengths = ["long"] * len(texts) + ["short"] * len(texts)
    photos = {sample.photo_id for sample in samples}
    # Of photos without true texts a low `there` could be the photo's.
    unfit = [(kind, one) for kind, one in read_absent(given.absent, given.data) if one.photo_id in photos]
    borrowed = [true[k] for k in shuffled(samples[: len(texts)], seed=0)]
    borrowed += [true[len(texts) + k] for k in shuffled(samples[: len(texts)], seed=1)]
    # On other photos neither these nor true texts fit: what tells them apart there is how they are worded.
    pool = [*samples[: len(texts)], *(one for _, one in unfit)]
    moved = [pool[k] for k in shuffled(pool, seed=2)[len(texts) :]]
    asked = [*samples, *samples, *(one for _, one in unfit), *moved]
    words = [*true, *borrowed, *(one.text or "" for _, one in [*unfit, *unfit])]
    model = load_model(given.model, localizer_only=True, device=given.device)
    found = located(model, asked, words, on_progress, "texts")
    there = np.array([np.nan if one is None or one.there is None else one.there for one in found])
    if np.isnan(there).all():
        raise ValueError(f"{given.model} does not tell whether a thing is there; give a model that was taught it")
    there = np.nan_to_num(there, nan=0.0)
    unfit_kinds = [kind for kind, _ in unfit] + [f"{kind}, moved" for kind, _ in unfit]
    kinds = np.array(["true"] * len(true) + ["other photo"] * len(true) + unfit_kinds)
    of = np.array([one.photo_id for one in asked])
    length_of = np.array(lengths + lengths + [""] * len(unfit_kinds))
    # A text of another photo may fit by chance: a sample of them was looked at.
    verdicts = read_fitting(FITTING)
    verdict = np.array([verdicts.get(pair, "") for pair in zip(of.tolist(), words, strict=True)])
    borrowed_ones = kinds == "other photo"
    rows = []
    for title, no in (
        ("texts of other photos", borrowed_ones),
        ("a sample of these", borrowed_ones & (verdict != "")),
        ("of the sample, those not there by a reader", borrowed_ones & (verdict == "no")),
        ("absent things", kinds == "absent"),
        ("wrong part or look", kinds == "wrong"),
    ):
        if not no.any():
            continue
        shown = np.isin(of, of[no])
        row = {"against": title, "true": int(((kinds == "true") & shown).sum()), "negatives": int(no.sum())}
        for name in ("auroc", "auroc of long", "auroc of short"):
            length = name.rpartition(" ")[2]
            yes = (kinds == "true") & shown & (np.isin(length_of, (length,)) if length in lengths else True)
            # Short borrowed texts against short ones: a length must not tell.
            against = no & (np.isin(length_of, (length, "")) if length in lengths else True)
            some = np.flatnonzero(yes | against)
            row[name] = auroc_figure(there[some], yes[some].tolist(), of[some].tolist())
        row["said absent"] = share(there[no] < 0.5, of[no].tolist())
        row["true said absent"] = share(there[(kinds == "true") & shown] < 0.5, of[(kinds == "true") & shown].tolist())
        rows.append(row)
    by_words = []
    for title, kind in (("absent things", "absent, moved"), ("wrong part or look", "wrong, moved")):
        no = kinds == kind
        if no.any():
            row = {"against": title, "true": int(borrowed_ones.sum()), "negatives": int(no.sum())}
            for name, kept in (("auroc", lengths), ("auroc of long", ("long",)), ("auroc of short", ("short",))):
                some = np.flatnonzero(no | (borrowed_ones & np.isin(length_of, kept)))
                row[name] = auroc_figure(there[some], borrowed_ones[some].tolist(), of[some].tolist())
            by_words.append(row)
    columns = {"against": "true texts against", "true": "true", "negatives": "negatives", "auroc": "AUROC"}
    columns |= {"auroc of long": "long ones", "auroc of short": "short ones"}
    told_columns = {"against": "texts", "said absent": "said to be absent, %", "true said absent": "true ones, %"}
    lines = [
        {"kind": str(kind), "photo": str(photo), "text": text, "there": round(float(value), 5)}
        for kind, photo, text, value in zip(kinds, of, words, there, strict=True)
    ]
    by_words_columns = columns | {"against": "on other photos, true texts against"}
    tables = [table(rows, columns, digits=3), table(rows, told_columns), table(by_words, by_words_columns, digits=3)]
    return {"photos": len(photos), "rows": rows, "by_words": by_words, "tables": tables, "answers": lines}


# What people ask for


def phrases(given: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Phrases as people ask, of anything in a photo: how near it is found, and how well `there` tells what is not."""
    asked = read_phrases(given.phrases, given.data)
    wanted = some_photos((one.photo_id for _, one in asked), given.photos)
    asked = [(kind, one) for kind, one in asked if one.photo_id in wanted]
    if not any(kind == "true" for kind, _ in asked):
        raise ValueError(f"{given.phrases} has no phrase that fits a photo; give some of kind true")
    samples, words = [one for _, one in asked], [one.text or "" for _, one in asked]
    # On another photo hardly any fits: what tells them apart there is how they are worded.
    moved = [samples[k] for k in shuffled(samples, seed=0)]
    found: Found
    if given.read is not None:
        answers = read_answers(given.read)
        found = [answers.get((one.photo_id, text)) for one, text in zip(samples, words, strict=True)]
        if None in found:
            raise ValueError(f"{given.read} has no answer to {words[found.index(None)]!r}; give one to every phrase")
    elif given.model is not None:
        model = load_model(given.model, localizer_only=True, device=given.device)
        found = located(model, [*samples, *moved], words * 2, on_progress, "phrases")
    else:
        raise ValueError("phrases needs --model, or --read for a reader's answers")
    kinds, sets = (np.array(some) for some in ([kind for kind, _ in asked], [one.source for one in samples]))
    photos = np.array([one.photo_id for one in samples])
    true = kinds == "true"
    errors = errors_of(samples, found[: len(samples)])
    rows = rows_by_set("phrases", [samples[k] for k in np.flatnonzero(true)], errors[true], {})
    there = np.array([np.nan if one is None or one.there is None else one.there for one in found])
    told = [] if np.isnan(there).all() else told_of_phrases(kinds, sets, photos, np.nan_to_num(there, nan=0.0))
    lines = [
        {"kind": kind, "photo": one.photo_id, "size_wh": one.size_wh, "text": text}
        | ({"point_px": one.point_px} if kind == "true" else {})
        | ({} if at is None else {"there": at.there, "confidence": at.confidence})
        | ({} if at is None or not np.isfinite(at.point_px[0]) else {"found_px": at.point_px})
        for (kind, one), text, at in zip(asked, words, found[: len(asked)], strict=True)
    ]
    columns = {"set": "set", "n": "true phrases", "mpck": "mPCK"}
    columns |= {f"pck@{t}": f"PCK@{t}" for t in ("0.05", "0.1", "0.2")}
    titles = {
        "set": "set",
        "against": "true phrases against",
        "auroc": "AUROC",
        "by words": "the same, on other photos",
    }
    shares = {
        "set": "set",
        "against": "against",
        "true said absent": "true ones said to be absent, %",
        "said absent": "the others, %",
    }
    tables = [table(rows, columns)] + ([table(told, titles, digits=3), table(told, shares)] if told else [])
    return {"photos": len(wanted), "rows": rows, "there": told, "tables": tables, "answers": lines}


def told_of_phrases(kinds: np.ndarray, sets: np.ndarray, photos: np.ndarray, there: np.ndarray) -> list[dict[str, Any]]:
    """How well `there` tells N true phrases from others, and how many of each it calls absent.

    there: (N,) of the phrases on their photos; or (2 N,), with those of the same phrases on other photos behind them.
    """
    there, moved = there[: len(kinds)], there[len(kinds) :]
    told = []
    for name in ("all", *(one for one in SETS if (sets == one).any())):
        for against, no in AGAINST if name == "all" else AGAINST[-1:]:
            some = np.isin(kinds, ("true", *no)) & ((sets == name) | (name == "all"))
            true, of = kinds[some] == "true", photos[some]
            row = {"set": name, "against": against, "n": int(some.sum())}
            row["auroc"] = auroc_figure(there[some], true.tolist(), of.tolist())
            if len(moved):
                row["by words"] = auroc_figure(moved[some], true.tolist(), of.tolist())
            row["true said absent"] = share(there[some][true] < 0.5, of[true].tolist())
            row["said absent"] = share(there[some][~true] < 0.5, of[~true].tolist())
            told.append(row)
    return told


# Parts


def parts(given: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Whether the model's own texts, or somebody who looks, name the object and the part of labelled points right."""
    names, breeds = read_labels()
    vocabulary = Vocabulary(names, breeds)
    drawn = labelled_sets(given.data, given.split, points=given.points, photos=given.photos)
    if (given.model is None) == (given.out is None) or (given.model is not None and given.read is not None):
        raise ValueError("parts needs either --model, or --out for the sheets of a reader, whose answers are --read")
    if given.model is None:
        samples = [sample for _, some in drawn for sample in some]
        if given.read is None:
            write_points(given.out, samples, names)
            return {"points": len(samples), "tables": [f"{len(samples)} points in {given.out}"]}
        texts = read_names(given.out, given.read, samples, names)
    else:
        model = load_model(given.model, localizer_only=False, device=given.device, choose=given.choose)
        samples, texts = [], []
        for name, some in drawn:
            samples += some
            texts += described(model, some, on_progress, name)
    lines = [judged(vocabulary, sample, text) for sample, text in zip(samples, texts, strict=True)]
    sets = np.array([line["set"] for line in lines])
    rows = []
    for name in ("mean over sets", *(one for one in SETS if (sets == one).any())):
        some = [line for line in lines if name in (line["set"], "mean over sets")]
        photos = [line["photo"] for line in some]
        groups = [line["set"] for line in some] if name == "mean over sets" else None
        hits = {
            "object": [line["object_right"] for line in some],
            "part": [line["verdict"] == "right" for line in some],
            "vaguer": [line["verdict"] == "vaguer" for line in some],
            "anywhere": [line["part_named"] for line in some],
            "colour": [line["colour_named"] for line in some],
        }
        figures = {key: share(values, photos, groups) for key, values in hits.items()}
        rows.append({"set": name, "n": len(some), "photos": len(set(photos)), **figures})
    columns = {"set": "set", "n": "points", "object": "object right", "part": "part right", "vaguer": "vaguer claims"}
    columns |= {"anywhere": "part named anywhere, sides not counted", "colour": "names a colour"}
    return {"rows": rows, "tables": [table(rows, columns)], "answers": lines}


def judged(vocabulary: Vocabulary, sample: Sample, text: str) -> dict[str, Any]:
    """What a text claims of a sample's point, and what of it is right."""
    thing, part = sample.object_name or "", sample.part_name or ""
    claim = vocabulary.claim(text)
    object_right, verdict = vocabulary.verdicts(claim, sample.source, thing, part)
    words = words_of(text)
    said = {
        name: [f"{one.side} {one.base}".strip() for one in names]
        for name, names in (("object", claim.object), ("part", claim.part))
    }
    return {
        "set": sample.source,
        "photo": sample.photo_id,
        "point_px": sample.point_px,
        "object": thing,
        "part": part,
        "text": text,
        "claims": said,
        "object_right": object_right,
        "verdict": verdict,
        "part_named": is_named(part, words),
        "colour_named": any(f" {colour} " in f" {' '.join(words)} " for colour in COLOURS),
    }


# Own texts for somebody who looks


def own(given: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Sheets of the model's own texts, or with `--read` the scores of a reader's answers."""
    if given.read is not None:
        result = read_sheets(given.out, given.read)
        tables = []
        if "found" in result:
            columns = {"set": "set", "n": "texts", "unanswered": "unanswered", "mpck": "found at, mPCK"}
            tables.append(table(result["found"], columns | {f"pck@{t}": f"PCK@{t}" for t in ("0.05", "0.1", "0.2")}))
        if "judged" in result:
            of = result["judged"]
            columns = {"n": "texts", "nothing_wrong": "nothing wrong", **{one: f"wrong {one}" for one in of["wrong"]}}
            columns |= {"names_a_colour": "names a colour", "colour_right": "colour right where named"}
            tables.append(table([{**of, **of["wrong"]}], columns))
        return {**result, "tables": tables}
    if given.data is None or given.model is None:
        raise ValueError("own needs --data and --model to write sheets, or --read to score answers")
    drawn = [
        sample
        for _, samples in labelled_sets(given.data, given.split, points=given.points, photos=given.photos)
        for sample in samples
    ]
    model = load_model(given.model, localizer_only=False, device=given.device, choose=given.choose)
    texts = described(model, drawn, on_progress, "own texts")
    write_sheets(given.out, drawn, texts, str(given.model))
    return {"texts": len(drawn), "tables": [f"{len(drawn)} texts in {given.out}: `find` and `judge` are for readers"]}


# The command


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in (
        ("free", free),
        ("absent", absent),
        ("phrases", phrases),
        ("parts", parts),
        ("own", own),
    ):
        one = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        one.add_argument("--data", type=Path, required=name != "own", metavar="DIR", help="folder of the seven sets")
        needed = name in ("free", "absent")
        one.add_argument("--model", required=needed, metavar="M", help='"mini", a checkpoint folder, or a Hub id')
        one.add_argument("--device", help="default: a GPU if there is one, else the CPU")
        one.add_argument("--json", type=Path, metavar="FILE", help="write the figures with every answer there, too")
    for name in ("free", "parts", "own"):
        commands.choices[name].add_argument("--choose", action="store_true", help="own texts as describe --choose")
    for name in ("free", "absent"):
        one = commands.choices[name]
        one.add_argument("--texts", type=Path, required=True, metavar="FILE", help="free texts, JSON lines")
    commands.choices["free"].add_argument(
        "--localizer-only", action="store_true", help="no own texts; M may be a localizer"
    )
    commands.choices["absent"].add_argument(
        "--absent", type=Path, default=ABSENT, metavar="FILE", help="texts that do not fit"
    )
    commands.choices["phrases"].add_argument(
        "--phrases", type=Path, default=PHRASES, metavar="FILE", help="that fit a photo, and that do not"
    )
    for name, points in (("parts", 3), ("own", 1)):
        commands.choices[name].add_argument("--split", default="test", choices=("train", "val", "test"))
        commands.choices[name].add_argument("--points", type=int, default=points, help="of a photo")
    for name, photos in (("free", None), ("absent", None), ("phrases", None), ("parts", None), ("own", 120)):
        commands.choices[name].add_argument(
            "--photos", type=int, default=photos, metavar="N", help="at most so many, evenly of all sets"
        )
    for name in ("parts", "own"):
        commands.choices[name].add_argument(
            "--out", type=Path, required=name == "own", metavar="DIR", help="folder of the sheets"
        )
    for name in ("parts", "own", "phrases"):
        commands.choices[name].add_argument("--read", type=Path, metavar="FILE", help="a reader's answers")
    labels = commands.add_parser("labels", help="what is labelled in the sets")
    labels.add_argument("--data", type=Path, required=True, metavar="DIR")
    return parser


def main(words: Sequence[str] | None = None) -> None:
    parser = command_line()
    given = parser.parse_args(words)
    try:
        if given.command == "labels":
            print(json.dumps(labels_of(given.data), indent=1))
            return
        run = {"free": free, "absent": absent, "phrases": phrases, "parts": parts, "own": own}[given.command]
        with Progress(lambda line: print(line, file=sys.stderr, flush=True)) as progress:
            result = run(given, progress.show)
    except (ValueError, OSError) as error:
        parser.error(f"{given.command}: {one_line(error)}")
    tables, answers = result.pop("tables"), result.pop("answers", None)
    header = {
        "command": " ".join(["mini.py", *(sys.argv[1:] if words is None else words)]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}",
        "versions": versions(),
    }
    print(json.dumps({**header, **result}, indent=2))
    print("\n" + "\n\n".join(tables))
    if given.json is not None:
        given.json.write_text(json.dumps({**header, **result, "answers": answers}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
