"""The command that serves: a web page and an HTTP API."""

from __future__ import annotations

import importlib.util
import ipaddress
from typing import Annotated

import typer

from talking_points.cli.console import find_model, log
from talking_points.cli.options import DeviceOption


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="'mini', a checkpoint folder, or a Hub id (owner/name). Repeatable; mini."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all of this machine's.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 7860,
    token_env: Annotated[
        str | None,
        typer.Option("--token-env", metavar="NAME", help="Environment variable with the token that callers must send."),
    ] = None,
    allow_urls: Annotated[
        bool, typer.Option("--allow-urls", help="Fetch photos from public addresses that requests name.")
    ] = False,
    no_page: Annotated[bool, typer.Option("--no-page", help="The API alone.")] = False,
    label_studio: Annotated[
        str | None,
        typer.Option(
            "--label-studio", metavar="URL", help="Label Studio whose photos are fetched, with LABEL_STUDIO_API_KEY."
        ),
    ] = None,
    max_megabytes: Annotated[float, typer.Option("--max-megabytes", help="Largest photo, as a file.")] = 20,
    max_megapixels: Annotated[float, typer.Option("--max-megapixels", help="Largest photo, decoded.")] = 50,
    max_points: Annotated[int, typer.Option("--max-points", help="Points or texts of a request.")] = 64,
    max_text_chars: Annotated[int, typer.Option("--max-text-chars", help="Longest text.")] = 4000,
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", help="Points and texts that may wait for a model; more get a 429.")
    ] = 128,
    wait_ms: Annotated[
        float, typer.Option("--wait-ms", help="How long a request waits for others to go along with it.")
    ] = 5.0,
    device: DeviceOption = None,
) -> None:
    """Serve a web page and an HTTP API, on this machine alone unless --host says otherwise."""
    names = list(dict.fromkeys(model or ["mini"]))
    missing = [
        name for name in ("fastapi", "fastapi_offline", "httpx", "prometheus_client", "uvicorn") if not _has(name)
    ]
    if missing:
        raise ImportError(f"serve needs {', '.join(missing)}: pip install 'talking-points[web]'")
    from talking_points.serving.listening import open_socket
    from talking_points.serving.settings import ServeSettings

    settings = ServeSettings(
        model=tuple(names),
        host=host,
        port=port,
        token_env=token_env,
        allow_urls=allow_urls,
        page=not no_page,
        label_studio=label_studio,
        max_megabytes=max_megabytes,
        max_megapixels=max_megapixels,
        max_points=max_points,
        max_text_chars=max_text_chars,
        max_waiting=max_waiting,
        wait_ms=wait_ms,
        device=device,
    )
    token = settings.read_token()
    listening = open_socket(host, port)
    folders = {name: find_model(name) for name in names}
    from talking_points.pointing.round_trip import TalkingPoints
    from talking_points.serving.engine import Engine
    from talking_points.serving.server import make_app
    from talking_points.serving.server import serve as run

    engines = {
        name: Engine(name, TalkingPoints.from_pretrained(folder, device=device), settings)
        for name, folder in folders.items()
    }
    app = make_app(engines, settings)
    where = f"[{host}]" if ":" in host else host
    log(f"serving {', '.join(names)} at http://{where}:{listening.getsockname()[1]}/ (Ctrl-C stops it)")
    if token is None and not _is_loopback(host):
        log(f"warning: whoever can reach {host} can use it; --token-env NAME asks for a token")
    try:
        run(app, engines, listening)
    finally:
        log("stopped")


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
