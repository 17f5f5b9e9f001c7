"""Cells of tables, of CSV and of Parquet, as JSON has them."""

from __future__ import annotations

import json
import math
from typing import Any

_CELLS_OF_JSON = ("hidden", "size_wh", "object_box_xyxy", "part_box_xyxy")


def cell_as_json(name: str, cell: str) -> Any:
    """A cell of a CSV, by its column's name; None for an empty one. What cannot be read stays a text."""
    if not cell:
        return None
    if name in _CELLS_OF_JSON:
        try:
            return json.loads(cell.lower() if name == "hidden" else cell, parse_constant=_no_number)
        except (ValueError, RecursionError):
            return cell
    if name not in ("x", "y"):
        return cell
    try:
        number = float(cell)
    except ValueError:
        return cell
    return number if math.isfinite(number) else None


def plain(value: Any) -> Any:
    """A value as JSON has it; what JSON does not have, as a text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else str(value)


def _no_number(name: str) -> None:
    """NaN and infinities are no numbers of JSON."""
