"""Photos from addresses that a client names: only public ones, and only the address that was checked.

A name is resolved once, every address it has is checked, and the connection goes to a checked address: a name that
resolves to another address a moment later (DNS rebinding) gains nothing. Redirects are checked the same way.
"""

from __future__ import annotations

import ipaddress
import socket

import anyio
import httpx

MOST_REDIRECTS = 3
TIMEOUT_S = 15.0
"""For the whole of a photo, redirects included. Ours."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")))
"""Which Python 3.11 takes for public."""
_OWN_HEADERS = {"User-Agent": "talking-points", "Accept": "image/*", "Accept-Encoding": "identity"}


async def fetch(url: str, *, max_bytes: int, trusted_headers: dict[str, str] | None = None) -> bytes:
    """Get what lies at an http or https address.

    Args:
        url: of a public host; of any host where `trusted_headers` are given.
        max_bytes: of the body.
        trusted_headers: sent to a server that the operator named, wherever it is; it may not redirect.

    Raises:
        ValueError: another kind of URL, an address that is not public, no answer, or too many bytes; of one line.
    """
    target = _parse(url)
    try:
        with anyio.fail_after(TIMEOUT_S):
            if trusted_headers is not None:
                got = await _get(target, target.host, trusted_headers, max_bytes)
                if isinstance(got, bytes):
                    return got
                raise ValueError(f"the photo's host {target.host[:100]!r} answers with a redirect")
            for _ in range(MOST_REDIRECTS + 1):
                got = await _get(target, await public_address(target), {}, max_bytes)
                if isinstance(got, bytes):
                    return got
                target = _parse(got, base=target)
    except TimeoutError:
        raise ValueError(f"the photo did not arrive within {TIMEOUT_S:g} s") from None
    raise ValueError(f"the photo's URL redirects more than {MOST_REDIRECTS} times")


async def public_address(url: httpx.URL) -> str:
    """A public address of a URL's host; a ValueError when any of its addresses is not public, or it has none."""
    try:
        found = await anyio.getaddrinfo(url.host, url.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ValueError(f"the photo's host {url.host[:100]!r} is unknown") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not all(is_public(address) for address in addresses):
        raise ValueError(f"the photo's host {url.host[:100]!r} is not public; send the photo itself")
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
    if any(ip in network for network in _NOT_PUBLIC if network.version == ip.version):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _parse(url: str, *, base: httpx.URL | None = None) -> httpx.URL:
    """base: what a redirect's address is relative to."""
    try:
        parsed = httpx.URL(url) if base is None else base.join(url)
    except (httpx.InvalidURL, ValueError):
        raise ValueError(f"the photo's URL cannot be read: {url[:100]!r}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"a photo's URL begins with http:// or https:// and a host, got {url[:100]!r}")
    if parsed.userinfo:
        raise ValueError("the photo's URL holds a user or a password; leave them out")
    return parsed


async def _get(url: httpx.URL, address: str, headers: dict[str, str], max_bytes: int) -> bytes | str:
    """The body of an answer, or where it redirects to. Connects to `address`, in the name of the URL's host."""
    host = url.host[:100]
    own = {**_OWN_HEADERS, "Host": url.netloc.decode("ascii"), **headers}
    try:
        async with (
            # trust_env: a proxy would resolve the name itself. The time is the callers'.
            httpx.AsyncClient(trust_env=False, timeout=None) as client,
            client.stream(
                "GET", url.copy_with(host=address), headers=own, extensions={"sni_hostname": url.raw_host.decode()}
            ) as response,
        ):
            if response.has_redirect_location:
                return response.headers["Location"]
            if response.status_code != 200:
                raise ValueError(f"the photo's host {host!r} answers with status {response.status_code}")
            data = bytearray()
            # As it comes: what is packed may be large without end.
            async for piece in response.aiter_raw():
                data += piece
                if len(data) > max_bytes:
                    raise ValueError(f"the photo has more than the {max_bytes:,} bytes allowed")
            return bytes(data)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ValueError(f"the photo's host {host!r} does not answer: {type(error).__name__}") from None
