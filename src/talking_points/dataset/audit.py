"""A page for a person to check a share of a built set: photo, text, and an empty answer (the paper's manual check).

`audit/index.html` shows each photo and its text; whoever has looked for the point uncovers it and says whether the
words led there. The page saves `answers.csv`, which goes into the same folder (a spreadsheet can fill it in as well).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from talking_points.dataset.store import BuiltRecord, ReadPhoto
from talking_points.files import write_whole
from talking_points.pages import render
from talking_points.photos import decode_photo

ANSWERS = Path("audit") / "answers.csv"
COLUMNS = ["record_id", "found"]
"""Of the answers; `found` is yes, no or nothing."""
PHOTO_SIDE_PX = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditResult:
    """What people answered."""

    asked: int
    answered: int
    found: int
    """Of the answered ones, how many points could be found from their text."""

    @property
    def share(self) -> float:
        """Found among answered; NaN before the first answer."""
        return self.found / self.answered if self.answered else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the share (Wilson's)."""
        # Here, as it takes a second to import, which only answered audits need to wait.
        from scipy.stats import binomtest

        if not self.answered:
            return (0.0, 1.0)
        found = binomtest(self.found, self.answered).proportion_ci(method="wilson")
        return (float(found.low), float(found.high))


def write_audit(folder: Path, records: Sequence[BuiltRecord], read_photo: ReadPhoto, *, share: float, seed: int) -> int:
    """Write the page for a share of the test split (of the train split when there is no test split).

    Answers that are already there are kept, and the page with them.

    Args:
        folder: of the set.
        records: all of the set.
        read_photo: gives the bytes of a record's photo file.
        share: of the split's records with a text, in [0, 1]; one record at least.
        seed: equal seeds choose equally.

    Returns:
        How many records are on the page.
    """
    begun = read_audit(folder)
    if begun is not None:
        return begun.asked
    told = [record for record in records if record.text]
    split = [record for record in told if record.split == "test"] or told
    if not split:
        return 0
    count = min(len(split), max(1, round(share * len(split))))
    drawn = np.random.default_rng(seed).choice(len(split), size=count, replace=False)
    chosen = [split[int(number)] for number in sorted(drawn)]
    audit = (folder / ANSWERS).parent
    (audit / "photos").mkdir(parents=True, exist_ok=True)
    for number, record in enumerate(chosen):
        photo = decode_photo(read_photo(record))
        photo.thumbnail((PHOTO_SIDE_PX, PHOTO_SIDE_PX))
        photo.save(audit / "photos" / f"{number:05d}.jpg", quality=90)
    write_whole(audit / "index.html", render("talking_points.dataset", "audit.html.j2", records=chosen))
    rows = io.StringIO()
    csv.writer(rows, lineterminator="\n").writerows([COLUMNS, *([record.record_id, ""] for record in chosen)])
    # Last: a page without its list would be taken for finished.
    write_whole(folder / ANSWERS, rows.getvalue())
    return count


def read_audit(folder: Path) -> AuditResult | None:
    """The answers of a set; None when no audit was written.

    Raises:
        ValueError: answers.csv is not what the page writes; the message names the line.
    """
    path = folder / ANSWERS
    if not path.is_file():
        return None
    answers: dict[str, str] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        if next(lines, None) != COLUMNS:
            raise ValueError(f"{path}:1: expected the columns {','.join(COLUMNS)}")
        for number, line in enumerate(lines, start=2):
            if not line:
                continue
            answer = line[1].strip().lower() if len(line) == 2 else None
            if answer not in ("yes", "no", ""):
                got = ",".join(line)
                raise ValueError(f"{path}:{number}: expected a record's id and yes, no or nothing, got {got}")
            if line[0] in answers:
                raise ValueError(f"{path}:{number}: {line[0]} is there twice")
            answers[line[0]] = answer
    given = [answer for answer in answers.values() if answer]
    return AuditResult(asked=len(answers), answered=len(given), found=given.count("yes"))
