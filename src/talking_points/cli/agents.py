"""The command that gives agents tools."""

from __future__ import annotations

import sys

from talking_points.cli.console import let_threads_sleep, log, say
from talking_points.cli.options import takes
from talking_points.cli.serve import has
from talking_points.serving.settings import AgentSettings

SHOWN = ("model", "root", "allow_urls", "device", "style", "max_megabytes", "max_megapixels", "max_text_chars")


@takes(AgentSettings, shown=SHOWN)
def mcp(settings: AgentSettings) -> None:
    """Give an agent the tools locate, describe_point and verify, over stdin and stdout (Model Context Protocol)."""
    needed = {"mcp": "mcp"} | ({"httpx": "web"} if settings.allow_urls else {})
    for module, extra in needed.items():
        if not has(module):
            raise ImportError(f"mcp needs {module}: pip install 'talking-points[{extra}]'")
    from talking_points.bases.hub import is_hub_id
    from talking_points.pointing.pretrained import find_model, load_roles

    # A download would keep the client waiting for the tools; what is wrong with it, the first call says.
    if not is_hub_id(settings.model):
        find_model(settings.model)
    let_threads_sleep()
    from talking_points.serving.agent_tools import AgentTools, serve_stdio

    if sys.stdin.isatty():
        say("waiting for an agent on stdin; clients start this command themselves (Ctrl-C stops it)")
    if settings.root is None:
        log("any photo that you may read can be asked about; --root FOLDER restricts that")
    serve_stdio(AgentTools(settings, lambda: load_roles(settings.model, device=settings.device, style=settings.style)))
