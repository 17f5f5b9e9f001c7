from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from PIL import Image

from talking_points.evaluation.run import PHOTO_CENTRE, TRAINING_POINTS, sets_of_data


def test_a_limit_takes_of_every_source_and_a_file_knows_no_constant(tmp_path: Path) -> None:
    lines = []
    for source, count in (("first", 30), ("second", 30)):
        for number in range(count):
            name = f"{source}{number}.png"
            Image.new("RGB", (4, 4)).save(tmp_path / name)
            line = {"photo_path": name, "point_px": [3, 3], "size_wh": [4, 4], "text": "a corner", "source": source}
            lines.append(json.dumps(line))
    file = tmp_path / "t.jsonl"
    file.write_text("\n".join(lines))
    (one,) = sets_of_data([file], split="test", limit=10, seed=0, problems=[])
    assert Counter(sample.source for sample in one.samples) == {"first": 5, "second": 5}
    # Not (0.75, 0.75), where all points of the file are.
    assert one.mean_unit.tolist() == [0.5, 0.5] and one.mean_of == PHOTO_CENTRE != TRAINING_POINTS
