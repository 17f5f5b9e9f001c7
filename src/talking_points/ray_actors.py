"""Actors on Ray."""

from __future__ import annotations

import os
from typing import Any


def start_actors(kind: type, *arguments: Any, workers: int, gpus: bool = True) -> list[Any]:
    """Start actors of a class.

    Args:
        kind: made in each actor with the arguments.
        workers: how many actors.
        gpus: whether each takes a GPU where the cluster has enough of them.

    Raises:
        ImportError: Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise ImportError("--engine ray needs Ray: pip install 'talking-points[scale]'") from None
    if not ray.is_initialized():
        at_home = not os.environ.get("RAY_ADDRESS")
        ray.init(num_cpus=workers if at_home else None, log_to_driver=False)
    one_each = gpus and ray.cluster_resources().get("GPU", 0) >= workers
    actor = ray.remote(num_cpus=1, num_gpus=int(one_each))(kind)
    return [actor.remote(*arguments) for _ in range(workers)]
