"""Every script of examples/ does what it says."""

from __future__ import annotations

import base64
import io
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Here, not in the example alone: the client keeps the stderr of the time when it is imported, which must be a file.
import mcp  # noqa: F401
import pytest
import torch
from PIL import Image

from talking_points import open_photo
from talking_points.dataset.sources.coco_parts import open_coco_parts
from talking_points.dataset.sources.label_map import open_label_map
from talking_points.demo import demo_photos
from talking_points.pointing.descriptor import MAX_NEW_TOKENS, PointDescriptor
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.serving.engine import Engine
from talking_points.serving.server import make_app
from talking_points.serving.settings import ServeSettings
from tests.endpoint_server import Reply, serving
from tests.serving.live import listening
from tests.tiny import TEXTS

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="examples/ is not beside the tests")

Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    open_photo(demo_photos()[0].path).save(path)
    return path


@pytest.fixture
def triplets(tmp_path: Path) -> Path:
    path = tmp_path / "triplets.jsonl"
    one = {"x": 345.5, "y": 120.5, "size_wh": [512, 600], "text": "the cap"}
    path.write_text("".join(json.dumps({"photo": name, **one}) + "\n" for name in ("a", "a", "b")))
    return path


def test_every_example_is_here() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for script in EXAMPLES.glob("*.py"):
        assert f'run("{script.name}"' in tested.replace("'", '"') and f"`{script.name}`" in listed
        assert f"`python examples/{script.name} " in listed


def test_supervision(run: Run, photo: Path, tp: TalkingPoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TalkingPoints, "from_pretrained", lambda name: tp)
    out = run("supervision_keypoints.py", photo, tmp_path / "out.png")
    assert len(out.splitlines()) == 2
    assert Image.open(tmp_path / "out.png").size == (512, 600)


def test_coco(run: Run, triplets: Path, tmp_path: Path) -> None:
    assert run("coco_keypoints.py", triplets, tmp_path / "out.json") == "3 keypoints on 2 photos\n"
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["images"][1] == {"id": 2, "file_name": "b", "width": 512, "height": 600}
    first = content["annotations"][0]
    # COCO counts from the centre of the first pixel
    assert first["keypoints"] == [345.0, 120.0, 2] and first["bbox"] == [345.0, 120.0, 1.0, 1.0]
    assert [one["image_id"] for one in content["annotations"]] == [1, 1, 2] and first["caption"] == "the cap"


@pytest.mark.parametrize("script", ["coco_keypoints.py", "fiftyone_samples.py"])
def test_one_photo_is_not_photos(run: Run, triplets: Path, tmp_path: Path, script: str) -> None:
    triplets.write_text(triplets.read_text().splitlines()[0])
    assert run(script, triplets, tmp_path / "out.json") == "1 keypoint on 1 photo\n"


def test_fiftyone(run: Run, triplets: Path, tmp_path: Path) -> None:
    assert run("fiftyone_samples.py", triplets, tmp_path / "out.json") == "3 keypoints on 2 photos\n"
    a, b = json.loads((tmp_path / "out.json").read_text())
    assert b["filepath"] == "b" and b["metadata"]["width"] == 512
    assert a["points"]["keypoints"][0]["points"] == [[345.5 / 512, 120.5 / 600]]
    assert a["points"]["keypoints"][1]["description"] == ["the cap"]


def test_shrunk_photos_are_read_as_the_whole_ones(
    run: Run,
    label_map_writer: Callable[[Path, list[str], list[str]], None],
    coco_writer: Callable[[Path, list[str]], Path],
    tmp_path: Path,
) -> None:
    label_map_writer(tmp_path / "people", ["a", "b"], [])
    coco_writer(tmp_path / "cars", ["c"])
    for name, open_source in (("people", open_label_map), ("cars", open_coco_parts)):
        assert "MB in" in run("shrink_photos.py", tmp_path / name, tmp_path / "small" / name, 64)
        whole, small = (open_source(folder / name, "train") for folder in (tmp_path, tmp_path / "small"))
        assert small.photo_ids == whole.photo_ids and whole.photo_ids
        for photo_id in whole.photo_ids:
            before, after = whole.read(photo_id), small.read(photo_id)
            assert max(after.photo.shape) == 64 < max(before.photo.shape)
            assert {part.name for part in after.parts} == {part.name for part in before.parts}
            assert (after.part_map > 0).mean() == pytest.approx((before.part_map > 0).mean(), abs=0.02)


