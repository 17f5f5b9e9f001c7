"""constraints.txt holds on the oldest Python, too."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OLDEST = "3.10"


def test_a_release_that_dropped_the_oldest_python_has_a_marker() -> None:
    if not (ROOT / "constraints.txt").is_file():
        pytest.skip("constraints.txt is not beside the tests")
    assert f'requires-python = ">={OLDEST}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pythons = {canonicalize_name(one.name): one.metadata["Requires-Python"] or "" for one in distributions()}
    for pin in pins:
        # What no installed package says is not known here.
        admits = OLDEST in SpecifierSet(pythons.get(canonicalize_name(pin.name), f">={OLDEST}"))
        pinned = pin.marker is None or pin.marker.evaluate({"python_version": OLDEST})
        assert admits or not pinned, f"{pin} has dropped Python {OLDEST}: mark it as the others are"
