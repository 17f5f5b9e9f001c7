"""A page for a person to check a share of a built set: photo, text, and an empty answer (the paper's manual check).

`audit/index.html` shows each photo and its text; whoever has looked for the point uncovers it and says whether the
words led there. The page saves `answers.csv`, which goes into the same folder (a spreadsheet can fill it in as well).
"""

from __future__ import annotations

import csv
import html
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from talking_points.dataset.store import BuiltRecord
from talking_points.photos import open_photo

FOLDER = "audit"
ANSWERS = "answers.csv"
PHOTO_SIDE_PX = 1024
YES, NO = "yes", "no"
"""What `found` may hold, beside nothing."""


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
        if not self.answered:
            return (0.0, 1.0)
        z, n = 1.96, self.answered
        middle = (self.share + z * z / (2 * n)) / (1 + z * z / n)
        reach = z * math.sqrt(self.share * (1 - self.share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return (max(0.0, middle - reach), min(1.0, middle + reach))


def write_audit(
    folder: Path, records: Sequence[BuiltRecord], read_photo: Callable[[BuiltRecord], bytes], *, share: float, seed: int
) -> int:
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
    audit = folder / FOLDER
    if (audit / ANSWERS).is_file():
        return read_answers(audit / ANSWERS)[0]
    told = [record for record in records if record.text]
    split = [record for record in told if record.split == "test"] or told
    if not split:
        return 0
    count = min(len(split), max(1, round(share * len(split))))
    drawn = np.random.default_rng(seed).choice(len(split), size=count, replace=False)
    chosen = [split[int(number)] for number in sorted(drawn)]
    (audit / "photos").mkdir(parents=True, exist_ok=True)
    entries = []
    for number, record in enumerate(chosen):
        name = f"{number:05d}.jpg"
        with Image.open(io.BytesIO(read_photo(record))) as image:
            photo = open_photo(image)
        photo.thumbnail((PHOTO_SIDE_PX, PHOTO_SIDE_PX))
        photo.save(audit / "photos" / name, quality=90)
        entries.append(_entry(number, name, record))
    (audit / "index.html").write_text(_PAGE.replace("ENTRIES", "\n".join(entries)), encoding="utf-8")
    rows = io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(["record_id", "found"])
    table.writerows([record.record_id, ""] for record in chosen)
    # Last: a page without its list would be taken for finished.
    unfinished = audit / f"{ANSWERS}.part"
    unfinished.write_text(rows.getvalue(), encoding="utf-8")
    os.replace(unfinished, audit / ANSWERS)
    return count


def read_audit(folder: Path) -> AuditResult | None:
    """The answers of a set; None when no audit was written.

    Raises:
        ValueError: answers.csv is not what the page writes; the message names the line.
    """
    path = folder / FOLDER / ANSWERS
    if not path.is_file():
        return None
    asked, answered, found = read_answers(path)
    return AuditResult(asked=asked, answered=answered, found=found)


def read_answers(path: Path) -> tuple[int, int, int]:
    """How many were asked, answered, and answered with yes. Errors as `read_audit`."""
    asked = answered = found = 0
    seen: set[str] = set()
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        if next(lines, None) != ["record_id", "found"]:
            raise ValueError(f"{path}:1: expected the columns record_id,found")
        for number, line in enumerate(lines, start=2):
            if not line:
                continue
            answer = line[1].strip().lower() if len(line) == 2 else None
            if answer not in (YES, NO, ""):
                raise ValueError(
                    f"{path}:{number}: expected a record's id and yes, no or nothing, got {','.join(line)}"
                )
            if line[0] in seen:
                raise ValueError(f"{path}:{number}: {line[0]} is there twice")
            seen.add(line[0])
            asked += 1
            answered += answer != ""
            found += answer == YES
    return asked, answered, found


def _entry(number: int, photo: str, record: BuiltRecord) -> str:
    left, top = (100 * value for value in record.point_unit)
    name = html.escape(record.record_id, quote=True)
    return f"""<section data-record="{name}">
<p class="text">{number + 1}. {html.escape(record.text or "")}</p>
<input type="checkbox" id="show{number}"><label for="show{number}">show the point</label>
<div class="photo"><img loading="lazy" src="photos/{quote(photo)}" alt="">
<i style="left:{left:.3f}%;top:{top:.3f}%"></i></div>
<p>Did the words lead there?
<label><input type="radio" name="r{number}" value="yes"> yes</label>
<label><input type="radio" name="r{number}" value="no"> no</label></p>
</section>"""


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Can the point be found?</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid #ccc; padding: 1rem 0; }
.photo { position: relative; display: inline-block; } .photo img { max-width: 100%; max-height: 80vh; display: block; }
.photo i { display: none; position: absolute; width: 18px; height: 18px; margin: -11px 0 0 -11px; border-radius: 50%;
  border: 2px solid red; outline: 1px solid white; }
input:checked ~ .photo i { display: block; }
button { position: sticky; top: .5rem; font: inherit; padding: .4rem 1rem; }
</style>
<h1>Can the point be found?</h1>
<p>Read each text, look for its point in the photo, then uncover the point and answer. When you are done (or tired),
save the answers and put the file into the folder of this page in place of <code>answers.csv</code>; what is left
open stays unanswered.</p>
<button onclick="save()">Save answers.csv</button>
ENTRIES
<script>
function save() {
  const quoted = value => /[",\\n]/.test(value) ? '"' + value.replaceAll('"', '""') + '"' : value;
  const lines = ["record_id,found"];
  for (const one of document.querySelectorAll("section")) {
    const answer = one.querySelector("input[type=radio]:checked");
    lines.push(quoted(one.dataset.record) + "," + (answer ? answer.value : ""));
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\\n") + "\\n"], {type: "text/csv"}));
  link.download = "answers.csv";
  link.click();
}
</script>
</html>
"""
