"""Stock models and endpoints from the shell: describe, localize, files, evaluate, check-model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from talking_points.cli import main
from tests.bases.tiny_qwen import write_tiny
from tests.endpoint_server import completion, picture_of, prompt_of, serving

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.effect_noise((200, 100), 90).convert("RGB").save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("qwen") / "tiny")


def reply(asked: dict[str, Any], number: int) -> Any:
    """Describes every point alike; finds shoes in the middle, and no sombrero; speaks of the weather else."""
    words = prompt_of(asked)
    if "red ring" in words:
        return completion("on the left shoe")
    if "shoe" in words:
        return completion('[{"point_2d": [500, 500], "label": "point"}]')
    return completion("[]" if "sombrero" in words else "It is sunny.")


def test_an_endpoint_answers_the_shell(run: Run, photo: Path) -> None:
    with serving(reply) as server:
        model = f"endpoint:{server.url},qwen3-vl"
        assert run("describe", photo, "--model", model, "--point", "10,20")[:2] == (0, "(10, 20): on the left shoe\n")
        status, out, _ = run("localize", photo, "--model", model, "the left shoe", "a sombrero", "the sky")
        assert (status, out) == (
            0,
            "(100.0, 50.0): the left shoe\nnot in the photo: a sombrero\nno answer: the sky\n"
            "  no answer: the answer holds no JSON: 'It is sunny.'\n",
        )
        status, out, _ = run("localize", photo, "--model", model, "the left shoe", "a sombrero", "the sky", "--json")
        shoe, hat, sky = json.loads(out)["points"]
        assert shoe == {"text": "the left shoe", "found_x": 100.0, "found_y": 50.0, "there": 1.0}
        assert hat == {"text": "a sombrero", "found_x": None, "found_y": None, "there": 0.0}
        assert sky["problem"].startswith("the answer holds no JSON") and sky["there"] is None
        status, out, _ = run("round-trip", photo, "--model", model, "--point", "90,50")
        assert (status, out) == (
            0,
            "(90, 50): on the left shoe\n  found again at (100.0, 50.0), 10.0 px away (5.0% of the photo)\n",
        )
        # Another form by hand: thousandths are no pixels of a 200x100 photo.
        status, out, _ = run("localize", photo, "--model", model, "--style", "pixels", "the left shoe")
        assert status == 0 and "no answer: the answer's point (500, 500) is outside 0 to 200" in out


def test_a_file_goes_on_where_it_was(run: Run, photo: Path, tmp_path: Path) -> None:
    lines = [{"photo": photo.name, "text": text} for text in ("the left shoe", "a sombrero", "the sky")]
    texts, out = tmp_path / "texts.jsonl", tmp_path / "out.jsonl"
    texts.write_text("".join(json.dumps(one) + "\n" for one in lines))
    with serving(reply) as server:
        asked = ("localize", "--model", f"endpoint:{server.url},qwen3-vl", "--input", texts, "--out", out)
        status, _, err = run(*asked)
        assert status == 1 and "2 lines answered, 1 could not be" in err
        shoe, hat, sky = (json.loads(line) for line in out.read_text().splitlines())
        assert (shoe["found_x"], hat["there"], hat["found_x"]) == (100.0, 0.0, None) and "no JSON" in sky["problem"]
        whole, count = out.read_bytes(), len(server.requests)
        out.write_bytes(b"".join(out.read_bytes().splitlines(keepends=True)[:2]))
        assert run(*asked)[0] == 1 and out.read_bytes() == whole and len(server.requests) == count + 1


def test_one_bad_line_takes_no_other_with_it(run: Run, photo: Path, folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (5000, 20)).save(tmp_path / "strip.png")
    lines = [{"photo": name, "text": "the left shoe"} for name in (photo.name, "strip.png", photo.name)]
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps(one) + "\n" for one in lines))
    asked = ("localize", "--model", folder, "--device", "cpu", "--input", texts, "--out", tmp_path / "out.jsonl")
    run(*asked)
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(answers) == 3 and "the photo is 5000x20; Qwen3-VL sees photos up to 200" in answers[1]["problem"]
    assert "5000x20" not in answers[0]["problem"] + answers[2]["problem"]

    def reply_or_refuse(asked: dict[str, Any], number: int) -> Any:
        # The strip is sent 1,024 px wide: of another picture's size.
        if picture_of(asked).height < 10:
            return 400, {}, json.dumps({"error": {"message": "the image is too small"}}).encode()
        return reply(asked, number)

    with serving(reply_or_refuse) as server:
        model = f"endpoint:{server.url},qwen3-vl"
        status, _, err = run("localize", "--model", model, "--input", texts, "--out", tmp_path / "other.jsonl")
        assert status == 1 and "2 lines answered, 1 could not be" in err
        shoe, strip, _ = (json.loads(line) for line in (tmp_path / "other.jsonl").read_text().splitlines())
        assert shoe["found_x"] == 100.0 and "refuses the request: status 400" in strip["problem"]
        # Read in another form, the answers would be others: the file is not continued.
        status, _, err = run(
            "localize", "--model", model, "--style", "gemini", "--input", texts, "--out", tmp_path / "other.jsonl"
        )
        assert status == 2 and "of another model" in err


def test_an_endpoint_that_refuses_all_ends_the_work(run: Run, photo: Path) -> None:
    with serving(lambda asked, number: (400, {}, b"no such thing")) as server:
        model = f"endpoint:{server.url},qwen3-vl"
        status, _, err = run("localize", photo, "--model", model, *(f"shoe {n}" for n in range(300)))
        assert status == 2 and "refuses the request: status 400 no such thing" in err
        # Those that were under way when the first refusal was read.
        assert len(server.requests) < 200


def test_a_model_of_transformers_answers_the_shell(run: Run, photo: Path, folder: Path) -> None:
    status, out, err = run("describe", photo, "--model", folder, "--device", "cpu", "--point", "10,20", "--json")
    assert (status, err) == (0, "") and isinstance(json.loads(out)["points"][0]["description"], str)
    status, out, err = run("localize", photo, "--model", folder, "--device", "cpu", "the left shoe", "--json")
    assert status == 0 and "problem" in json.loads(out)["points"][0]
    assert "no answer to 1 of 1 questions" in err or err == ""


def test_evaluate_scores_an_endpoint_and_shows_what_it_could_not_read(run: Run, photo: Path, tmp_path: Path) -> None:
    texts = ["the left shoe", "a sombrero", "the sky", "the right shoe"]
    lines = [{"photo": photo.name, "x": 100, "y": 50, "text": text} for text in texts]
    lines.append({"photo": "other.png", "x": 100, "y": 50, "text": "a shoe"})
    Image.new("RGB", (200, 100), "red").save(tmp_path / "other.png")
    (tmp_path / "points.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    with serving(reply) as server:
        model = f"endpoint:{server.url},qwen3-vl"
        asked = ("evaluate", "--data", tmp_path / "points.jsonl", "--model", model, "--out", tmp_path / "run")
        status, out, err = run(*asked)
        assert status == 0, err
        report = json.loads((tmp_path / "run" / "report.json").read_text())
        rows = {(row["describer"], row["localizer"]): row for row in report["rows"]}
        given = rows["ground-truth", "localizer"]
        # Three shoes are found, the hat is a miss, the sky is in no score.
        assert (given["n"], given["unreadable"], given["unanswered"], given["mpck"]) == (4, 1, 1, 75.0)
        assert rows["descriptor", "localizer"]["mpck"] == 100.0
        markdown = (tmp_path / "run" / "report.md").read_text()
        assert "in no score" in markdown and "ground-truth -> localizer 1 of 5" in markdown
        # Paid for once.
        count = len(server.requests)
        assert run(*asked)[0] == 0 and len(server.requests) == count
        # Of an endpoint that is read in a wrong form there is no row, and the others stand.
        beside = ("--localizer", "localizer", "--localizer", f"endpoint:{server.url},molmo")
        status, out, err = run(*asked[:-1], tmp_path / "other", *beside)
        assert status == 0, err
        report = json.loads((tmp_path / "other" / "report.json").read_text())
        assert "none of its 5 answers could be read" in " ".join(report["passed_over"])
        assert {row["localizer"] for row in report["rows"]} == {"localizer", "constant", "oracle"}


def test_check_model_from_the_shell(run: Run) -> None:
    with serving(lambda asked, number: completion("I cannot.")) as server:
        status, out, _ = run("check-model", f"endpoint:{server.url},qwen3-vl")
        assert status == 1 and "60 answers could not be read; the first: the answer holds no JSON" in out
        assert "by the photo's long side: 400 px 0%" in out and "not passed, and no other frame" in out


def test_check_model_says_of_mini_that_its_frame_is_right(run: Run) -> None:
    """What docs/any-photo.md says of it; another machine's arithmetic may find one thing more or less."""
    status, out, _ = run("check-model", "mini")
    assert status == 1 and re.search(r"found 6\d% of 60 within", out)
    assert re.match(r"not passed: its frame is right \(what it finds lies (1\.[89]|2\.0)%", out.splitlines()[-1])


