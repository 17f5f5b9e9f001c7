from __future__ import annotations

import sys

import httpx
import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from talking_points.bases.hub import download

ANSWER = httpx.Response(404, request=httpx.Request("GET", "https://huggingface.co/api/models/a/b"))


def broken_off() -> Exception:
    """As the Hub's HTTP client tells of a download that breaks off."""
    client = sys.modules[HfHubHTTPError.__mro__[1].__module__.partition(".")[0]]
    error: Exception = client.ReadTimeout("the read timed out")
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RepositoryNotFoundError("404, no such repository\nmore", response=ANSWER), r"unknown model 'a/b'.*404"),
        (
            LocalEntryNotFoundError("no name of this host\nmore"),
            r"'a/b' is no folder here, .*reached \(no name",
        ),
        (broken_off(), r"the Hub cannot be reached \(the read timed out\): is there a network\?"),
        (OSError("the network is down"), r"cannot be reached \(the network is down\): is there a network\?"),
    ],
)
def test_a_hub_that_does_not_know_is_told_from_one_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ValueError, match=said) as raised:
        download("a/b")
    assert "\n" not in str(raised.value)
