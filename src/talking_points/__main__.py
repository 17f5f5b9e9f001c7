"""`python -m talking_points`, for launchers that start a module."""

from __future__ import annotations

from talking_points.cli import main

if __name__ == "__main__":
    main()
