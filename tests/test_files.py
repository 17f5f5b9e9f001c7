from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from talking_points.cli import main
from talking_points.files import disk_full_explained
from talking_points.serving.settings import ServeSettings

FULL = "the disk of sets/a is full; what is finished is kept: make room and start the same command again"
NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


class FullDisk:
    """A file on a full disk."""

    def write(self, content: bytes) -> int:
        raise NO_SPACE

    def flush(self) -> None:
        pass


def fail_as_safetensors() -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def fail_by_quota() -> None:
    raise OSError(errno.EDQUOT, "Disk quota exceeded")


@pytest.mark.parametrize(
    "write",
    [
        lambda: FullDisk().write(b""),
        # Raises a RuntimeError of its own on top.
        lambda: torch.save({"a": torch.zeros(9)}, FullDisk()),  # type: ignore[arg-type]
        lambda: Image.new("RGB", (9, 9)).save(FullDisk(), "PNG"),  # type: ignore[arg-type]
        fail_as_safetensors,
        fail_by_quota,
    ],
)
def test_a_full_disk_is_one_line_whoever_met_it(write) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(OSError) as full, disk_full_explained(Path("sets/a")):
        write()
    assert str(full.value) == FULL


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), ValueError("bad"), KeyboardInterrupt()])
def test_other_errors_stay_as_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, disk_full_explained(None):
        raise error
    assert raised.value is error


def test_every_command_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one whose settings have no `out`, too."""

    def full(self: ServeSettings) -> None:
        raise NO_SPACE

    monkeypatch.setattr(ServeSettings, "read_token", full)
    with pytest.raises(SystemExit) as stopped:
        main(["serve"])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.startswith("error: the disk is full; ") and said.count("\n") == 1
