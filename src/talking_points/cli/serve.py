"""The command that serves: a web page and an HTTP API."""

from __future__ import annotations

import importlib.util
import ipaddress

from talking_points.cli.console import expect_model, log
from talking_points.cli.options import takes
from talking_points.serving.settings import ServeSettings

NEEDED = ("fastapi", "fastapi_offline", "httpx", "python_multipart", "prometheus_client", "uvicorn")
SHOWN: tuple[str, ...] = ("model", "host", "port", "token_env", "allow_urls", "page", "label_studio", "max_megabytes")
SHOWN += ("max_megapixels", "max_points", "max_text_chars", "max_waiting", "device")


@takes(ServeSettings, shown=SHOWN)
def serve(settings: ServeSettings) -> None:
    """Serve a web page and an HTTP API, on this machine alone unless --host says otherwise."""
    missing = [name for name in NEEDED if not _has(name)]
    if missing:
        raise ImportError(f"serve needs {', '.join(missing)}: pip install 'talking-points[web]'")
    token = settings.read_token()
    for name in settings.model:
        expect_model(name)
    from talking_points.pointing.pretrained import load_roles
    from talking_points.serving.engine import Engine
    from talking_points.serving.listening import open_socket
    from talking_points.serving.server import make_app
    from talking_points.serving.server import serve as run

    listening = open_socket(settings.host, settings.port)
    engines = {
        name: Engine(name, load_roles(name, device=settings.device, style=settings.style), settings)
        for name in settings.model
    }
    app = make_app(engines, settings)
    where = f"[{settings.host}]" if ":" in settings.host else settings.host
    log(f"serving {', '.join(engines)} at http://{where}:{listening.getsockname()[1]}/ (Ctrl-C stops it)")
    if token is None and not _is_loopback(settings.host):
        log(f"warning: whoever can reach {settings.host} can use it; --token-env NAME asks for a token")
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
