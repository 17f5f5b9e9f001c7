"""Models on the Hugging Face Hub: their names, and their files on this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.md")
"""What is downloaded of a Hub repository: never code, never pickles."""
CONFIG_FILES = ("*.json", "*.jinja")
"""Without weights."""


def is_hub_id(name: str) -> bool:
    """Whether a name is that of a Hub repository, which takes a while to download, and of no folder."""
    is_one = re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith(".")
    return bool(is_one) and not Path(name).is_dir()


def download(repo_id: str, patterns: Sequence[str] = HUB_FILES, *, revision: str | None = None) -> Path:
    """A repository's folder in the Hub's cache. revision: a commit; None: the newest.

    Raises:
        ValueError: there is none, or it cannot be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    # What its HTTP client raises, whichever that is, when a download breaks off.
    of_client = cast(type[Exception], HfHubHTTPError.__mro__[1])
    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=list(patterns)))
    except HfHubHTTPError as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"unknown model {repo_id!r}: no such folder, and the Hub says: {said}") from None
    except (LocalEntryNotFoundError, OSError, of_client) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{repo_id!r} is no folder here, and the Hub cannot be reached ({said}): is there a network?"
        ) from None


def id_of_folder(folder: Path) -> tuple[str, str] | None:
    """Repository and commit of a folder in the Hub's cache; None for any other.

    Example:
        >>> id_of_folder(Path("hub/models--Qwen--Qwen3-VL-2B-Instruct/snapshots/89644892e4"))
        ('Qwen/Qwen3-VL-2B-Instruct', '89644892e4')
    """
    found = re.search(r"models--([\w.-]+?)--([\w.-]+)/snapshots/([0-9a-f]+)$", folder.as_posix())
    return None if found is None else (f"{found[1]}/{found[2]}", found[3])
