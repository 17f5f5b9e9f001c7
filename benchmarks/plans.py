"""What trainings over the published sizes of Qwen3-VL take, by the dry runs of the commands: nothing is downloaded.

    python benchmarks/plans.py > benchmarks/results/plans.json

17,000 texts of ten points a photo, by the recipe; the localizer's head is a pointer. Words are counted by mini's
tokenizer, as Qwen's is in no package: the text's tokens, and what follows from them, are estimates for that alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from talking_points.bases.adapted.prompts import QwenPrompts
from talking_points.pointing.pretrained import find_checkpoint

SIZES = ("2b", "4b", "8b")
PHOTOS, POINTS = 1_700, 10
TEXT = (
    "The point is on the left shoe of the person in the middle of the photo, near the top edge of the shoe. It is "
    "dark, smooth leather, below the hem of blue jeans, and to its right is grey pavement with a thin crack."
)


def published(size: str, folder: Path) -> Path:
    """Write the folder of a published size without its weights: config, preprocessor and mini's words."""
    # Here, since they take seconds to import: --help answers at once.
    from transformers import AutoTokenizer

    from talking_points.bases.sizes import CONFIGS

    folder.mkdir()
    shutil.copy(CONFIGS / f"qwen3-vl-{size}.json", folder / "config.json")
    tokenizer = AutoTokenizer.from_pretrained(str(find_checkpoint("mini") / "language_model"))
    tokenizer.add_special_tokens({"additional_special_tokens": [*QwenPrompts.RESERVED, "<|endoftext|>"]})
    tokenizer.save_pretrained(folder)
    preprocessor: dict[str, Any] = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
    preprocessor |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"shortest_edge": 1, "longest_edge": 1}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def planned(*words: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "talking_points", "train", *map(str, words), "--dry-run"]
    plan: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {key: value for key, value in plan.items() if key != "data"}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    plans = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = []
        for photo in range(PHOTOS):
            Image.new("RGB", (64, 48), (photo % 256, photo // 256, 0)).save(folder / f"{photo}.png")
            lines += [
                {"photo": f"{photo}.png", "x": 3.5 + 5 * n, "y": 9.5, "text": TEXT, "object": "x"}
                for n in range(POINTS)
            ]
        points = folder / "points.jsonl"
        points.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        for size in SIZES:
            base, out = published(size, folder / size), folder / "out"
            roles = [("descriptor",), ("localizer", "--head", "pointer")]
            for role in [*roles, *((*one, "--quantize", "nf4") for one in roles if size == SIZES[-1])]:
                plans.append({"base": size, **planned(*role, "--data", points, "--base", base, "--out", out)})
            judged = ("--descriptor", base, "--localizer", base)
            plans.append({"base": size, **planned("grpo", "--keypoints", points, *judged, "--out", out)})
            print(f"{size}: {len(plans)} plans so far", file=sys.stderr)
    print(json.dumps(plans, indent=1))


if __name__ == "__main__":
    main()
