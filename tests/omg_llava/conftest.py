"""Published files: upstream's small set (parity/published), and a tiny random one."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.omg_llava.small_parity import write_published
from tests.omg_llava.tiny_published import TINY, TINY_VISION, Files, benchmark_module


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Files:
    benchmark = benchmark_module()
    sizes = benchmark.Sizes(vision=TINY_VISION, **TINY)
    folder = tmp_path_factory.mktemp("published")
    return asdict(benchmark.write_published_files(folder, sizes))


@pytest.fixture
def tiny(tiny_set: Files, tmp_path: Path) -> Files:
    """A copy that a test may spoil."""
    copies = {name: tmp_path / "published" / path.name for name, path in tiny_set.items()}
    shutil.copytree(tiny_set["llm"], copies["llm"])
    for name in ("segmenter", "class_embed", "llava"):
        shutil.copyfile(tiny_set[name], copies[name])
    return copies


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write_published(tmp_path_factory.mktemp("published"))
