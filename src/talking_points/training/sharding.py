"""The frozen weights of a base in shards, one in each process: what FSDP does, where nothing but LoRA is trained.

Gradients and optimiser states exist of the adapter alone, which every process holds whole (DDP); what is large is the
base, and it does not change. So each frozen linear layer by itself leaves a share of its weight in every process, and
is gathered while it computes. Whatever calls the layers, block by block or piece by piece, needs to know nothing of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

log = logging.getLogger(__name__)


def check_several(processes: int) -> None:
    """A ValueError where there is nobody to share with."""
    if processes == 1:
        raise ValueError("shard is for several processes, and this is the only one; launch more, or leave it out")


def shard_frozen(modules: Iterable[nn.Module], device: torch.device) -> None:
    """Leave of every frozen linear layer a share in each process.

    Raises:
        ValueError: this is the only process.
    """
    processes = dist.get_world_size() if dist.is_initialized() else 1
    check_several(processes)
    mesh = init_device_mesh(device.type, (processes,))
    layers = [
        layer
        for module in modules
        for layer in module.modules()
        # Exactly: a quantized layer is a linear one of another kind.
        if type(layer) is nn.Linear and not any(p.requires_grad for p in layer.parameters())
    ]
    whole = sum(p.numel() * p.element_size() for layer in layers for p in layer.parameters())
    for layer in layers:
        # Said, because a layer that is wrapped by none keeps what it gathered otherwise.
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    log.info("of %.0f MB of frozen weights each of %d processes keeps a share", whole / 1e6, processes)


def leave_shards_alone(module: nn.Module) -> None:
    """Have DDP, which makes all that it wraps equal in all processes, skip what is in shards."""
    shards = [name for name, parameter in module.named_parameters() if isinstance(parameter, DTensor)]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, shards)
