"""How requests wait, and what the server allows."""

from __future__ import annotations

from dataclasses import dataclass, field

from talking_points.photos import MAX_PIXELS


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """How requests wait. All values are ours."""

    wait_ms: float = 5.0
    """Longest time that a request waits for others to join it, in milliseconds, when the network is free."""
    max_waiting: int = 128
    """Points and texts that may wait; a request that would make it more is refused."""

    def __post_init__(self) -> None:
        if not 0 <= self.wait_ms <= 1000:
            raise ValueError(f"wait_ms is {self.wait_ms}; allowed: 0 to 1000 milliseconds")
        if self.max_waiting < 1:
            raise ValueError(f"max_waiting is {self.max_waiting}; allowed: at least 1 point or text")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingConfig:
    """Limits and permissions. All values are ours."""

    max_photo_bytes: int = 20_000_000
    """Largest photo, as a file, in bytes."""
    max_pixels: int = 50_000_000
    """Largest photo, decoded, in pixels."""
    max_points: int = 64
    """Points or texts of one request."""
    max_text_chars: int = 4000
    """Longest text. The model's own limit, in tokens, holds as well."""
    max_bytes_in_flight: int = 256_000_000
    """Bodies of all requests being read or answered; what would make it more is refused for now."""
    body_timeout_s: float = 60.0
    """Longest time that a request's body may take to arrive."""
    allow_urls: bool = False
    """Whether photos are fetched from public addresses that requests name."""
    token: str | None = field(default=None, repr=False)
    """What callers must present; None: nothing."""
    label_studio_url: str | None = None
    """Of the Label Studio whose tasks name photos by paths, such as http://localhost:8080; None: there is none."""
    label_studio_token: str | None = field(default=None, repr=False)
    """A Label Studio access token, sent to that address only."""

    def __post_init__(self) -> None:
        for name in ("max_photo_bytes", "max_pixels", "max_points", "max_text_chars", "body_timeout_s"):
            # Written so that NaN fails, too.
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: more than 0")
        if self.max_pixels > MAX_PIXELS:
            raise ValueError(f"max_pixels is {self.max_pixels:,}; allowed: at most {MAX_PIXELS:,}")
        if self.max_bytes_in_flight < self.max_body_bytes:
            raise ValueError(
                f"max_bytes_in_flight is {self.max_bytes_in_flight:,}; allowed: at least the {self.max_body_bytes:,} "
                "that the largest photo takes"
            )
        url = self.label_studio_url
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError(f"label_studio_url is {url!r}; allowed: an address such as http://localhost:8080")
        if self.token is not None and (len(self.token) < 8 or not self.token.isascii()):
            raise ValueError("the token is too short or not ASCII; allowed: at least 8 ASCII characters")

    @property
    def max_body_bytes(self) -> int:
        """Largest body of a request: the largest photo as base64, the most texts, and some room."""
        return self.max_photo_bytes * 4 // 3 + 4 * self.max_points * self.max_text_chars + 65_536
