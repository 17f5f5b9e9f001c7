"""Models by name: the embedded `mini`, a checkpoint folder, or a Hugging Face Hub id."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from talking_points.bases.base import Base

log = logging.getLogger(__name__)

EMBEDDED = ("mini",)
HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.md")
"""What is downloaded of a Hub repository: never code, never pickles."""


def find_checkpoint(name_or_folder: str | Path) -> Path:
    """The folder of a model.

    Raises:
        ValueError: no such model; says what is allowed.
    """
    name = str(name_or_folder)
    if name in EMBEDDED:
        folder = Path(__file__).parent.parent / "pretrained" / name
        if not (folder / "config.json").is_file():
            raise ValueError(f"the embedded model {name!r} is missing here; install the package again")
        return folder
    folder = Path(name_or_folder)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} is no checkpoint: it has no config.json")
        return folder
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith("."):
        return _download(name)
    raise ValueError(f"unknown model {name!r}: 'mini', a checkpoint folder, or a Hub id (owner/name)")


def _download(repo_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo_id, allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(
            f"unknown model {repo_id!r}: no such folder, and the Hub says: {str(error).splitlines()[0]}"
        ) from None


def load_network(
    name_or_folder: str | Path,
    *,
    device: str | None = None,
    roles: tuple[str, ...] = ("descriptor", "localizer"),
    quantize: str | None = None,
) -> Base:
    """Load a model that will answer, on a device: in fp32 on the CPU, in bf16 on a GPU.

    `roles` and `quantize` are as `load_checkpoint` takes them. A small model comes without transformers
    (`model.plain.read_plain` has the rule); to train one, `load_checkpoint`.

    Raises:
        ImportError: bitsandbytes is not installed.
        ValueError: no such model, the device is absent, or the checkpoint does not fit.
    """
    import torch

    from talking_points.bases.loading import load_base

    folder = find_checkpoint(name_or_folder)
    chosen = choose_device(device)
    dtype = torch.float32 if chosen.type == "cpu" else torch.bfloat16
    return load_base(folder, device=chosen, dtype=dtype, roles=roles, quantize=quantize, answers_only=True)


def choose_device(device: str | None) -> torch.device:
    """A device by name, tried out; None: a GPU if there is one, else the CPU. An absent one is a ValueError."""
    import torch

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        log.info("device %s", device)
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
    return chosen
