"""Which files each kind of source has, and what of them a folder holds: expected, found, missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from talking_points.labels.problems import Problem, problem_of

MOST_OTHERS = 8
"""So many other names in a folder are told. Ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderLayout:
    """Files below a folder, as patterns of `Path.glob`."""

    name: str
    """Of the archive, or of whose layout it is."""
    groups: Mapping[str, tuple[str, ...]]
    """By split, as `Source.split` calls it, what must be there together; "val" may be held out of "train"."""
    any_case: bool = False
    """Endings may be in capital letters, too."""


def _of_splits(name: str, patterns: tuple[str, ...], **splits: str) -> FolderLayout:
    """A layout in which {} stands for what the files call a split."""
    return FolderLayout(
        name=name, groups={split: tuple(one.replace("{}", own) for one in patterns) for split, own in splits.items()}
    )


_SAME = {"train": "train", "val": "val", "test": "test"}
_COCO = (
    FolderLayout(
        name="a folder for each split",
        groups={one: (f"{one}/annotations.json", f"{one}/images/*") for one in ("train", "test")},
    ),
    FolderLayout(
        name="COCO's",
        groups={"train": ("annotations/*_train*.json",), "test": ("annotations/*_val*.json",)},
    ),
    _of_splits("Roboflow's", ("{}/_annotations.coco.json",), train="train", val="valid", test="test"),
    _of_splits("Car-Parts'", ("{}/annotations.json", "{}/JPEGImages/*"), train="trainingset", test="testset"),
    FolderLayout(name="one file", groups={"train": ("annotations.json", "images/*")}),
)
LAYOUTS: dict[str, tuple[FolderLayout, ...]] = {
    "pascal-part-116": (
        _of_splits(
            "PascalPart116",
            (
                "images/{}/*.jpg",
                "annotations_detectron2_obj/{}/*.png",
                "annotations_detectron2_part/{}/*.png",
            ),
            train="train",
            test="val",
        ),
    ),
    "ade20k-part-234": (
        FolderLayout(
            name="ADE20KPart234",
            groups={
                split: (
                    f"images/{own}/*.jpg",
                    f"annotations_detectron2_part/{own}/*.png",
                    f"ade20k_instance_{short}.json",
                )
                for split, own, short in (("train", "training", "train"), ("test", "validation", "val"))
            },
        ),
    ),
    "part-imagenet": (
        _of_splits("PartImageNet_OOD", ("{}.json", "{}/*/*.JPEG"), **_SAME),
        _of_splits("PartImageNet_Seg with polygons", ("annotations/{}/{}.json", "images/{}/*.JPEG"), **_SAME),
        _of_splits("PartImageNet_Seg", ("annotations/{}/*.png", "images/{}/*.JPEG"), **_SAME),
    ),
    "label-map": (
        FolderLayout(
            name="label maps",
            groups={"train": ("photos/*", "labels/*.png", "labels.json", "splits.json")},
            any_case=True,
        ),
    ),
    "coco-parts": _COCO,
    "coco": _COCO,
}
"""By a source's kind: the layouts that it may have, of which a folder has one."""
PUBLISHED = ("pascal-part-116", "ade20k-part-234", "part-imagenet")
"""Archives, in which what is missing is a mistake; people's own folders are judged by what reads them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderFound:
    """What a source's folder holds of its layout."""

    source: str
    folder: str
    layout: str
    """The one of which most is there; where nothing is, all that it may be."""
    found: dict[str, int]
    """Expected patterns, and how many files there are of each."""
    missing: tuple[str, ...]
    """Expected patterns without a file."""
    others: tuple[str, ...]
    """Names in the folder that are in no layout of the kind, the first `MOST_OTHERS`."""
    lacking: tuple[str, ...]
    """Splits of which something is there and something is missing."""

    def problems(self) -> list[Problem]:
        """What is wrong with a published archive's folder; a split that is missing as a whole is not."""
        others = f"found: {', '.join(self.others)}" if self.others else "the folder is empty"
        if not self.found:
            said = f"holds nothing of {self.layout}: expected {', '.join(self.missing)}; {others}"
            return [problem_of(self.folder, "", said, "give the folder into which the archive was unpacked")]
        groups = next(one for one in LAYOUTS[_kind(self.source)] if one.name == self.layout).groups
        problems = []
        for split in self.lacking:
            there = ", ".join(f"{self.found[one]:,} of {one}" for one in groups[split] if one in self.found)
            for pattern in (one for one in groups[split] if one in self.missing):
                said = f"is missing, which {self.layout} has; there are {there}"
                problems.append(problem_of(Path(self.folder) / pattern, "", said, "unpack the archive whole"))
        return problems


def look_at_folder(source: str, folder: Path) -> FolderFound:
    """Compare a folder with the layouts that a source of this name may have. Files are counted, not opened."""
    layouts = LAYOUTS[_kind(source)]
    counts = {pattern: _count(folder, pattern, one.any_case) for one in layouts for pattern in _patterns(one)}
    best = max(layouts, key=lambda one: sum(counts[pattern] > 0 for pattern in _patterns(one)))
    found = {pattern: counts[pattern] for pattern in _patterns(best) if counts[pattern]}
    shown = [best] if found else list(layouts)
    known = {pattern.partition("/")[0] for pattern in counts}
    names = sorted(path.name for path in folder.iterdir() if path.name not in known and not path.name.startswith("."))
    return FolderFound(
        source=source,
        folder=str(folder),
        layout=" or ".join(one.name for one in shown),
        found=found,
        missing=tuple(dict.fromkeys(pattern for one in shown for pattern in _patterns(one) if not counts[pattern])),
        others=tuple(names[:MOST_OTHERS]),
        lacking=tuple(
            split
            for split, group in best.groups.items()
            if any(counts[one] for one in group) and not all(counts[one] for one in group)
        ),
    )


def _kind(source: str) -> str:
    return source.partition(".")[0]


def _patterns(layout: FolderLayout) -> list[str]:
    return [pattern for group in layout.groups.values() for pattern in group]


def _count(folder: Path, pattern: str, any_case: bool) -> int:
    name, dot, ending = pattern.rpartition(".")
    if any_case and name.endswith("*"):
        pattern = name + dot + "".join(f"[{letter.lower()}{letter.upper()}]" for letter in ending)
    # macOS leaves files of its own, "._NAME.jpg", in archives.
    return sum(not path.name.startswith(".") for path in folder.glob(pattern))
