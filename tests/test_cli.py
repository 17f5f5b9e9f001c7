import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import typer
from PIL import Image, ImageColor

import talking_points
from talking_points.cli import app, main
from talking_points.demo import demo_photos
from talking_points.evaluation.figures import FOUND_COLOUR
from talking_points.pointing import pretrained
from talking_points.pointing.round_trip import RoundTrip
from talking_points.samples import FoundPoint

COMMANDS_OF_SETTINGS = [
    ["describe"],
    ["localize"],
    ["round-trip"],
    ["demo"],
    ["build-dataset"],
    ["evaluate"],
    ["evaluate-pointing"],
    ["check-model"],
    ["serve"],
    ["collect"],
    ["train", "descriptor"],
    ["train", "localizer"],
    ["train", "grpo"],
]
ALL_COMMANDS = [
    *COMMANDS_OF_SETTINGS,
    ["inspect-dataset"],
    ["compare"],
    ["import-omg-llava"],
    ["parity"],
    ["train", "join"],
    ["train", "calibrate"],
]

NOWHERE = {"point_px": (3.0, 4.0), "confidence": None, "runner_up_px": None}
MINI = Path(talking_points.__file__).parent / "pretrained" / "mini" / "config.json"


class FakeTalkingPoints:
    """Stands for the model: a description names the point, and what is found is 3 px right and 4 px down."""

    @classmethod
    def load(cls, model, *, device=None, roles=(), style=None, choose=False):
        assert model == "mini" and device in (None, "cpu") and style is None and roles
        assert not choose or set(roles) == {"descriptor", "localizer"}
        one = cls()
        one.choose = choose
        return one

    def describe(self, photo, points_px):
        assert photo.mode == "RGB"
        chosen = "the chosen" if self.choose else "a"
        return [f"{chosen} point at {x:g} {y:g}" for x, y in points_px]

    def locate(self, photo, texts):
        assert photo.mode == "RGB"
        if max(map(len, texts)) > 1000:
            raise ValueError("text 1 has 1001 tokens;\nthe model reads 512")
        other = FoundPoint(point_px=(3.0, 4.0), confidence=0.876, runner_up_px=(7.5, 8.0))
        alone, absent = replace(other, confidence=None, runner_up_px=None), replace(other, there=0.0449)
        return [other if " or " in text else absent if "unicorn" in text else alone for text in texts]

    def round_trip(self, photo, points_px):
        return [
            RoundTrip(
                point_px=(x, y),
                description=text,
                found_px=(x + 3, y + 4),
                error=float(np.hypot(3 / photo.width, 4 / photo.height)),
            )
            for (x, y), text in zip(points_px, self.describe(photo, points_px), strict=True)
        ]


def stand_in(monkeypatch, name, **contents):
    """Make `import talking_points.<name>` give a module of these contents."""
    module = ModuleType(f"talking_points.{name}")
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(talking_points, name, module, raising=False)


@pytest.fixture
def fake_model(monkeypatch):
    monkeypatch.setattr(pretrained, "load_roles", lambda *asked, **how: FakeTalkingPoints.load(*asked, **how))


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (200, 100), (120, 160, 210)).save(path)
    return path


@pytest.fixture(autouse=True)
def mini_is_there(monkeypatch):
    """Most tests stand in for the model itself; they need no weights."""
    real = pretrained.find_model
    monkeypatch.setattr(pretrained, "find_model", lambda name: MINI.parent if name == "mini" else real(name))


