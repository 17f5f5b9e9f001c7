"""docs/pipeline.md: its builds run whole, on small archives, with a stand-in for the servers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from talking_points.cli import main
from talking_points.dataset.store import BuiltSplit
from talking_points.model.checkpoint import save_checkpoint
from tests.endpoint_server import Reply, completion, prompt_of, serving
from tests.test_docs import DOCS, blocks, commands, until
from tests.tiny import tiny_network

PAGE = DOCS / "pipeline.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not beside the tests")


def said(program: str) -> list[list[str]]:
    """The page's commands of a program."""
    found = [words for language, block in blocks(PAGE) if language == "sh" for words in commands(block)]
    return [words for words in found if words[0] == program]


def reply(asked: dict[str, Any], number: int) -> Reply:
    """Of models that see, and of one that writes well."""
    prompt = prompt_of(asked)
    if "Object: " not in prompt:
        return completion("something dark and smooth")
    names = {line.partition(": ")[0]: line.partition(": ")[2] for line in prompt.splitlines() if ": " in line}
    mark = re.sub(r"\W", "", names.get("Measured and certain", ""))[-12:]
    return completion(
        f"The point is on the {names['Object']}, more exactly on its {names['Part']}, near the left edge of that part, "
        f"where the surface is dark and smooth, with a small {mark} above it."
    )


@pytest.fixture
def archives(
    tmp_path: Path,
    pascal_writer: Callable[..., None],
    ade_writer: Callable[..., None],
    part_imagenet_seg_writer: Callable[..., None],
) -> Path:
    pascal_writer(tmp_path / "PascalPart116", ["2008_000001", "2008_000002"], [])
    ade_writer(tmp_path / "ADE20KPart234", ["ADE_train_00000001", "ADE_train_00000002"], [])
    part_imagenet_seg_writer(tmp_path / "PartImageNet", {"train": ["n02823428_0012", "n04591713_0003"]})
    rng = np.random.default_rng(0)
    for path in sorted(tmp_path.glob("*/images/*/[!.]*")):
        # No two are the same shot.
        photo = np.asarray(Image.open(path), dtype=np.int64)
        coarse = np.kron(
            rng.integers(-60, 60, (photo.shape[0] // 8 + 1, photo.shape[1] // 8 + 1, 1)), np.ones((8, 8, 1))
        )
        noisy = photo + coarse[: photo.shape[0], : photo.shape[1]].astype(np.int64)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path, "JPEG", quality=95)
    return tmp_path


def test_the_builds_of_the_page_run(archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(archives)
    # The caption of random weights: nothing but what the checks of texts let through is looked at here.
    save_checkpoint(tiny_network(roles=()), archives / "omg-llava-7b")
    builds = [words for words in said("talking-points") if words[1] == "build-dataset" and "--check" not in words]
    assert len(builds) == 2
    for words in builds:
        arguments = list(words[1:])
        if "--workers" in arguments:
            arguments[arguments.index("--workers") + 1] = "1"
        with serving(reply) as server:
            given = [re.sub(r"http://localhost:\d+/v1", server.url, word) for word in arguments]
            with pytest.raises(SystemExit) as ended:
                main(given)
            assert not ended.value.code, words
            asked = Counter(one["model"] for one in server.requests)
        out = Path(words[words.index("--out") + 1])
        report = json.loads((out / "report.json").read_text())
        assert sum(sum(split.values()) for split in report["kept"].values()) > 0
        # Each model was asked by the name under which the page serves it.
        names = {word.rpartition(",")[2] for word in words if word.startswith("endpoint:")}
        assert set(asked) == names
        record = next(iter(BuiltSplit(out, next(iter(report["kept"])))))
        assert record.writer in names and record.local_describer in names
        assert record.local_description == "something dark and smooth" and record.prompts_sha256
        if "caption:omg-llava-7b/" in words:
            assert record.object_describer == "caption:omg-llava-7b/"
            # Of each archive.
            assert {source for kept in report["kept"].values() for source in kept} == {
                "pascal-part-116",
                "ade20k-part-234",
                "part-imagenet",
            }


def test_servers_and_builds_of_the_page_agree() -> None:
    """A build's URL and model are those of a server that the page starts."""
    served = {
        (f"http://localhost:{words[words.index('--port') + 1]}/v1", words[2])
        for words in said("vllm")
        if words[1] == "serve"
    }
    served |= {("http://localhost:11434/v1", words[2]) for words in said("ollama") if words[1] == "pull"}
    text = PAGE.read_text(encoding="utf-8")
    asked = set(re.findall(r"endpoint:(http[^,`\s]+),([^`\s]+)", text))
    assert len(served) == 4 and asked == served
    assert [words for words in said("ollama") if until(words[1:]) == ["serve"]]
