"""Scores as a Markdown table, for model cards, READMEs and papers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def markdown_tables(report: Mapping[str, Any]) -> str:
    """One table a set, and how often its texts name the right things.

    Args:
        report: as `evaluation.run.evaluate` returns it.
    """
    tables = []
    for name in dict.fromkeys(row["set"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["set"] == name and row["localizer"] != "oracle"]
        lines = [
            f"**{name}** ({rows[0]['n']} points)",
            "",
            "| text from | found by | PCK@0.05 | PCK@0.1 | PCK@0.2 | mPCK | 95% interval |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            low, high = row["mpck_ci"]
            lines.append(
                f"| {row['describer']} | {row['localizer']} | {row['pck@0.05']:.1f} | {row['pck@0.1']:.1f} "
                f"| {row['pck@0.2']:.1f} | {row['mpck']:.1f} | {low:.1f} to {high:.1f} |"
            )
        said = [
            f"{describer} {shares['names_object']:.1f}% and {shares['names_part']:.1f}%"
            for describer, shares in report["texts"][name].items()
            if shares
        ]
        if said:
            lines += ["", f"Texts that name the right object, and the right part: {'; '.join(said)}."]
        tables.append("\n".join(lines))
    return "\n\n".join(tables) + "\n"
