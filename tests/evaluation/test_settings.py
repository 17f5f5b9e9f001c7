from __future__ import annotations

from pathlib import Path

import pytest

from talking_points.evaluation.settings import EvaluationSettings, PointingSettings

OUT, DATA = Path("out"), (Path("set"),)


def test_who_takes_part() -> None:
    usual = EvaluationSettings(out=OUT, data=DATA)
    assert usual.contestants(have_texts=True) == (["ground-truth", "descriptor"], ["localizer"])
    assert usual.contestants(have_texts=False) == (["descriptor"], ["localizer"])
    table = EvaluationSettings(out=OUT, data=DATA, table="4", localizer=("localizer:y",))
    assert table.contestants(have_texts=True) == (["ground-truth"], ["localizer", "localizer:y"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "expected --data PATH, or --source NAME=DIR, and not both"),
        ({"data": DATA, "source": ("a=b",)}, "and not both"),
        ({"data": DATA, "limit": 0}, "--limit is 0; allowed: at least 1"),
        ({"data": DATA, "max_requests": 0}, "--max-requests is 0; allowed: at least 1"),
        ({"data": DATA, "workers": 2}, "--workers is 2; allowed: 1, or 1 and more with --engine ray"),
        ({"data": DATA, "describer": ("gpt",)}, "describer is 'gpt'; allowed: ground-truth"),
        ({"data": DATA, "describer": ("descriptor:",)}, "describer is 'descriptor:'; allowed"),
        ({"data": DATA, "localizer": ("molmo",)}, "localizer is 'molmo'; allowed: localizer"),
        (
            {"data": DATA, "localizer": ("blind:a", "blind:b")},
            "names several blind ones, blind:a, blind:b; allowed: one",
        ),
        ({"source": ("a=b",), "cross_photo": True, "sets": ("plain",)}, "--cross-photo chooses the sets"),
        ({"data": DATA, "table": "3"}, "give --describer descriptor:DIR"),
    ],
)
def test_wrong_settings_are_one_line(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        EvaluationSettings(out=OUT, **given)
    assert "\n" not in str(error.value)


def test_pointing_settings() -> None:
    assert PointingSettings(out=OUT, data=OUT, layout="ap-10k").localizer == ("localizer",)
    with pytest.raises(ValueError, match="localizer is 'blind'; allowed"):
        PointingSettings(out=OUT, data=OUT, layout="ap-10k", localizer=("blind",))
