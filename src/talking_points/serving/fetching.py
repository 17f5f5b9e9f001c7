"""Photos from addresses that a client names: only public ones, and only the address that was checked.

A name is resolved once, every address it has is checked, and the connection goes to a checked address: a name that
resolves to another address a moment later (DNS rebinding) gains nothing. Redirects are checked the same way.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import SplitResult, quote, urljoin, urlsplit

MOST_REDIRECTS = 3
TIMEOUT_S = 15.0
"""For the whole of a photo, redirects included. Ours."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def fetch(url: str, *, max_bytes: int) -> bytes:
    """Get what lies at a public http or https address.

    Raises:
        ValueError: another kind of URL, an address that is not public, no answer, or too many bytes; of one line.
    """
    deadline_s = time.monotonic() + TIMEOUT_S
    for _ in range(MOST_REDIRECTS + 1):
        parts = _parse(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        address = public_address(host, port)
        response = _get(parts, host, port, address, {}, deadline_s)
        target = response.headers.get("Location")
        if response.status in (301, 302, 303, 307, 308) and target:
            response.close()
            url = urljoin(url, target)
            continue
        return _body(response, host, max_bytes, deadline_s)
    raise ValueError(f"the photo's URL redirects more than {MOST_REDIRECTS} times")


def fetch_from(base_url: str, path: str, *, headers: dict[str, str], max_bytes: int) -> bytes:
    """Get a path of a server that the operator named, wherever it is; no redirects.

    Raises:
        ValueError: no answer, or too many bytes.
    """
    deadline_s = time.monotonic() + TIMEOUT_S
    parts = _parse(base_url.rstrip("/") + path)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    return _body(_get(parts, host, port, host, headers, deadline_s), host, max_bytes, deadline_s)


def public_address(host: str, port: int) -> str:
    """A public address of a host; a ValueError when any of its addresses is not public, or it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ValueError(f"the photo's host {host[:100]!r} is unknown") from None
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not is_public(address):
            raise ValueError(f"the photo's host {host[:100]!r} is not public; send the photo itself")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is one that anybody can reach, also when it wraps an IPv4 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _parse(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a port that is none
    except ValueError:
        raise ValueError(f"the photo's URL cannot be read: {url[:100]!r}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"a photo's URL begins with http:// or https:// and a host, got {url[:100]!r}")
    if parts.username or parts.password:
        raise ValueError("the photo's URL holds a user or a password; leave them out")
    return parts


class _Connection(http.client.HTTPConnection):
    """To an address, in a host's name."""

    def __init__(self, host: str, port: int, address: str, *, secure: bool, timeout_s: float) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._address, self._secure = address, secure

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _get(
    parts: SplitResult, host: str, port: int, address: str, headers: dict[str, str], deadline_s: float
) -> http.client.HTTPResponse:
    secure = parts.scheme == "https"
    connection = _Connection(host, port, address, secure=secure, timeout_s=max(0.1, deadline_s - time.monotonic()))
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    try:
        own = {"User-Agent": "talking-points", "Accept": "image/*", "Connection": "close"}
        connection.request("GET", target, headers={**own, **headers})
        return connection.getresponse()
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.close()
        raise ValueError(f"the photo's host {host[:100]!r} does not answer: {type(error).__name__}") from None


def _body(response: http.client.HTTPResponse, host: str, max_bytes: int, deadline_s: float) -> bytes:
    with response:
        if response.status != 200:
            raise ValueError(f"the photo's host {host[:100]!r} answers with status {response.status}")
        data = bytearray()
        try:
            # Piece by piece: the socket's timeout is for each, and they may drip in for ever.
            while piece := response.read1(65536):
                data += piece
                if len(data) > max_bytes:
                    raise ValueError(f"the photo has more than the {max_bytes:,} bytes allowed")
                if time.monotonic() > deadline_s:
                    raise ValueError(f"the photo did not arrive within {TIMEOUT_S:g} s")
        except (OSError, http.client.HTTPException) as error:
            raise ValueError(f"the photo's host {host[:100]!r} broke off: {type(error).__name__}") from None
    return bytes(data)
