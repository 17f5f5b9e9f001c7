"""What `talking-points serve`, `collect` and `mcp` can be told."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from talking_points.settings import argument

MOST_MEGAPIXELS = 100
"""As `photos.MAX_PIXELS`."""
MOST_CHARS = 4000
"""Of a text that a person writes."""
SHOWN_SIDE_PX = 1280
"""Longest side of a photo as pages show it."""


@dataclass(frozen=True, kw_only=True)
class PhotoLimits:
    """What is taken of a caller, over HTTP and by an agent's tools. All defaults are ours."""

    # No slots: of the two bases of `ServeSettings` one alone may have them.

    allow_urls: bool = False
    """Fetch photos from public addresses that requests name."""
    max_megabytes: float = 20.0
    """Largest photo, as a file."""
    max_megapixels: float = 50.0
    """Largest photo, decoded."""
    max_text_chars: int = 4000
    """Longest text; the model's own limit, in tokens, holds as well."""

    def __post_init__(self) -> None:
        self.check_limits(max_megabytes=10_000, max_megapixels=MOST_MEGAPIXELS, max_text_chars=1_000_000)

    def check_limits(self, **most: float) -> None:
        """ValueError where a field is not above 0 and at most this."""
        for name, limit in most.items():
            # Written so that NaN fails, too.
            if not 0 < getattr(self, name) <= limit:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: above 0, at most {limit}")

    def check_text(self, text: str, name: str) -> None:
        """ValueError where a text is too long. name: what it is called, such as "text 1"."""
        if len(text) > self.max_text_chars:
            raise ValueError(f"{name} has {len(text):,} characters; at most {self.max_text_chars:,} are allowed")

    @property
    def max_photo_bytes(self) -> int:
        return round(self.max_megabytes * 1e6)

    @property
    def max_pixels(self) -> int:
        return round(self.max_megapixels * 1e6)


@dataclass(frozen=True, kw_only=True, slots=True)
class AddressSettings:
    """Where a server listens, and whom it answers."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all of this machine's."""
    port: int = 7860
    """0 takes a free one."""
    token_env: str | None = None
    """Environment variable with the token that callers must send."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}; allowed: 0 to 65535")

    @property
    def max_body_bytes(self) -> int:
        """Largest body of a request."""
        raise NotImplementedError

    def read_token(self) -> str | None:
        """What callers must present; None: nothing. A ValueError when `token_env` is set and holds no good token."""
        if self.token_env is None:
            return None
        token = os.environ.get(self.token_env)
        if not token:
            raise ValueError(f"token_env is {self.token_env}: that environment variable is not set, or empty")
        if len(token) < 8 or not token.isascii():
            raise ValueError(f"the token in {self.token_env} is too short or not ASCII; at least 8 ASCII characters")
        return token


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeSettings(AddressSettings, PhotoLimits):
    """Models, address, limits and permissions of a server. All defaults are ours."""

    model: tuple[str, ...] = ("mini",)
    """'mini', a checkpoint folder, a Hub id (owner/name), or endpoint:URL,MODEL. Of several, requests name one; or the
    first is asked."""
    page: bool = True
    """The web page beside the API."""
    label_studio: str | None = None
    """URL of the Label Studio whose tasks name photos by paths; they are fetched with LABEL_STUDIO_API_KEY."""
    max_points: int = 64
    """Points or texts of a request."""
    max_waiting: int = 128
    """Points and texts that may wait for a model; more get a 429."""
    wait_ms: float = 5.0
    """How long a request waits for others to go along with it, in milliseconds."""
    device: str | None = None
    """Such as 'cpu' or 'cuda'; a GPU where there is one."""
    style: str | None = None
    """Of stock models and endpoints, how they write points; told by their names unless given."""
    choose: bool = False
    """Try several texts for a point, and give one by which the localizer finds it back: more exact, and slower."""

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is made anew, and the zero-argument form would miss it.
        AddressSettings.__post_init__(self)
        if not self.model:
            raise ValueError("model is empty; name at least one, such as mini")
        PhotoLimits.__post_init__(self)
        self.check_limits(max_points=10_000, max_waiting=1_000_000)
        if not 0 <= self.wait_ms <= 1000:
            raise ValueError(f"wait_ms is {self.wait_ms}; allowed: 0 to 1000 milliseconds")
        if self.label_studio is not None and not self.label_studio.startswith(("http://", "https://")):
            raise ValueError(
                f"label_studio is {self.label_studio!r}; allowed: an address such as http://localhost:8080"
            )

    @property
    def max_body_bytes(self) -> int:
        """Largest body of a request: the largest photo as base64, the most texts, and some room."""
        return self.max_photo_bytes * 4 // 3 + 4 * self.max_points * self.max_text_chars + 65_536


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectSettings(AddressSettings):
    """Which points people describe, and where their texts go."""

    data: Path = field(metadata=argument("SET"))
    """As `evaluate --data`: a built set, a file of points, or SPair-71k."""
    out: Path
    """JSON lines, which `evaluate --describer file:PATH` reads; what is there already is gone on with."""
    split: str = "test"
    """Of a folder."""
    limit: int | None = None
    """Points to describe, at most, drawn as `evaluate --limit` draws them: evenly over the set's sources."""
    seed: int = 0
    """Equal seeds make equal choices."""
    name: str | None = None
    """Who writes; stands beside each text under "by"."""
    port: int = 8001
    """0 takes a free one."""

    def __post_init__(self) -> None:
        AddressSettings.__post_init__(self)
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit is {self.limit}; allowed: at least 1")

    @property
    def max_body_bytes(self) -> int:
        """Largest body of a request: the longest text, each character escaped, and some room."""
        return 12 * MOST_CHARS + 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSettings(PhotoLimits):
    """Model, limits and permissions of the tools that agents are given."""

    model: str = "mini"
    """'mini', a checkpoint folder, a Hub id (owner/name), or endpoint:URL,MODEL."""
    root: Path | None = None
    """Read photos of this folder alone; any that you may read unless given."""
    device: str | None = None
    """Such as 'cpu' or 'cuda'; a GPU where there is one."""
    style: str | None = None
    """Of a stock model or an endpoint, how it writes points; told by its name unless given."""

    def __post_init__(self) -> None:
        PhotoLimits.__post_init__(self)
        if self.root is not None and not self.root.is_dir():
            raise ValueError(f"--root {self.root}: no such folder")
