"""Models by name: the embedded `mini`, a checkpoint folder, a Hugging Face Hub id, or an endpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from talking_points.bases.hub import CONFIG_FILES, HUB_FILES, download, is_hub_id
from talking_points.endpoint import EndpointConfig, parse_endpoint
from talking_points.files import read_json
from talking_points.pointing.forms import check_form, form_of_model

if TYPE_CHECKING:
    import torch

    from talking_points.bases.base import Base
    from talking_points.endpoint import Endpoint
    from talking_points.pointing.round_trip import TalkingPoints

log = logging.getLogger(__name__)

EMBEDDED = ("mini",)
FAMILIES = ("qwen3_vl",)
"""`model_type` in the config.json of the stock models that `bases` has a file of."""


def find_model(name: str | Path) -> Path | EndpointConfig:
    """Where a model is: its folder, ours or a stock model's of transformers, or the endpoint behind which it is.

    Raises:
        ValueError: no such model; says what is allowed.
    """
    if str(name).startswith("endpoint:"):
        # The same question shall have the same answer.
        return parse_endpoint(str(name), temperature=0.0)

    return _find_folder(name, _known_as(name), endpoints=True)


def find_base(name: str | Path, *, weights: bool = True) -> Path:
    """The folder of what roles are trained over: a checkpoint of ours, or a stock model.

    weights: False: of a Hub id configs and tokenizer alone are fetched.

    Raises:
        ValueError: no such model, or an endpoint; says what is allowed.
    """
    if str(name).startswith("endpoint:"):
        raise ValueError(f"{name} is an endpoint; a role is trained over a checkpoint of ours or a stock model")
    return _find_folder(name, _known_as(name), files=HUB_FILES if weights else CONFIG_FILES)


def find_checkpoint(name_or_folder: str | Path) -> Path:
    """The folder of a checkpoint of ours.

    Raises:
        ValueError: no such model, or it is none of ours; says what is allowed.
    """
    if str(name_or_folder).startswith("endpoint:"):
        raise ValueError(f"{name_or_folder} is an endpoint; here a checkpoint of ours is needed, such as 'mini'")

    def is_ours(family: str | None) -> None:
        if family is not None:
            raise ValueError(
                f"{name_or_folder} is a stock model ({family}), which describes and finds as it is; here a checkpoint "
                "of ours is needed, such as 'mini'"
            )

    return _find_folder(name_or_folder, is_ours)


def _known_as(name: str | Path) -> Callable[[str | None], None]:
    """Refuses families that there is no file of."""

    def is_known(family: str | None) -> None:
        if family is not None and family not in FAMILIES:
            raise ValueError(
                f"{name} is a {family!r:.60} model, which is not known here; known: {', '.join(FAMILIES)}, and any "
                "model behind an OpenAI-compatible server as endpoint:URL,MODEL"
            )

    return is_known


def takes_style(name: str | Path) -> bool:
    """Whether a model's way of pointing may be set: a stock model's or an endpoint's."""
    where = find_model(name)
    return isinstance(where, EndpointConfig) or stock_family(where) is not None


def stock_family(folder: Path) -> str | None:
    """The `model_type` of a stock model's folder; None for a checkpoint of ours."""
    config = read_json(folder / "config.json")
    return None if "format_version" in config else str(config.get("model_type"))


def _find_folder(
    name_or_folder: str | Path,
    check: Callable[[str | None], None],
    *,
    files: Sequence[str] = HUB_FILES,
    endpoints: bool = False,
) -> Path:
    """A model's folder, once `check` has found no fault with its family: of a Hub id before the weights are fetched.

    Args:
        files: that are fetched of a Hub id.
        endpoints: whether the caller takes them, too; for the error.
    """
    name = str(name_or_folder)
    if name in EMBEDDED:
        folder = Path(__file__).parent.parent / "pretrained" / name
        if not (folder / "config.json").is_file():
            raise ValueError(f"the embedded model {name!r} is missing here; install the package again")
        check(None)
        return folder
    folder = Path(name_or_folder)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} is no checkpoint: it has no config.json")
        check(stock_family(folder))
        return folder
    if is_hub_id(name):
        check(stock_family(download(name, ("config.json",))))
        return download(name, files)
    if name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1:
        raise ValueError(f"no such folder: {name}; give a checkpoint folder, 'mini', or a Hub id (owner/name)")
    others = "a Hub id (owner/name), or endpoint:URL,MODEL" if endpoints else "or a Hub id (owner/name)"
    raise ValueError(f"unknown model {name!r}: 'mini', a checkpoint folder, {others}")


