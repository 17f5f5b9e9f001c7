from talking_points.evaluation.report import markdown_tables


def test_table() -> None:
    row = {
        "set": "plain",
        "describer": "ground-truth",
        "localizer": "blind",
        "n": 7,
        "pck@0.05": 1.25,
        "pck@0.1": 50.0,
        "pck@0.2": 75.0,
        "mpck": 62.5,
        "mpck_ci": [60.0, 65.04],
    }
    texts = {"plain": {"descriptor": {"names_object": 99.25, "names_part": 60.0}}}
    rows = [row, {**row, "localizer": "oracle"}, {**row, "style": "short"}]
    lines = markdown_tables({"rows": rows, "texts": texts, "paper": [], "styles": {}}).splitlines()
    assert lines[0] == "**plain** (7 points)"
    assert lines[-1] == "Texts that name the right object, and the right part: descriptor 99.2% and 60.0%."
    assert lines[-3] == "| ground-truth | blind | 1.2 | 50.0 | 75.0 | 62.5 | 60.0 to 65.0 |"


def test_the_paper_and_the_styles_stand_below() -> None:
    row = {"set": "plain", "describer": "descriptor", "localizer": "localizer", "n": 7, "pck@0.05": 1.0}
    row |= {"pck@0.1": 50.0, "pck@0.2": 75.0, "mpck": 62.5, "mpck_ci": [60.0, 65.0]}
    paper = {**row, "row": "Talking Points", "ours": row, "paper": {"pck@0.1": None, "pck@0.2": 92.33, "mpck": 78.13}}
    panel = {"matrix": {"descriptor": {"as written": {"localizer": 62.5}, "short": {"localizer": 60.0}}}}
    panel |= {"describers": {"descriptor": 62.5}, "spread": {"localizer": {"descriptor": 2.5}}}
    lines = markdown_tables({"rows": [row], "texts": {"plain": {}}, "paper": [paper], "styles": {"plain": panel}})
    assert "| Talking Points | paper |  | 92.3 | 78.1 |  |" in lines
    assert "| descriptor -> localizer | ours | 50.0 | 75.0 | 62.5 | 60.0 to 65.0 |" in lines
    assert lines.endswith("| descriptor | short | 60.0 |\n| descriptor | *best - worst* | 2.5 |\n")
