"""A smaller copy of labelled photos, for a training machine that the whole ones are too large for.

    python examples/shrink_photos.py clothing_parts/ small/clothing_parts/ 320

JPEG photos are resized, PNG label maps take the nearest label, all else is copied. `label-map` and `coco-parts` read
such a copy as they read the original: COCO's polygons are scaled to the photo that is there.
"""

import shutil
import sys
from pathlib import Path

from PIL import Image

from talking_points import open_photo

if len(sys.argv) != 4 or not sys.argv[3].isdigit() or not int(sys.argv[3]):
    sys.exit("give the folder, a new one, and the long side in pixels")
source, target, long_side = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
if not source.is_dir() or target.exists():
    sys.exit(f"{source} has to be a folder, and {target} must not be there yet")
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
