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
    lines = markdown_tables({"rows": [row, {**row, "localizer": "oracle"}], "texts": texts}).splitlines()
    assert lines[0] == "**plain** (7 points)"
    assert lines[-1] == "Texts that name the right object, and the right part: descriptor 99.2% and 60.0%."
    assert lines[-3] == "| ground-truth | blind | 1.2 | 50.0 | 75.0 | 62.5 | 60.0 to 65.0 |"
