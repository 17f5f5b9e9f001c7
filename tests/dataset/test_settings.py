from pathlib import Path

import pytest

from talking_points.dataset.settings import BuildSettings


def settings_of(**changes):
    return BuildSettings(**{"sources": ("label-map=people",), "out": Path("set")} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"records": 0}, "records must be at least 1, got 0"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"concurrency": 0}, "concurrency must be at least 1"),
        ({"test_share": 1.5}, r"test_share must be in \[0, 1\], got 1.5"),
        ({"smooth_share": -0.1}, r"smooth_share must be in \[0, 1\]"),
        ({"seed": -1}, "seed must not be negative"),
        ({"dialects": ()}, "at least one dialect of paper"),
        ({"dialects": ("latin",)}, 'unknown dialect "latin"; known are paper'),
        ({"engine": "spark"}, "--engine must be local or ray, got spark"),
        ({"photos": "both"}, "--photos must be embed or path, got both"),
        ({"writer": "descriptor:mini"}, "expected rules or endpoint:URL,MODEL$"),
        ({"object_describer": "magic"}, "expected rules, endpoint:URL,MODEL, descriptor:MODEL or caption:MODEL$"),
        ({"local_describer": "caption:mini"}, "expected rules, endpoint:URL,MODEL or descriptor:MODEL$"),
        ({"object_describer": "caption:"}, 'object_describer is "caption:", expected rules'),
        ({"object_describer": "descriptor:endpoint:http://host/v1,m"}, "is given without descriptor: before it"),
        ({"writer": "endpoint:http://host/v1"}, "needs an address and a model"),
        ({"sources": ()}, "at least one source"),
        ({"audit": "0"}, "--audit expects a share such as 5% or 0.05, got '0'"),
        ({"audit": "some"}, "--audit expects a share"),
        ({"audit": "101%"}, "--audit expects a share"),
    ],
)
def test_settings_that_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings_of(**changes)


@pytest.mark.parametrize(("said", "share"), [(None, None), ("5%", 0.05), ("0.05", 0.05), ("100%", 1.0)])
def test_an_audit_s_share_is_a_percentage_or_a_number(said, share):
    assert settings_of(audit=said).audit_share == share