@pytest.fixture
def run(capsys):
    """Run the command line; gives exit status, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


@pytest.mark.usefixtures("fake_model")
class TestAnswers:
    def test_describe(self, run, photo):
        status, out, _ = run("describe", photo, "--point", "10,20", "--point", "30.5,40")
        assert (status, out) == (0, "(10, 20): a point at 10 20\n(30.5, 40): a point at 30.5 40\n")

    def test_describe_chooses_among_texts_when_told(self, run, photo):
        """The model is given both roles; the model that stands in says so."""
        said = "(10, 20): the chosen point at 10 20"
        assert run("describe", photo, "--point", "10,20", "--choose")[1] == f"{said}\n"
        assert run("round-trip", photo, "--point", "10,20", "--choose")[1].startswith(said)
        answer = json.loads(run("describe", photo, "--point", "10,20", "--choose", "--json")[1])
        assert answer["model"] == "mini, chosen"

    def test_points_that_may_be_meant_as_shares_are_noted(self, run, photo):
        status, out, err = run("describe", photo, "--point", "0.5,0.25")
        assert (status, out) == (0, "(0.5, 0.25): a point at 0.5 0.25\n")
        assert err == "note: points are in pixels; these are within the photo's top left one\n"
        assert run("describe", photo, "--point", "0.5,0.25", "--point", "1.5,1")[2] == ""
        assert run("describe", photo, "--point", "0,0")[2] == ""

    def test_describe_json(self, run, photo):
        status, out, _ = run("describe", photo, "--point", "10,20", "--json", "--device", "cpu")
        assert status == 0
        assert json.loads(out) == {
            "model": "mini",
            "photo": {"path": str(photo), "width": 200, "height": 100},
            "points": [
                {"x": 10, "y": 20, "description": "a point at 10 20", "found_x": None, "found_y": None, "there": None}
            ],
        }

    def test_localize(self, run, photo):
        status, out, _ = run("localize", photo, "the left eye", "the nose")
        assert (status, out) == (0, "(3.0, 4.0): the left eye\n(3.0, 4.0): the nose\n")

    def test_localize_json(self, run, photo):
        _, out, _ = run("localize", photo, "the left eye", "--json")
        assert json.loads(out)["points"] == [{"text": "the left eye", "found_x": 3, "found_y": 4, "there": None}]
        _, out, _ = run("localize", photo, "the left or the right eye", "--json")
        [point] = json.loads(out)["points"]
        assert (point["confidence"], point["runner_up_x"], point["runner_up_y"]) == (0.876, 7.5, 8)

    def test_localize_says_how_sure_it_is(self, run, photo):
        _, out, _ = run("localize", photo, "the left or the right eye")
        sure = "  88% sure to be within a tenth of the photo's longer side; or else at (7.5, 8.0)\n"
        assert out == f"(3.0, 4.0): the left or the right eye\n{sure}"

    def test_localize_says_what_is_not_in_the_photo(self, run, photo):
        _, out, _ = run("localize", photo, "the unicorn", "the nose")
        absent = "not in the photo: the unicorn\n  4% likely to be there; the likeliest place is (3.0, 4.0)\n"
        assert out == f"{absent}(3.0, 4.0): the nose\n"
        _, out, _ = run("localize", photo, "the unicorn", "--json")
        [point] = json.loads(out)["points"]
        assert (point["found_x"], point["found_y"], point["there"]) == (3, 4, 0.0449)

    @pytest.mark.parametrize(("there", "shown"), [(1e-9, "less than 1%"), (0.4999, "49%")])
    def test_round_trip_says_what_is_not_in_the_photo(self, run, photo, monkeypatch, there, shown):
        trips = FakeTalkingPoints.round_trip
        monkeypatch.setattr(
            FakeTalkingPoints, "round_trip", lambda *asked: [replace(trip, there=there) for trip in trips(*asked)]
        )
        _, out, _ = run("round-trip", photo, "--point", "10,20")
        place = "the likeliest place is (13.0, 24.0), 5.0 px away (4.3% of the photo)"
        assert out == f"(10, 20): a point at 10 20\n  not in the photo: {shown} likely to be there; {place}\n"

    def test_round_trip(self, run, photo):
        status, out, _ = run("round-trip", photo, "--point", "10,20")
        # 5 px; in the photo's normalised coordinates the hypotenuse of 3/200 and 4/100
        assert (status, out) == (
            0,
            "(10, 20): a point at 10 20\n  found again at (13.0, 24.0), 5.0 px away (4.3% of the photo)\n",
        )

    def test_round_trip_json(self, run, photo):
        _, out, _ = run("round-trip", photo, "--point", "0,0", "--json")
        (point,) = json.loads(out)["points"]
        # a point of zeros is there, though zero is falsy
        assert point == {
            "x": 0,
            "y": 0,
            "description": "a point at 0 0",
            "found_x": 3,
            "found_y": 4,
            "there": None,
            "error": pytest.approx(0.04272, abs=1e-5),
        }

    def test_only_the_answer_is_on_stdout(self, run, photo, tmp_path):
        figure = tmp_path / "out.png"
        _, out, err = run("round-trip", photo, "--point", "10,20", "--json", "--figure", figure)
        assert list(json.loads(out)) == ["model", "photo", "points"]
        assert err == "" and figure.is_file()

    @pytest.mark.parametrize(
        "command", [["describe", "--point", "9,9"], ["localize", "a"], ["round-trip", "--point", "9,9"]]
    )
    def test_figure(self, run, photo, tmp_path, command):
        figure = tmp_path / "out.png"
        status, _, _ = run(command[0], photo, *command[1:], "--figure", figure)
        assert status == 0
        with Image.open(figure) as drawn:
            assert drawn.width > 500

    def test_turned_photo_has_its_upright_size(self, run, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (200, 100)).save(tmp_path / "a.jpg", exif=exif)
        _, out, _ = run("describe", tmp_path / "a.jpg", "--point", "50,150", "--json")
        assert json.loads(out)["photo"] == {"path": str(tmp_path / "a.jpg"), "width": 100, "height": 200}

    def test_demo(self, run, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        status, out, _ = run("demo")
        assert status == 0
        assert out.count("found again at") == sum(len(photo.points_px) for photo in demo_photos())
        for photo in demo_photos():
            assert photo.title in out and photo.credit in out
            assert all(text in out for text in (*photo.texts, *photo.absent))
        assert (tmp_path / "talking-points-demo.png").is_file()

    def test_demo_json(self, run, tmp_path):
        _, out, _ = run("demo", "--json", "--figure", tmp_path / "out.png")
        answers = json.loads(out)
        for photo, answer in zip(demo_photos(), answers, strict=True):
            assert answer["photo"]["path"] == str(photo.path) and answer["credit"] == photo.credit
            described = answer["points"][: len(photo.points_px)]
            assert [(point["x"], point["y"]) for point in described] == list(photo.points_px)
            found = answer["points"][len(photo.points_px) :]
            assert [point["text"] for point in found] == [*photo.texts, *photo.absent]

    @pytest.mark.parametrize(
        ("there", "said"),
        [(0.5, None), (0.4999, "49%")],
    )
    def test_demo_says_how_likely_a_thing_is_there(self, run, tmp_path, monkeypatch, there, said):
        self.lead_all_texts_to(FoundPoint(**NOWHERE, there=there), monkeypatch)
        _, out, _ = run("demo", "--figure", tmp_path / "demo.png")
        texts = [text for photo in demo_photos() for text in (*photo.texts, *photo.absent)]
        likely = f"\n  {said} likely to be there; the likeliest place is (3.0, 4.0)\n"
        for text in texts:
            assert (f"(3.0, 4.0): {text}\n" if said is None else f"not in the photo: {text}{likely}") in out
        assert out.count("likely to be there") == (0 if said is None else len(texts))

    def test_demo_rings_no_thing_that_is_not_there(self, run, tmp_path, monkeypatch):
        green = []
        for there in (0.4, 0.5):
            self.lead_all_texts_to(FoundPoint(**NOWHERE, there=there), monkeypatch)
            run("demo", "--figure", tmp_path / "demo.png")
            with Image.open(tmp_path / "demo.png") as sheet:
                green.append(int((np.asarray(sheet) == ImageColor.getrgb(FOUND_COLOUR)).all(-1).sum()))
        # What was described is found again, and ringed, in both.
        assert 0 < green[0] < green[1]

    @pytest.mark.parametrize(
        ("there", "said"), [(None, None), (0.5, None), (0.4999, "49%"), (0.01, "1%"), (0.001, "less than 1%")]
    )
    def test_localize_says_how_likely_a_thing_is_there(self, run, photo, monkeypatch, there, said):
        self.lead_all_texts_to(FoundPoint(**NOWHERE, there=there), monkeypatch)
        _, out, _ = run("localize", photo, "a cat")
        likely = f"not in the photo: a cat\n  {said} likely to be there; the likeliest place is (3.0, 4.0)\n"
        assert out == ("(3.0, 4.0): a cat\n" if said is None else likely)

    @staticmethod
    def lead_all_texts_to(found, monkeypatch):
        monkeypatch.setattr(FakeTalkingPoints, "locate", lambda self, photo, texts: [found] * len(texts))


class TestBadInput:
    @pytest.mark.parametrize(
        "arguments, said",
        [
            (["describe"], "expected PHOTO"),
            (["localize", "{photo}"], "expected PHOTO and one TEXT"),
            (["round-trip", "{photo}"], "--point"),
            (["describe", "--input", "{photo}"], "--out"),
            (["describe", "--input", "nowhere.jsonl", "--out", "o.jsonl"], "nowhere.jsonl"),
            (["describe", "{photo}", "--input", "a.jsonl", "--out", "o.jsonl"], "without PHOTO"),
            (["localize", "--input", "{photo}", "--out", "o.jsonl", "--json"], "without PHOTO"),
            (["describe", "--input", "{photo}", "--out", "o.jsonl", "--engine", "spark"], "local, ray"),
            (["describe", "--input", "{photo}", "--out", "o.jsonl", "--workers", "2"], "--engine ray"),
            (
                ["describe", "{photo}", "--point", "1,1", "--out", "o.jsonl"],
                "--out, --strict, --engine and --workers are",
            ),
            (["localize", "{photo}", "a shoe", "--strict"], "are for --input, and there is none"),
        ],
    )
    def test_files_of_lines(self, run, photo, arguments, said):
        status, out, err = run(*(one.format(photo=photo) for one in arguments))
        assert (status, out) == (2, "")
        assert said in err and err.count("\n") == 1

    """One line on stderr, nothing on stdout, exit status 2, and torch stays unimported."""

    @pytest.fixture
    def error_of(self, run, monkeypatch):
        def no_model(*asked, **how):
            raise AssertionError("the model was reached")

        monkeypatch.setattr(pretrained, "load_roles", no_model)

        def error_of(*arguments):
            status, out, err = run(*arguments)
            assert (status, out) == (2, "")
            assert err.startswith("error: ") and err.count("\n") == 1
            return err

        return error_of

    @pytest.mark.parametrize(
        ("point", "message"),
        [
            ("300,3", "point 1 [300.0, 3.0] is outside the 200x100 photo"),
            ("-1,3", "point 1 [-1.0, 3.0] is outside the 200x100 photo"),
            ("nan,3", "point 1 [nan, 3.0] is not finite"),
            ("inf,3", "point 1 [inf, 3.0] is not finite"),
            ("3", "--point expects X,Y such as 120,45.5, got '3'"),
            ("3,4,5", "--point expects X,Y"),
            ("3 4", "--point expects X,Y"),
            ("a,b", "--point expects X,Y"),
            ("", "--point expects X,Y"),
        ],
    )
    @pytest.mark.parametrize("command", ["describe", "round-trip"])
    def test_points(self, error_of, photo, command, point, message):
        assert message in error_of(command, photo, "--point", point)

    def test_second_point_is_named(self, error_of, photo):
        assert "point 2 [300.0, 3.0]" in error_of("describe", photo, "--point", "3,3", "--point", "300,3")

    def test_no_such_photo(self, error_of, tmp_path):
        assert "no such photo" in error_of("localize", tmp_path / "absent.jpg", "text")

    def test_folder_as_photo(self, error_of, tmp_path):
        assert "is not a file" in error_of("describe", tmp_path, "--point", "1,1")

    def test_not_a_photo(self, error_of):
        assert "is not a photo" in error_of("describe", __file__, "--point", "1,1")

    def test_truncated_photo(self, error_of, photo):
        photo.write_bytes(photo.read_bytes()[:150])
        assert "truncated or damaged" in error_of("describe", photo, "--point", "1,1")

    def test_too_many_pixels(self, error_of, tmp_path):
        Image.new("1", (10_001, 10_000)).save(tmp_path / "a.png")
        assert "at most 100,000,000" in error_of("describe", tmp_path / "a.png", "--point", "1,1")

    @pytest.mark.parametrize("text", ["", "  ", "\n", "...", "\u200b"])
    def test_empty_text(self, error_of, photo, text):
        assert "text 2 is empty" in error_of("localize", photo, "a nose", text)

    @pytest.mark.parametrize("command", [["describe", "--point", "1,1"], ["localize", "a"], ["demo"]])
    def test_unknown_model(self, error_of, photo, command):
        photos = [] if command == ["demo"] else [photo]
        assert "unknown model 'foo': 'mini'" in error_of(command[0], *photos, *command[1:], "--model", "foo")

    def test_folder_that_is_no_checkpoint(self, error_of, photo, tmp_path):
        assert "config.json" in error_of("describe", photo, "--point", "1,1", "--model", tmp_path)

    def test_figure_that_cannot_be_written(self, error_of, photo, tmp_path):
        point = ("--point", "1,1")
        assert "no such folder" in error_of("describe", photo, *point, "--figure", tmp_path / "no" / "a.png")
        assert "a figure is a file" in error_of("describe", photo, *point, "--figure", tmp_path / "a.docx")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["describe"],
            ["describe", "photo.jpg"],
            ["frobnicate"],
            ["describe", "--frobnicate"],
            ["localize", "p.jpg"],
        ],
    )
    def test_usage(self, error_of, arguments):
        error_of(*arguments)

    @pytest.mark.parametrize("arguments", [("photo.jpg", "1,2"), ("photo.jpg", "--pont", "1,2")])
    def test_what_is_too_much_is_told_where_help_is(self, error_of, arguments):
        assert error_of("describe", *arguments).endswith("See `talking-points describe --help`\n")

    @pytest.mark.parametrize("arguments", [(), ("train",)])
    def test_without_arguments_the_help_stands_alone(self, run, arguments):
        status, out, err = run(*arguments)
        assert status == 2 and "Usage: talking-points" in out + err and "error:" not in out + err

    def test_parity_folder(self, error_of, tmp_path):
        assert "no such folder" in error_of("parity", tmp_path / "absent")

    def test_import_files(self, error_of, tmp_path, photo):
        files = ["--segmenter", photo, "--class-embed", photo, "--llava", photo, "--out", tmp_path / "out"]
        assert "no such folder" in error_of("import-omg-llava", "--llm", tmp_path / "absent", *files)
        missing = ["--llm", tmp_path, "--clip", tmp_path / "absent.bin"]
        assert "no such file" in error_of("import-omg-llava", *missing, *files)
        wrong = ["--llm", tmp_path, "--dtype", "float16"]
        assert "--dtype must be float32 or bfloat16" in error_of("import-omg-llava", *wrong, *files)


@pytest.mark.usefixtures("fake_model")
class TestErrorsOfTheLibrary:
    def test_message_of_two_lines_becomes_one(self, run, photo):
        status, _, err = run("localize", photo, "x" * 1001)
        assert status == 2
        assert err.endswith("error: text 1 has 1001 tokens; the model reads 512\n")

    def test_missing_extra(self, run, photo, monkeypatch):
        def missing(*asked, **how):
            raise ImportError("this needs gradio: pip install 'talking-points[web]'")

        monkeypatch.setattr(FakeTalkingPoints, "load", missing)
        status, _, err = run("describe", photo, "--point", "1,1")
        assert status == 2 and "pip install" in err

    def test_a_point_of_which_nothing_was_said(self, run, photo, monkeypatch):
        trip = RoundTrip(point_px=(1.0, 2.0), description="", found_px=None, error=None)
        monkeypatch.setattr(FakeTalkingPoints, "round_trip", lambda self, photo, points: [trip])
        assert run("round-trip", photo, "--point", "1,2")[:2] == (0, "(1, 2): (no description)\n")
        _, out, _ = run("round-trip", photo, "--point", "1,2", "--json")
        nowhere = {"found_x": None, "found_y": None, "there": None}
        assert json.loads(out)["points"] == [{"x": 1, "y": 2, "description": "", **nowhere}]

    def test_ctrl_c(self, run, photo, monkeypatch):
        def interrupted(*asked, **how):
            raise KeyboardInterrupt

        monkeypatch.setattr(FakeTalkingPoints, "load", interrupted)
        assert run("describe", photo, "--point", "1,1")[0] == 130

    def test_a_mistake_of_ours_is_not_hidden(self, photo, monkeypatch):
        def wrong(*asked, **how):
            raise ZeroDivisionError

        monkeypatch.setattr(FakeTalkingPoints, "load", wrong)
        with pytest.raises(ZeroDivisionError):
            main(["describe", str(photo), "--point", "1,1"])


class TestParity:
    @pytest.mark.parametrize(("passed", "status"), [(True, 0), (False, 1)])
    def test_report_and_status(self, run, monkeypatch, tmp_path, passed, status):
        report = {"outputs": {"logits": 0.5}, "query_mask_equal": True, "passed": passed}
        folders = []
        stand_in(monkeypatch, "omg_llava.parity", run_parity=lambda folder: folders.append(folder) or report)
        assert run("parity", tmp_path) == (status, json.dumps(report, indent=2) + "\n", "")
        assert folders == [tmp_path]


def test_import_omg_llava_passes_everything_on(run, monkeypatch, tmp_path, photo):
    calls = []
    stand_in(
        monkeypatch, "omg_llava.importing", import_omg_llava=lambda **given: calls.append(given) or {"role": "near"}
    )
    files = ["--segmenter", photo, "--class-embed", photo, "--llava", photo, "--out", tmp_path / "out"]
    status, out, err = run("import-omg-llava", "--llm", tmp_path, *files, "--dtype", "float32", "--descriptor", photo)
    assert (status, out, err.splitlines()[0]) == (0, "", "role: near")
    assert callable(calls[0].pop("on_progress"))
    assert calls == [
        {
            "llm": tmp_path,
            "segmenter": photo,
            "class_embed": photo,
            "llava": photo,
            "clip": None,
            "descriptor": photo,
            "localizer": None,
            "dtype": "float32",
            "out": tmp_path / "out",
        }
    ]


class TestBuildDataset:
    @pytest.fixture
    def people(self, tmp_path, label_map_writer):
        label_map_writer(tmp_path / "people", [], [f"{k}" for k in range(5)])
        return f"label-map={tmp_path / 'people'}"

    def test_build_and_inspect(self, run, people, tmp_path):
        out = tmp_path / "set"
        command = ["build-dataset", "--source", people, "--split", "test", "--points-per-photo", "2", "--out", out]
        status, printed, err = run(*command, "--audit", "50%")
        assert status == 0, err
        # The five photos are one picture, and so in one split.
        assert printed.splitlines()[0].endswith(": 10 records (label-map 10)")
        assert "rejected: 0 records" in printed and "skipped: 0 photos" in printed
        assert "photos: 5 of 5" in err and f"wrote {out}" in err
        status, printed, _ = run("inspect-dataset", out)
        assert status == 0
        assert "semantic points (in a labelled part): 100.0%" in printed and "points: sift 10\n" in printed
        assert "written by: rules 10\n" in printed and "audit: none of 5 answered yet" in printed
        status, printed, _ = run("inspect-dataset", out, "--json")
        found = json.loads(printed)
        assert found["records"] in ({"train": {"label-map": 10}}, {"test": {"label-map": 10}})
        assert found["audit"] == {"asked": 5, "answered": 0, "found": 0}

    def test_skipped_photos_are_listed(self, run, people, tmp_path):
        (tmp_path / "people/photos/3.jpg").write_bytes(b"")
        command = ["build-dataset", "--source", people, "--split", "test", "--out", tmp_path / "set"]
        status, _, err = run(*command)
        assert status == 2 and "3.jpg" in err and "--skip-bad" in err
        status, printed, _ = run(*command, "--skip-bad")
        assert status == 0 and "skipped: 1 photo\n  label-map 3: " in printed

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--photos", "none"], "photos is 'none'; allowed: embed, path"),
            (["--engine", "spark"], "engine is 'spark'; allowed: local, ray"),
            (["--audit", "5 percent"], "--audit expects a share such as 5% or 0.05, got '5 percent'"),
            (["--audit", "0"], "--audit expects a share"),
            (["--source", "flickr=/tmp"], "NAME one of"),
            (["--dialect", "latin"], 'unknown dialect "latin"'),
            (["--writer", "endpoint:http://host/v1"], "needs an address and a model"),
            (["--split", "all"], "split is 'all'; allowed: train, val, test"),
            (["--points-per-photo", "0"], "points_per_photo must be at least 1"),
        ],
    )
    def test_bad_options(self, run, people, tmp_path, options, message):
        status, out, err = run("build-dataset", "--source", people, "--out", tmp_path / "set", *options)
        assert (status, out) == (2, "")
        assert message in err and err.count("\n") == 1

    def test_no_set_to_inspect(self, run, tmp_path):
        assert "no such folder" in run("inspect-dataset", tmp_path / "absent")[2]
        assert "holds no built set" in run("inspect-dataset", tmp_path)[2]


class TestHelp:
    def test_commands(self, run):
        status, out, _ = run("--help")
        assert status == 0
        commands = ["describe", "localize", "round-trip", "demo", "parity", "import-omg-llava", "train"]
        commands += ["build-dataset", "inspect-dataset"]
        assert all(command in out for command in commands)

    @pytest.mark.parametrize("command", ["describe", "localize", "round-trip", "demo"])
    def test_options(self, run, command):
        _, out, _ = run(command, "--help")
        assert all(option in out for option in ("--model", "--device", "--json", "--figure"))

    @pytest.mark.parametrize("command", ALL_COMMANDS, ids=" ".join)
    def test_at_most_fifteen_flags(self, run, command, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        status, out, _ = run(*command, "--help")
        flags = set(re.findall(r"^\W*(--[a-z-]+)", out, re.MULTILINE)) - {"--help"}
        assert status == 0 and len(flags) <= 15
        shown = typer.main.get_command(app)
        for name in command:
            shown = shown.commands[name]
        hidden = [one for one in shown.params if one.hidden]
        assert bool(hidden) == out.rstrip().endswith("More settings: --show-config")
        assert command != ["evaluate"] or "--source" in flags

    @pytest.mark.parametrize("command", COMMANDS_OF_SETTINGS, ids=" ".join)
    def test_all_settings_are_printed_as_toml_that_can_be_given(self, run, command, tmp_path):
        status, out, err = run(*command, "--show-config")
        assert (status, err) == (0, "") and out.startswith("# ") and " = " in out
        (tmp_path / "a.toml").write_text(out)
        assert run(*command, "--config", tmp_path / "a.toml", "--show-config")[1] == out
        (tmp_path / "a.toml").write_text("colour = 1")
        status, out, err = run(*command, "--config", tmp_path / "a.toml")
        assert (status, out) == (2, "") and "a.toml: unknown key 'colour'; known: " in err and err.count("\n") == 1

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (
                [],
                "# The paper's values for the 7B, as no --base is given, which names a recipe; --recipe NAME",
            ),
            (["--base", MINI.parent], "# The recipe mini, which the base names; --recipe NAME (7b, mini, qwen3-vl)"),
            (["--recipe", "mini"], "# The recipe mini, as given; --recipe NAME"),
        ],
    )
    def test_a_recipe_is_named_above_what_it_says(self, run, arguments, said):
        status, out, _ = run("train", "descriptor", *arguments, "--show-config")
        assert status == 0 and out.startswith(said) and ("\nlora_rank = 32\n" in out) == bool(arguments)

    def test_version(self, run):
        assert run("--version") == (0, f"talking-points {talking_points.__version__}\n", "")


def fresh(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a Python of its own, whose last line of stdout names what it imported."""
    program = (
        "import sys\nfrom talking_points.cli import main\n"
        "try:\n    main()\nfinally:\n    print(*{name.partition('.')[0] for name in sys.modules})"
    )
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)