def test_what_a_model_takes(run: Run, folder: Path, tmp_path: Path) -> None:
    for size, weights in (("2B", 2.13), ("4B", 4.44), ("8B", 8.77)):
        status, out, _ = run("check-model", f"Qwen/Qwen3-VL-{size}-Instruct", "--dry-run")
        assert status == 0 and f"{weights} billion weights" in out and "Estimates" in out
    status, out, _ = run("check-model", "Qwen/Qwen3-VL-8B-Instruct", "--dry-run", "--json")
    planned = json.loads(out)
    # 16.33 GB are the files that its authors publish; 36 blocks, 8 heads of 128, keys and values, two bytes.
    assert planned["weights"] == 8_767_123_696 and planned["estimated_memory"]["bf16"]["weights_gb"] == 17.53
    assert planned["keys_and_values_of_a_photo_gb"] == pytest.approx(2048 * 36 * 8 * 128 * 2 * 2 / 1e9, abs=1e-3)
    assert run("check-model", folder, "--dry-run")[0] == 0
    status, _, err = run("check-model", "a/b", "--dry-run")
    assert status == 2 and "--dry-run knows Qwen3-VL of 2B, 4B and 8B by their names" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "endpoint:http://127.0.0.1:1/v1"), "needs an address and a model, as in endpoint:http"),
        (
            ("--model", "endpoint:http://127.0.0.1:1/v1,m", "--device", "cpu"),
            "is an endpoint, which has its own device",
        ),
        (("--model", "endpoint:http://127.0.0.1:1/v1,m", "--style", "yolo"), "style is 'yolo'; allowed: qwen,"),
        (("--style", "qwen"), "mini is a checkpoint of ours; style is for stock models and endpoints"),
    ],
)
def test_bad_models_are_one_line(run: Run, photo: Path, arguments: tuple[str, ...], message: str) -> None:
    status, out, err = run("localize", photo, "the left shoe", *arguments)
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1
