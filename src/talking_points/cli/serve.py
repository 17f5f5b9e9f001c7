"""Commands that serve: a web page and an HTTP API; a page on which people describe points."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import sys
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from talking_points.cli.console import expect_model, log
from talking_points.cli.options import takes
from talking_points.serving.settings import AddressSettings, CollectSettings, ServeSettings

LONGEST_CLOSING_S = 20
"""For which a model that is at work is waited for, when all callers have had their time. Ours."""
NEEDED = ("fastapi", "fastapi_offline", "httpx", "python_multipart", "prometheus_client", "uvicorn")
SHOWN: tuple[str, ...] = ("model", "host", "port", "token_env", "allow_urls", "page", "label_studio", "max_megabytes")
SHOWN += ("max_megapixels", "max_points", "max_text_chars", "max_waiting", "device")
COLLECT_SHOWN = ("data", "out", "split", "limit", "seed", "name", "host", "port", "token_env")


@takes(ServeSettings, shown=SHOWN)
def serve(settings: ServeSettings) -> None:
    """Serve a web page and an HTTP API, on this machine alone unless --host says otherwise."""
    _check_extra("serve")
    settings.read_token()
    for name in settings.model:
        expect_model(name)
    if len(set(settings.model)) < len(settings.model):
        raise ValueError(f"--model names one model twice: {', '.join(settings.model)}")
    from talking_points.pointing.pretrained import load_roles, takes_style
    from talking_points.serving.engine import Engine
    from talking_points.serving.listening import answer_until_stopped, open_socket
    from talking_points.serving.server import make_app

    # Of several models, a style is for those that take one, and choosing for the others.
    several = len(settings.model) > 1
    styles = {name: settings.style if not several or takes_style(name) else None for name in settings.model}
    chooses = {name: settings.choose and not (several and takes_style(name)) for name in settings.model}
    listening = open_socket(settings.host, settings.port)
    engines = {
        name: Engine(name, load_roles(name, device=settings.device, style=styles[name], choose=chooses[name]), settings)
        for name in settings.model
    }
    app = make_app(engines, settings)
    _say_address(f"serving {', '.join(engines)}", settings, listening.getsockname()[1])
    _say_who_is_silent(engines)
    try:
        answer_until_stopped(app, listening)
    finally:
        until = time.monotonic() + LONGEST_CLOSING_S
        closed = [engine.close(max(0.0, until - time.monotonic())) for engine in engines.values()]
        log("stopped")
        if not all(closed):
            # An endpoint that does not answer is waited for in threads that would hold the process up.
            log("a model was still at work")
            if sys.exc_info()[0] is not None:
                traceback.print_exc()
            os._exit(1)


@takes(CollectSettings, shown=COLLECT_SHOWN)
def collect(settings: CollectSettings) -> None:
    """Collect people's texts about points: a web page, on this machine alone unless --host says otherwise."""
    _check_extra("collect")
    settings.read_token()
    from talking_points.pages import counted
    from talking_points.serving.collect import make_collect_app, points_of
    from talking_points.serving.kept_texts import KeptTexts
    from talking_points.serving.listening import answer_until_stopped, open_socket

    samples, points = points_of(settings, lambda problem: log(f"passed over: {problem}"))
    with KeptTexts(settings.out, samples, settings.name) as kept:
        app = make_collect_app(points, kept, settings)
        listening = open_socket(settings.host, settings.port)
        count = counted(len(points), "point")
        _say_address(f"collecting texts of {count}", settings, listening.getsockname()[1])
        try:
            answer_until_stopped(app, listening)
        finally:
            said = [kept.text(point) for point in points]
            log(f"stopped; {settings.out}: {sum(map(bool, said))} of {count} described, {said.count('')} skipped")


def _check_extra(command: str) -> None:
    missing = [name for name in NEEDED if not has(name)]
    if missing:
        raise ImportError(f"{command} needs {', '.join(missing)}: pip install 'talking-points[web]'")


def _say_address(doing: str, settings: AddressSettings, port: int) -> None:
    where = f"[{settings.host}]" if ":" in settings.host else settings.host
    log(f"{doing} at http://{where}:{port}/ (Ctrl-C stops it)")
    if settings.token_env is None and not _is_loopback(settings.host):
        log(f"warning: whoever can reach {settings.host} can use it; --token-env NAME asks for a token")


def _say_who_is_silent(names: Iterable[str]) -> None:
    """Of models behind endpoints: the server goes on, as an endpoint may come up after it."""
    from talking_points.endpoint import no_connection, parse_endpoint

    endpoints = [parse_endpoint(name) for name in names if name.startswith("endpoint:")]
    with ThreadPoolExecutor(max(1, len(endpoints))) as side_by_side:
        for where, reason in zip(endpoints, side_by_side.map(no_connection, endpoints), strict=True):
            if reason:
                told = f"nothing answers at {where.base_url} yet ({reason})"
                log(f"warning: {told}: start the server, or mend the address")


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