def test_help_and_bad_input_do_not_import_torch(photo):
    """In one process: what one of them imported, the next would be blamed for."""
    asked = [
        (["--help"], 0),
        (["--version"], 0),
        (["train", "--help"], 0),
        (["describe", "PHOTO", "--point", "300,3"], 2),
        (["round-trip", "PHOTO", "--point", "nan,3"], 2),
        (["localize", "PHOTO", ""], 2),
        (["localize", "absent.jpg", "text"], 2),
        (["localize", "PHOTO", "text", "--model", "foo"], 2),
        (["parity", "absent"], 2),
        (["build-dataset", "--help"], 0),
        (["build-dataset", "--source", "label-map=absent", "--out", "set"], 2),
        (["build-dataset", "--source", "label-map=.", "--out", "set", "--dialect", "latin"], 2),
        (["inspect-dataset", "."], 2),
        (["evaluate-pointing", "--data", "absent", "--layout", "ap-10k", "--out", "scores"], 2),
        (["evaluate-pointing", "--data", ".", "--layout", "point-bench", "--out", "scores"], 2),
        (["serve", "--help"], 0),
        (["serve", "--max-points", "0"], 2),
        (["serve", "--port", "0", "--model", "foo"], 2),
    ]
    program = (
        "import json, sys\nfrom talking_points.cli import main\nfor arguments in json.loads(sys.argv[1]):\n"
        "    try:\n        main(arguments)\n    except SystemExit as ended:\n"
        "        print('ended', ended.code, *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    words = [[str(photo) if one == "PHOTO" else one for one in arguments] for arguments, _ in asked]
    done = subprocess.run([sys.executable, "-c", program, json.dumps(words)], capture_output=True, text=True)
    ended = [line.split()[1:] for line in done.stderr.splitlines() if line.startswith("ended ")]
    assert [int(status) for status, *_ in ended] == [status for _, status in asked], done.stderr
    for (arguments, _), (_, *imported) in zip(asked, ended, strict=True):
        assert not set(imported) & {"torch", "transformers", "matplotlib"}, arguments


def test_mini_answers_without_slow_imports(photo):
    """torch is half of the time to the first words; each of these would add a second or more."""
    done = fresh("round-trip", str(photo), "--point", "120,45.5", "--device", "cpu")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("(120, 45.5): The point is ")
    imported = set(done.stdout.splitlines()[-1].split())
    assert "torch" in imported
    slow = {"transformers", "peft", "accelerate", "bitsandbytes", "matplotlib", "pyarrow", "datasets", "scipy", "cv2"}
    # sympy comes with torch's compiler.
    assert not imported & (slow | {"huggingface_hub", "pandas", "sympy"})


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_the_model_loads(photo, sent):
    # the signal arrives in the middle of the import of a module that never ends
    program = (
        "import os, signal, sys, types\nfrom talking_points.cli import main\n"
        # Who runs the tests in the background has it ignored, and children inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import talking_points.pointing.pretrained as pretrained\npretrained.find_model = lambda name: name\n"
        "pretrained.stock_family = lambda folder: None\n"
        "class Slow(types.ModuleType):\n"
        f"    def __getattr__(self, name): os.kill(os.getpid(), {sent.value})\n"
        "sys.modules['talking_points.bases.loading'] = Slow('slow')\nmain()"
    )
    command = [sys.executable, "-c", program, "describe", str(photo), "--point", "1,1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (128 + sent, "")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not MINI.is_file(), reason="the embedded checkpoint pretrained/mini is not here")
class TestWithMini:
    def test_one_line_is_no_lines(self, run, tmp_path):
        Image.effect_noise((80, 60), 90).convert("RGB").save(tmp_path / "photo.png")
        (tmp_path / "points.jsonl").write_text('{"photo": "photo.png", "x": 20, "y": 30}\n')
        status, _, err = run("describe", "--input", tmp_path / "points.jsonl", "--out", tmp_path / "out.jsonl")
        assert status == 0 and "out.jsonl: 1 line answered\n" in err

    def test_a_file_of_lines_there_and_back(self, run, tmp_path):
        """Describe a file, find the points from what was written; start again and nothing is left to do."""
        photo, points = tmp_path / "photo.png", tmp_path / "points.jsonl"
        Image.effect_noise((80, 60), 90).convert("RGB").save(photo)
        points.write_text(
            '{"photo": "photo.png", "x": 20, "y": 30}\n{"photo": "gone.png", "x": 1, "y": 1}\n'
            '{"photo": "photo.png", "x": 70.5, "y": 10, "name": "corner"}\n'
        )
        described, found = tmp_path / "described.jsonl", tmp_path / "found.jsonl"
        status, out, err = run("describe", "--input", points, "--out", described)
        assert (status, out) == (1, "")
        assert "2 lines answered, 1 could not be" in err
        status, _, err = run("localize", "--input", described, "--out", found)
        assert status == 1 and "2 lines answered, 1 could not be" in err
        assert err.count('"description" is read as the "text"') == 1
        first, gone, last = (json.loads(line) for line in found.read_text().splitlines())
        assert first["model"] == "mini" and first["description"] and 0 <= first["found_x"] <= 80
        assert '"text"' in gone["problem"] and last["name"] == "corner"
        status, _, err = run("describe", "--input", points, "--out", described)
        assert status == 1 and "0 lines answered, 3 were done before (1 of them could not be)" in err
        points.write_text('{"photo": "gone.png", "x": 1, "y": 1}\n')
        assert run("describe", "--input", points, "--out", tmp_path / "none.jsonl")[0] == 2
        # Beside a text, x and y say nothing of where it is sought.
        points.write_text('{"photo": "photo.png", "x": 0.4, "y": 0.3, "text": "the corner"}\n' * 2)
        status, _, err = run("localize", "--input", points, "--out", tmp_path / "shares.jsonl")
        assert status == 0 and "2 lines answered" in err

    def test_demo(self, run, tmp_path):
        status, out, _ = run("demo", "--json", "--figure", tmp_path / "demo.png", "--device", "cpu")
        assert status == 0
        answers = json.loads(out)
        assert len(answers) == len(demo_photos())
        for answer in answers:
            width, height = answer["photo"]["width"], answer["photo"]["height"]
            for point in answer["points"]:
                assert 0 <= point["found_x"] <= width and 0 <= point["found_y"] <= height
                if "text" in point:
                    assert 0 <= point["there"] <= 1
                    continue
                assert point["description"].strip()
                offset = ((point["found_x"] - point["x"]) / width, (point["found_y"] - point["y"]) / height)
                assert point["error"] == pytest.approx(float(np.hypot(*offset)), abs=1e-6)
        assert (tmp_path / "demo.png").is_file()

    @pytest.mark.parametrize("size_wh", [(1, 1), (20_000, 10)])
    def test_extreme_photos(self, run, tmp_path, size_wh):
        path = tmp_path / "photo.png"
        Image.new("L", size_wh, 128).save(path)
        status, out, _ = run("round-trip", path, "--point", f"{size_wh[0] / 2},{size_wh[1] / 2}", "--json")
        assert status == 0
        assert len(json.loads(out)["points"]) == 1

    def test_errors(self, run, photo, tmp_path):
        for model in ("foo", str(tmp_path)):
            status, out, err = run("describe", photo, "--point", "1,1", "--model", model)
            assert (status, out) == (2, "")
            assert err.startswith("error: ") and err.count("\n") == 1
        status, _, err = run("localize", photo, "a shirt and " * 5_000)
        assert status == 2
        assert err.startswith("error: ") and err.count("\n") == 1
