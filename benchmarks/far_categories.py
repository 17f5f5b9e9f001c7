"""Does localization as reward carry a descriptor to things whose texts it never saw?

    python benchmarks/far_categories.py --data sets/cars --object car --out runs/far \\
        --zero-shot runs/people/checkpoint --ceiling runs/both/checkpoint \\
        --localizer runs/localizer/checkpoint --unseen-localizer runs/other/checkpoint

reinforces the zero-shot descriptor (trained with texts about other things) on points of the train split, without texts,
once a seed; then describes the same points of the test split by the descriptor as it was ("zero-shot"), by each
reinforced one ("RL") and by one trained with texts about these things, too ("ceiling"), and finds them again through
the localizer that rewarded and through others that RL never saw. Differences are of the same points; intervals are
bootstraps over photos, all seeds of a photo together. Trainings resume: the same command goes on where it was killed.

`docs/grpo.md` has the commands that train the descriptors.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from talking_points.dataset.selection import Selection
from talking_points.evaluation.data import read_samples, selected_samples
from talking_points.evaluation.metrics import mpck, mpck_difference, mpck_interval, normalised_errors
from talking_points.evaluation.protocol import describe_samples, localize_texts, named_shares
from talking_points.evaluation.run import versions
from talking_points.evaluation.samples import Sample
from talking_points.memory import keep_freed_memory
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.training.settings import GRPOSettings

if TYPE_CHECKING:
    from talking_points import PointLocalizer

Errors = NDArray[np.float64]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zero-shot", required=True, metavar="DIR", help="descriptor without texts about --object")
    parser.add_argument("--ceiling", metavar="DIR", help="descriptor with texts about everything")
    parser.add_argument("--localizer", required=True, metavar="DIR", help="the judge that rewards")
    parser.add_argument("--unseen-localizer", action="append", default=[], metavar="DIR", help="repeatable")
    parser.add_argument("--data", type=Path, required=True, metavar="SET", help="built, with a train and a test split")
    parser.add_argument("--object", action="append", default=[], help="repeatable")
    parser.add_argument("--part", action="append", default=[], help="repeatable")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--points", type=int, default=4)
    parser.add_argument("--evaluate-every", type=int, default=50)
    parser.add_argument("--held-out-points", type=int, default=100)
    parser.add_argument("--group-size", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--kl-weight", type=float, default=0.1)
    parser.add_argument("--reward", default="mse", choices=("mse", "distance"))
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def reinforced(given: argparse.Namespace, seed: int) -> Path:
    """Checkpoint of the descriptor after RL with one seed."""
    from talking_points.training.reinforce import train_grpo

    same = ("steps", "learning_rate", "photos", "points", "evaluate_every", "held_out_points", "group_size", "blocks")
    settings = GRPOSettings(
        keypoints=given.data,
        descriptor=given.zero_shot,
        localizer=given.localizer,
        unseen_localizers=tuple(given.unseen_localizer),
        out=given.out / f"seed{seed}",
        objects=tuple(given.object),
        parts=tuple(given.part),
        warmup_steps=min(50, given.steps // 10),
        save_every=20,
        log_every=5,
        seed=seed,
        temperature=given.temperature,
        kl_weight=given.kl_weight,
        reward=given.reward,
        device=given.device,
        **{name: getattr(given, name) for name in same},
    )
    if not train_grpo(settings):
        raise SystemExit(143)
    return settings.out / "checkpoint"


def test_samples(given: argparse.Namespace) -> list[Sample]:
    selection = Selection(objects=tuple(given.object), parts=tuple(given.part))
    found = read_samples(given.data, "test", lambda problem: print(problem, file=sys.stderr))
    return selected_samples(found, selection, f"{given.data}, split test,")


def errors_of(texts: Sequence[str], localizer: PointLocalizer, samples: Sequence[Sample]) -> Errors:
    readable = [text if localizer.network.prompts.is_readable(text) else "" for text in texts]
    found_px = localize_texts(localizer, samples, readable)
    return normalised_errors(found_px, [s.point_px for s in samples], [s.size_wh for s in samples])


def row(name: str, judge: str, errors: Sequence[Errors], zero_shot: Errors, photos: Sequence[str]) -> dict[str, Any]:
    """Scores of a descriptor through a judge, and its paired difference to the zero-shot one.

    errors: of each seed's descriptor, one where there are no seeds.
    """
    together, everywhere = np.concatenate(errors), list(photos) * len(errors)
    difference = mpck_difference(together, np.tile(zero_shot, len(errors)), everywhere)
    return {
        "descriptor": name,
        "judge": judge,
        "mpck": round(mpck(together), 2),
        "mpck_ci": [round(bound, 2) for bound in mpck_interval(together, everywhere)],
        "mpck_of_seeds": [round(mpck(one), 2) for one in errors],
        "difference": round(difference[0], 2),
        "difference_ci": [round(bound, 2) for bound in difference[1:]],
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| descriptor | found by | mPCK | seeds | minus zero-shot |", "|---|---|---|---|---|"]
    for one in rows:
        low, high = one["mpck_ci"]
        seeds = ", ".join(f"{value:.1f}" for value in one["mpck_of_seeds"]) if len(one["mpck_of_seeds"]) > 1 else ""
        minus = ""
        if one["descriptor"] != "zero-shot":
            minus = "{:+.1f} ({:+.1f} to {:+.1f})".format(one["difference"], *one["difference_ci"])
        score = f"{one['mpck']:.1f} ({low:.1f} to {high:.1f})"
        lines.append(f"| {one['descriptor']} | {one['judge']} | {score} | {seeds} | {minus} |")
    return "\n".join(lines)


def main() -> None:
    given = arguments()
    # After the arguments: --help answers at once.
    import transformers

    from talking_points import PointDescriptor, PointLocalizer

    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    transformers.utils.logging.disable_progress_bar()
    folders = {"zero-shot": [find_checkpoint(given.zero_shot)]}
    folders["RL"] = [reinforced(given, seed) for seed in given.seeds]
    if given.ceiling:
        folders["ceiling"] = [find_checkpoint(given.ceiling)]
    samples = test_samples(given)
    photos = [sample.photo_id for sample in samples]
    judges = {"localizer, which rewarded": given.localizer}
    judges |= {f"unseen {k}": name for k, name in enumerate(given.unseen_localizer, start=1)}
    texts = {
        name: [
            describe_samples(PointDescriptor.from_pretrained(folder, device=given.device), samples) for folder in some
        ]
        for name, some in folders.items()
    }
    rows = []
    for judge, folder in judges.items():
        localizer = PointLocalizer.from_pretrained(folder, device=given.device)
        errors = {name: [errors_of(one, localizer, samples) for one in some] for name, some in texts.items()}
        rows += [row(name, judge, some, errors["zero-shot"][0], photos) for name, some in errors.items()]
    print(table(rows))
    result = {
        "command": " ".join(sys.argv),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}",
        "versions": versions(),
        "settings": {name: value if not isinstance(value, Path) else str(value) for name, value in vars(given).items()},
        "points": len(samples),
        "test_photos": len(set(photos)),
        "stopped": [str(path) for path in sorted(given.out.glob("seed*/stopped.json"))],
        "rows": rows,
        # Right words or wrong ones, wherever they lead.
        "names": {name: [named_shares(samples, one) for one in some] for name, some in texts.items()},
        "texts": {
            name: {s.sample_id: text for s, text in zip(samples[:10], some[0][:10], strict=True)}
            for name, some in texts.items()
        },
    }
    (given.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    print(f"wrote {given.out / 'result.json'}", file=sys.stderr)


if __name__ == "__main__":
    main()
