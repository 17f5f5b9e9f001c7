"""Seconds to see a photo: `mini`'s vision encoder on one CPU thread, and what each of its ways saves.

    python benchmarks/seeing.py > benchmarks/results/seeing.json

16 squares, cut from the demo's photos, each way once a round in turn, medians of five rounds. "as it is" gathers rows
of cells and takes the photos of a batch one by one; "grid_sample" samples maps as on a GPU; "together" takes the batch
at once.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np

from talking_points.demo import demo_photos
from talking_points.evaluation.run import versions
from talking_points.photos import letterbox, open_photo
from talking_points.pointing.pretrained import find_checkpoint

if TYPE_CHECKING:
    import torch

PHOTOS, ROUNDS = 16, 5


def squares(side: int) -> torch.Tensor:
    """(PHOTOS, 3, side, side): crops of the demo's photos, none twice."""
    import torch

    photos = [open_photo(photo.path) for photo in demo_photos()]
    rng = np.random.default_rng(0)
    cut = []
    for k in range(PHOTOS):
        photo = photos[k % len(photos)]
        left, top = (int(rng.integers(0, size // 4)) for size in photo.size)
        cut.append(letterbox(photo.crop((left, top, *photo.size)), side))
    return torch.from_numpy(np.stack(cut))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    # After the arguments: torch takes seconds to import, and --help answers at once.
    import torch

    from talking_points.bases.loading import load_base
    from talking_points.model import pixel_decoder

    torch.set_num_threads(1)
    network = load_base(find_checkpoint("mini"))
    pixels = squares(network.side)

    def sampling() -> None:
        with patch.object(pixel_decoder, "_gather", pixel_decoder._sample):
            network.encode_photos(pixels)

    ways: dict[str, Callable[[], object]] = {
        "as it is": lambda: network.encode_photos(pixels),
        "grid_sample": sampling,
        "together": lambda: network.segmenter(pixels),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.inference_mode():
        network.encode_photos(pixels[:1])
        for _ in range(ROUNDS):
            for name, way in ways.items():
                begun = time.perf_counter()
                way()
                seconds[name].append((time.perf_counter() - begun) / PHOTOS)
    a_photo = {name: round(statistics.median(some), 4) for name, some in seconds.items()}
    shares = {name: round(value / a_photo["as it is"], 3) for name, value in a_photo.items()}
    told = {"photos": PHOTOS, "rounds": ROUNDS, "seconds_a_photo": a_photo, "ratio": shares}
    print(json.dumps(told | {"machine": platform.machine(), "threads": 1, "versions": versions()}, indent=1))


if __name__ == "__main__":
    main()
