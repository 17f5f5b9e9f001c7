"""The two roles of a checkpoint, by name. torch is not imported here."""

from __future__ import annotations

ROLES = ("descriptor", "localizer")


def role_missing(checkpoint: str, role: str) -> str:
    """What is said where a checkpoint is asked for a role that it has not, and how to add one."""
    lacks = [f"--{one} {'mini' if one == role else 'DIR'}" for one in ROLES]
    return (
        f"{checkpoint} has no {role}; train one, load another, or add one that was trained over the same base, such as "
        f"mini's over mini's: `talking-points train join {' '.join(lacks)} --out DIR`"
    )
