"""Where the server listens."""

from __future__ import annotations

import socket


def open_socket(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes any free one. An OSError of one line when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(
            f"cannot listen on {host}, port {port} ({reason}); choose others with --host and --port"
        ) from None