def test_over_http(run: Run, photo: Path, engine: Engine) -> None:
    with listening(make_app({"tiny": engine}, ServeSettings(page=False))) as url:
        assert "found again at (" in run("http_client.py", url, photo, 345.5, 120.5)
        lines = run("label_studio_prefill.py", url, photo, 50, 25).splitlines()
    *regions, last = lines
    assert [line.split()[:2] for line in regions] == [["keypointlabels", "a1"], ["textarea", "a1"]]
    assert regions[0].endswith(" at 50% of the width, 25% of the height: the keypoint, as drawn")
    at, text = regions[1].split(": ", maxsplit=1)
    assert at.endswith("25% of the height") and text and "[" not in text
    assert last.startswith("Nothing was written") and f"give {url}/label-studio as the model of a project" in last


NOBODY = "http://127.0.0.1:1"
PHOTO, OTHER = object(), "nosuch.jpg"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["coco_keypoints.py", "nosuch.jsonl", "out.json"], "no such file: nosuch.jsonl"),
        (["fiftyone_samples.py", "nosuch.jsonl", "out.json"], "no such file: nosuch.jsonl"),
        (["supervision_keypoints.py", OTHER, "out.png"], "no such photo: nosuch.jpg"),
        (["shrink_photos.py", "nosuch", "out", "64"], "nosuch has to be a folder, and out must not be there yet"),
        (["shrink_photos.py", "nosuch", "out", "0"], "the long side is 0 pixels; give 1 or more"),
        (["http_client.py", NOBODY, OTHER, "5", "5"], "No such file or directory: 'nosuch.jpg'"),
        (["label_studio_prefill.py", NOBODY, OTHER, "5", "5"], "No such file or directory: 'nosuch.jpg'"),
        (["vllm_describe.py", NOBODY, "mini", OTHER, "5,5"], "no such photo: nosuch.jpg"),
        (["vllm_describe.py", NOBODY, "mini", PHOTO, "5000,5"], "is outside the 512x600 photo"),
    ],
)
def test_bad_arguments_are_one_line(
    run: Run,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[Any],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        run(*(photo if one is PHOTO else one for one in arguments))
    error = capsys.readouterr().err
    assert left.value.code == 2 and said in error and error.count("\n") == 1
    assert [*tmp_path.iterdir()] == [photo]


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_without_arguments_the_usage(run: Run, capsys: pytest.CaptureFixture[str], script: str) -> None:
    with pytest.raises(SystemExit) as left:
        run(script)
    error = capsys.readouterr().err
    assert left.value.code == 2 and error.startswith(f"usage: {script} ") and "arguments are required" in error


@pytest.mark.parametrize(
    ("script", "arguments", "start"),
    [
        ("http_client.py", ["5", "5"], "start talking-points serve"),
        ("label_studio_prefill.py", ["5", "5"], "start talking-points serve"),
        ("vllm_describe.py", ["5,5"], "start vllm serve"),
    ],
)
def test_nobody_answers(run: Run, photo: Path, script: str, arguments: list[str], start: str) -> None:
    model = ["mini"] if script == "vllm_describe.py" else []
    with pytest.raises(SystemExit) as left:
        run(script, NOBODY, *model, photo, *arguments)
    said = str(left.value.code)
    assert said.startswith(f"nothing answers at {NOBODY} (") and f"): {start}" in said and "\n" not in said


@pytest.mark.parametrize("script", ["http_client.py", "label_studio_prefill.py"])
def test_clients_say_what_is_wrong(run: Run, photo: Path, engine: Engine, script: str) -> None:
    with listening(make_app({"tiny": engine}, ServeSettings(page=False))) as url, pytest.raises(SystemExit) as left:
        run(script, url, photo, 9000, 5)
    assert "is outside the" in str(left.value.code) and "\n" not in str(left.value.code)


def test_an_agents_loop(run: Run, photo: Path, tp: TalkingPoints, tmp_path: Path) -> None:
    tp.save_pretrained(tmp_path / "tiny")
    located, closer, verified, rest = run("agent_loop.py", photo, TEXTS[0], "--model", tmp_path / "tiny").splitlines()
    assert located.startswith("locate: (") and f"): {TEXTS[0]}; " in located
    assert closer.startswith("closer: a photo of ")
    assert verified.startswith("verify: ") and "the words lead to (" in verified
    assert rest.startswith("act on: " if verified.startswith("verify: yes") else "leave it: ")


def test_an_agents_error_is_the_tools_line(run: Run, tmp_path: Path, tp: TalkingPoints) -> None:
    tp.save_pretrained(tmp_path / "tiny")
    with pytest.raises(SystemExit) as left:
        run("agent_loop.py", tmp_path / OTHER, TEXTS[0], "--model", tmp_path / "tiny")
    said = str(left.value.code)
    assert said.startswith("locate: no such photo: ") and "\n" not in said
    # The server says itself why it does not start.
    with pytest.raises(SystemExit, match="^Connection closed$"):
        run("agent_loop.py", tmp_path / OTHER, TEXTS[0], "--model", "nosuch")


def test_trl(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="trl is not installed (the [dev] extra has it)")
    out = run("trl_grpo.py", tmp_path, 1)
    said = next(line for line in out.splitlines() if line.startswith("step 1: reward -"))
    assert -1 <= float(said.split()[-1]) < 0


def test_vllm(run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers and PEFT in the place of vLLM, on the same folders: the texts are those of our own engine."""
    monkeypatch.undo()  # texts as long as ever
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = find_checkpoint("mini")
    plain = AutoModelForCausalLM.from_pretrained(str(folder / "language_model"), dtype=torch.float32)
    adapted = PeftModel.from_pretrained(plain, str(folder / "descriptor"))
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "language_model"))
    shapes = []

    def reply(asked: dict[str, Any], number: int) -> Reply:
        assert asked["model"] == "descriptor" and asked["max_tokens"] == MAX_NEW_TOKENS and asked["temperature"] == 0
        choices = []
        for index, encoded in enumerate(asked["prompt_embeds"]):
            content = io.BytesIO(base64.b64decode(encoded, validate=True))
            embeds_TD = torch.load(content, weights_only=True, map_location="cpu")
            assert embeds_TD.dtype == torch.bfloat16
            shapes.append(tuple(embeds_TD.shape))
            [ids] = adapted.generate(
                inputs_embeds=embeds_TD[None].float(),
                attention_mask=torch.ones(1, len(embeds_TD)),
                max_new_tokens=asked["max_tokens"],
                eos_token_id=asked["stop_token_ids"],
                do_sample=False,
            )
            choices.append({"index": index, "text": tokenizer.decode(ids, skip_special_tokens=True)})
        return 200, {"Content-Type": "application/json"}, json.dumps({"choices": choices[::-1]}).encode()

    with serving(reply) as server:
        said = run("vllm_describe.py", server.url, "mini", photo, "250,120", "100.5,580").splitlines()
        assert server.paths == ["/v1/completions"]
    ours = PointDescriptor.from_pretrained("mini").describe(photo, [(250, 120), (100.5, 580)])
    # mini's tokenizer knows no capitals; our engine writes the first letters of sentences large.
    assert said == [text.lower() for text in ours] and said[0] != said[1]
    assert shapes[0] == shapes[1] and shapes[0][1] == plain.config.hidden_size
