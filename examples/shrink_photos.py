"""A smaller copy of labelled photos, for a training machine that the whole ones are too large for.

    python examples/shrink_photos.py clothing_parts/ small/clothing_parts/ 320

JPEG photos are resized, PNG label maps take the nearest label, all else is copied. `label-map` and `coco-parts` read
such a copy as they read the original: COCO's polygons are scaled to the photo that is there.
"""

import argparse
import shutil
from pathlib import Path

from PIL import Image

from talking_points import open_photo

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("source", type=Path, help="folder of labelled photos")
parser.add_argument("target", type=Path, help="a new one")
parser.add_argument("long_side", type=int, help="of a photo, in pixels; smaller ones stay as they are")
given = parser.parse_args()
source, target, long_side = given.source, given.target, given.long_side
if long_side < 1:
    parser.exit(2, f"the long side is {long_side} pixels; give 1 or more\n")
if not source.is_dir() or target.exists():
    parser.exit(2, f"{source} has to be a folder, and {target} must not be there yet\n")
for path in sorted(path for path in source.rglob("*") if path.is_file()):
    copy = target / path.relative_to(source)
    copy.parent.mkdir(parents=True, exist_ok=True)
    is_photo = path.suffix.lower() in (".jpg", ".jpeg")
    if not is_photo and path.suffix.lower() != ".png":
        shutil.copyfile(path, copy)
        continue
    # Photos are turned upright, as labels are; of a label map the numbers count, whatever its palette.
    image = open_photo(path) if is_photo else Image.open(path)
    scale = min(1.0, long_side / max(image.size))
    size_wh = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    resampling = Image.Resampling.LANCZOS if is_photo else Image.Resampling.NEAREST
    image.resize(size_wh, resampling).save(copy, **({"quality": 88} if is_photo else {}))
print(f"{sum(path.stat().st_size for path in target.rglob('*') if path.is_file()) / 1e6:.1f} MB in {target}")