def load_roles(
    name: str | Path,
    *,
    device: str | None = None,
    quantize: str | None = None,
    roles: tuple[str, ...] = ("descriptor", "localizer"),
    style: str | None = None,
    choose: bool = False,
) -> TalkingPoints:
    """Load a model that will answer. Arguments and errors as `TalkingPoints.from_pretrained`."""
    from talking_points.pointing.round_trip import TalkingPoints

    where = find_model(name)
    if style is not None:
        check_form(style)
    if choose and (isinstance(where, EndpointConfig) or stock_family(where) is not None):
        raise ValueError(f"{name} is no checkpoint of ours: it gives each point one text; leave out --choose")
    if isinstance(where, EndpointConfig):
        from talking_points.endpoint import Endpoint

        if device is not None or quantize is not None:
            raise ValueError(f"{name} is an endpoint, which has its own device and weights; leave out --device")
        return over_endpoint(Endpoint(where), style=style)
    if (family := stock_family(where)) is not None:
        import torch

        from talking_points.bases.stock import load_stock
        from talking_points.pointing.stock import StockDescriptor, StockLocalizer
        from talking_points.pointing.stock_model import StockAsker

        chosen = choose_device(device, mps=True)
        dtype = torch.float32 if chosen.type == "cpu" else torch.bfloat16
        base = load_stock(where, family, name=str(name), device=chosen, dtype=dtype, quantize=quantize)
        asker, form = StockAsker(base), style or base.form
        return TalkingPoints(StockDescriptor(asker, form), StockLocalizer(asker, form))
    if style is not None:
        raise ValueError(f"{name} is a checkpoint of ours; style is for stock models and endpoints")
    return TalkingPoints.over(load_network(name, device=device, roles=roles, quantize=quantize), choose=choose)


def over_endpoint(endpoint: Endpoint, *, style: str | None = None, concurrency: int | None = None) -> TalkingPoints:
    """Both roles of the model behind an endpoint. style: as `from_pretrained` takes it."""
    from talking_points.pointing.asked import CONCURRENCY, EndpointAsker
    from talking_points.pointing.round_trip import TalkingPoints
    from talking_points.pointing.stock import StockDescriptor, StockLocalizer

    asker = EndpointAsker(endpoint, concurrency=concurrency or CONCURRENCY)
    form = style or form_of_model(endpoint.config.model)
    return TalkingPoints(StockDescriptor(asker, form), StockLocalizer(asker, form))


def load_network(
    name_or_folder: str | Path,
    *,
    device: str | None = None,
    roles: tuple[str, ...] = ("descriptor", "localizer"),
    quantize: str | None = None,
) -> Base:
    """Load a model that will answer, on a device: in fp32 on the CPU, in bf16 on a GPU.

    `roles` and `quantize` are as `load_checkpoint` takes them. A small model comes without transformers
    (`model.plain.read_plain` has the rule); to train one, `load_checkpoint`.

    Raises:
        ImportError: bitsandbytes is not installed.
        ValueError: no such model, the device is absent, or the checkpoint does not fit.
    """
    import torch

    from talking_points.bases.loading import load_base

    folder = find_checkpoint(name_or_folder)
    chosen = choose_device(device)
    dtype = torch.float32 if chosen.type == "cpu" else torch.bfloat16
    return load_base(folder, device=chosen, dtype=dtype, roles=roles, quantize=quantize, answers_only=True)


def choose_device(device: str | None, *, mps: bool = False) -> torch.device:
    """A device by name, tried out; None: a GPU if there is one, else the CPU. An absent one is a ValueError.

    mps: whether Apple's chips count as a GPU, too.
    """
    import torch

    if device is None:
        apple = mps and torch.backends.mps.is_available()
        device = "cuda" if torch.cuda.is_available() else "mps" if apple else "cpu"
        log.info("device %s", device)
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
    return chosen
