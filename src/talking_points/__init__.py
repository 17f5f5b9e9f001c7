"""Talking Points: describe one pixel of a photo in words, and find it again from those words.

Every name below is imported on first use, so that `import talking_points` and the command line's `--help`
stay fast: torch and transformers load only with the classes that need them.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talking_points.model.generation import Sampling
    from talking_points.photos import letterbox, open_photo
    from talking_points.pointing.descriptor import PointDescriptor, SampledText
    from talking_points.pointing.encoding import PhotoCache
    from talking_points.pointing.interfaces import Describer, Localizer
    from talking_points.pointing.localizer import PointLocalizer
    from talking_points.pointing.round_trip import RoundTrip, TalkingPoints
    from talking_points.pointing.verify import Verdict
    from talking_points.points import (
        check_points,
        coco_to_photo,
        photo_to_coco,
        photo_to_scaled,
        photo_to_square,
        photo_to_supervision,
        photo_to_unit,
        scaled_to_photo,
        square_to_photo,
        supervision_to_photo,
        unit_to_photo,
    )
    from talking_points.samples import FoundPoint, PhotoPoint

# peft imports bitsandbytes where it is installed, which on CPUs with bf16 instructions warns of a 4-bit kernel that
# nobody asked for.
logging.getLogger("bitsandbytes.backends").setLevel(logging.ERROR)

__version__ = "0.1.0"

__all__ = [
    "Describer",
    "FoundPoint",
    "Localizer",
    "PhotoCache",
    "PhotoPoint",
    "PointDescriptor",
    "PointLocalizer",
    "RoundTrip",
    "SampledText",
    "Sampling",
    "TalkingPoints",
    "Verdict",
    "__version__",
    "check_points",
    "coco_to_photo",
    "letterbox",
    "open_photo",
    "photo_to_coco",
    "photo_to_scaled",
    "photo_to_square",
    "photo_to_supervision",
    "photo_to_unit",
    "scaled_to_photo",
    "square_to_photo",
    "supervision_to_photo",
    "unit_to_photo",
]

_NAMES = {
    "model.generation": ("Sampling",),
    "photos": ("letterbox", "open_photo"),
    "pointing.descriptor": ("PointDescriptor", "SampledText"),
    "pointing.encoding": ("PhotoCache",),
    "pointing.interfaces": ("Describer", "Localizer"),
    "pointing.localizer": ("PointLocalizer",),
    "pointing.round_trip": ("RoundTrip", "TalkingPoints"),
    "pointing.verify": ("Verdict",),
    "points": (
        "check_points",
        "coco_to_photo",
        "photo_to_coco",
        "photo_to_scaled",
        "photo_to_square",
        "photo_to_supervision",
        "photo_to_unit",
        "scaled_to_photo",
        "square_to_photo",
        "supervision_to_photo",
        "unit_to_photo",
    ),
    "samples": ("FoundPoint", "PhotoPoint"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'talking_points' has no attribute {name!r}")
    return getattr(import_module(f"talking_points.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
