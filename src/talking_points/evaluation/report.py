"""Scores as a Markdown table, for model cards, READMEs and papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SCORES = ("pck@0.1", "pck@0.2", "mpck")


def markdown_tables(report: Mapping[str, Any]) -> str:
    """One table a set, and how often its texts name the right things.

    Args:
        report: as `evaluation.run.evaluate` returns it.
    """
    tables = []
    for name in dict.fromkeys(row["set"] for row in report["rows"]):
        rows = [
            row
            for row in report["rows"]
            if row["set"] == name and row["localizer"] != "oracle" and not row.get("style")
        ]
        lines = [
            f"**{name}** ({rows[0]['n']} points)",
            "",
            "| text from | found by | PCK@0.05 | PCK@0.1 | PCK@0.2 | mPCK | 95% interval |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            if row["localizer"] == "oracle":
                continue
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
        tables += _beside_paper([one for one in report["paper"] if one["set"] == name])
        if name in report["styles"]:
            tables.append(_style_matrix(report["styles"][name]))
    return "\n\n".join(tables) + "\n"


def _beside_paper(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The paper's row and ours, one above the other."""
    if not rows:
        return []
    lines = ["| row | | PCK@0.1 | PCK@0.2 | mPCK | 95% interval |", "|---|---|---|---|---|---|"]
    for row in rows:
        low, high = row["ours"]["mpck_ci"]
        for whose, interval in (("paper", ""), ("ours", f"{low:.1f} to {high:.1f}")):
            scores = " | ".join("" if (v := row[whose][k]) is None else f"{v:.1f}" for k in SCORES)
            name = row["row"] if whose == "paper" else f"{row['describer']} -> {row['localizer']}"
            lines.append(f"| {name} | {whose} | {scores} | {interval} |")
    return ["\n".join(lines)]


def _style_matrix(panel: Mapping[str, Any]) -> str:
    """mPCK of each describer in each style by each judge; the judges' spreads last."""
    spread = panel["spread"]
    judges = list(spread)
    lines = [f"| text from | style | {' | '.join(judges)} |", "|---|---|" + "---|" * len(judges)]
    for who, styles in panel["matrix"].items():
        lines += [
            f"| {who} | {style} | {' | '.join(f'{scores[judge]:.1f}' for judge in judges)} |"
            for style, scores in styles.items()
        ]
        lines.append(f"| {who} | *best - worst* | {' | '.join(f'{spread[j][who]:.1f}' for j in judges)} |")
    return "\n".join(lines)
