import json
import re

import numpy as np
import pytest
from PIL import Image

from talking_points.cli import main
from talking_points.dataset.check import check_sources, lines_of, problems_of
from talking_points.labels.problems import problem_of


@pytest.fixture
def run(capsys):
    """Run the command line; gives exit status, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


def noisy(paths):
    """Photos that no two are equal."""
    rng = np.random.default_rng(0)
    for path in sorted(paths):
        photo = np.asarray(Image.open(path), dtype=np.int64)
        photo = np.clip(photo + rng.integers(-30, 30, photo.shape), 0, 255).astype(np.uint8)
        Image.fromarray(photo).save(path, quality=95)


@pytest.fixture
def cars(tmp_path, coco_writer):
    coco_writer(tmp_path / "cars", ["car0", "car1", "car2"])
    noisy((tmp_path / "cars").glob("*/images/*.jpg"))
    return tmp_path / "cars"


@pytest.fixture
def people(tmp_path, label_map_writer):
    label_map_writer(tmp_path / "people", ["p0", "p1"], ["p2"])
    noisy((tmp_path / "people" / "photos").iterdir())
    return tmp_path / "people"


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def everything_in(folder):
    return {path: (path.stat().st_mtime_ns, path.is_dir() or path.read_bytes()) for path in folder.rglob("*")}


def test_nothing_is_wrong(run, cars, people):
    before = everything_in(cars.parent)
    status, out, err = run(
        "build-dataset", "--check", "--source", f"coco-parts={cars}", "--source", f"label-map={people}"
    )
    assert (status, out) == (0, "no problems in 9 photos\n")
    assert "photos: 9 of 9" in err
    assert everything_in(cars.parent) == before
    status, out, _ = run("build-dataset", "--check", "--json", "--source", f"coco-parts={cars}")
    [folder] = json.loads(out)["folders"]
    assert status == 0 and json.loads(out)["problems"] == []
    assert folder["found"] == {
        "train/annotations.json": 1,
        "train/images/*": 4,
        "test/annotations.json": 1,
        "test/images/*": 4,
    }
    assert folder["missing"] == []


def test_all_problems_of_all_files_are_listed(run, cars, people):
    def edit(content):
        content["images"].append({**content["images"][0], "file_name": "twin.jpg"})
        content["categories"][2]["supercategory"] = "vehicle"
        content["annotations"][0]["segmentation"] = [[1, 2, 3]]
        content["annotations"][1]["segmentation"] = []
        content["annotations"][5]["category_id"] = 77
        content["annotations"].append({"id": 99, "image_id": 55, "category_id": 2})

    change(cars / "train" / "annotations.json", edit)
    (cars / "test" / "images" / "car1.jpg").write_bytes(b"no photo")
    (cars / "test" / "images" / "car2.jpg").unlink()
    (people / "labels" / "p2.png").unlink()
    Image.fromarray(np.full((120, 60), 9, np.uint8)).save(people / "labels" / "p0.png")
    change(people / "splits.json", lambda splits: splits["test"].append("p1"))
    sources = ["--source", f"coco-parts={cars}", "--source", f"label-map={people}"]
    status, out, err = run("build-dataset", "--check", "--json", *sources)
    assert status == 2
    found = [(one["file"].rpartition("/")[2], one["record"], one["problem"]) for one in json.loads(out)["problems"]]
    expected = {
        ("annotations.json", "images car0.jpg and twin.jpg", "have one id, 1"),
        (
            "annotations.json",
            'category "front_left_door"',
            'has the supercategory "vehicle", which is no object: it is a whole object and no part',
        ),
        ("annotations.json", "image_id 55", "an annotation is of image_id 55, which the file lacks"),
        ("annotations.json", "annotation 1 of car0.jpg", "a polygon has 3 numbers, expected pairs x, y"),
        ("annotations.json", "annotation 2 of car0.jpg", "has no segmentation"),
        ("annotations.json", "annotation 6 of car1.jpg", "has category 77, which the file lacks"),
        ("splits.json", 'photo "p1"', 'is in both "train" and "test"'),
        ("p0.png", "", "holds label 9, labels.json names 0 to 6"),
        ("p2.png", "", "is missing"),
        ("car1.jpg", "", "is not a photo; expected a JPEG, PNG, WebP, TIFF or the like"),
    }
    assert expected <= set(found)
    assert [one for one in found if one not in expected] == [
        ("car2.jpg", "", "no such photo"),
        ("p1.jpg", "", f"is the same photo as {people / 'photos' / 'p1.jpg'}, which is not of the test split"),
    ]
    assert all(one["remedy"] for one in json.loads(out)["problems"])
    assert f"{len(found)} problems in" in err

    status, out, err = run("build-dataset", "--check", *sources)
    assert status == 2 and len(out.splitlines()) == len(found)
    assert f"{cars}/train/annotations.json: annotation 2 of car0.jpg: has no segmentation; draw its outline" in out


def test_notes_are_no_problems(run, cars):
    region = {"id": 99, "image_id": 1, "category_id": 2, "iscrowd": 1}
    change(cars / "train" / "annotations.json", lambda c: c["annotations"].extend([region, {**region, "id": 100}]))
    status, out, err = run("build-dataset", "--check", "--json", "--source", f"coco-parts={cars}")
    assert status == 0 and json.loads(out)["problems"] == []
    assert "noted: 2 x a crowd region" in err


def test_both_files_that_label_maps_lack_are_told_with_what_belongs_in_them(run, people):
    for name in ("labels.json", "splits.json"):
        (people / name).unlink()
    status, out, _ = run("build-dataset", "--check", "--source", f"label-map={people}")
    names, splits = out.splitlines()
    assert status == 2 and names.startswith(
        f'{people}/labels.json: is missing; write the name of each label, from 0 on: {{"'
    )
    assert splits.startswith(f"{people}/splits.json: is missing; write which photos") and "own-dataset.md" in splits


def test_whole_objects_given_as_parts_are_a_line_a_cause(run, cars):
    for split in ("train", "test"):

        def edit(content):
            for category in content["categories"]:
                category["supercategory"] = "vehicle"

        change(cars / split / "annotations.json", edit)
    status, out, _ = run("build-dataset", "--check", "--source", f"coco-parts={cars}")
    assert status == 2 and len(out.splitlines()) == 2
    for line in out.splitlines():
        assert re.search(
            r'category "[^"]+" \(and \d+ others? like it\): has the supercategory "vehicle", which is', line
        )


def test_whole_objects_without_outlines_end_with_the_source_to_give(run, cars):
    def edit(content):
        for category in content["categories"]:
            category["supercategory"] = "vehicle"
        for annotation in content["annotations"]:
            annotation["segmentation"] = []

    change(cars / "train" / "annotations.json", edit)
    status, out, err = run("build-dataset", "--check", "--source", f"coco-parts={cars}")
    each = json.loads(run("build-dataset", "--check", "--json", "--source", f"coco-parts={cars}")[1])["problems"]
    count = sum(one["problem"] == "has no segmentation" for one in each)
    outlines, hint = out.splitlines()
    assert status == 2 and "to read whole objects give --source coco=DIR" in hint
    assert outlines == (
        f"{cars}/train/annotations.json: annotation 1 of car0.jpg (and annotation 2 of car0.jpg, annotation 3 of "
        f"car0.jpg and {count - 3} more like it, {count} in all): has no segmentation; draw its outline, or remove it"
    )
    assert f"{count + 1} problems in 6 photos; --json has each" in err
    assert len(each) == count + 1 and count > 3


def test_a_name_that_labels_json_lacks_is_told_once(run, people):
    for name in ("p0", "p1", "p2"):
        Image.fromarray(np.full((120, 60), 9, np.uint8)).save(people / "labels" / f"{name}.png")
    status, out, _ = run("build-dataset", "--check", "--source", f"label-map={people}")
    [line] = out.splitlines()
    assert status == 2 and line.endswith('; name it, or list it under "ignore" in labels.json')
    for name in ("p0", "p1", "p2"):
        assert line.count(f"{name}.png") == 1


def test_lines_that_differ_by_numbers_are_counted_from_some_on():
    def told(count):
        found = [problem_of("a.json", "", f"has category {n}, which the file lacks", "add it") for n in range(count)]
        return lines_of([*found, problem_of("a.json", "", "is another", "mend it")])

    assert len(told(10)) == 11 and "more like it" not in "".join(told(10))
    assert len(told(13)) == 12 and told(13)[-2:] == ["... and 3 more like it", "a.json: is another; mend it"]


def test_a_record_is_told_beside_its_own_file():
    found = [
        problem_of(f"instances_{split}.json", f"annotation {n}", "is flat", "mend it")
        for split, n in (("train", 5), ("val", 9), ("train", 7))
    ]
    assert lines_of(found) == [
        "instances_train.json: annotation 5 (and annotation 7): is flat; mend it",
        "instances_val.json: annotation 9: is flat; mend it",
    ]
    mixed = [
        problem_of("labels/1.png", "", "is flat", "mend it"),
        problem_of("labels/2.png", "hair", "is flat", "mend it"),
    ]
    assert lines_of(mixed) == ["labels/1.png: is flat; mend it", "labels/2.png: hair: is flat; mend it"]


def test_parts_given_as_whole_objects_are_noted(run, cars):
    status, _, err = run("build-dataset", "--check", "--source", f"coco={cars}")
    assert status == 0 and "look like parts" in err and "give --source coco-parts=DIR" in err
    change(cars / "train" / "annotations.json", lambda c: [one.pop("supercategory") for one in c["categories"]])
    change(cars / "test" / "annotations.json", lambda c: [one.pop("supercategory") for one in c["categories"]])
    assert "look like parts" not in run("build-dataset", "--check", "--source", f"coco={cars}")[2]


def test_one_photo_in_both_splits(run, cars):
    twin = (cars / "train" / "images" / "car1.jpg").read_bytes()
    (cars / "test" / "images" / "car2.jpg").write_bytes(twin)
    status, out, _ = run("build-dataset", "--check", "--source", f"coco-parts={cars}")
    assert status == 2
    assert out == (
        f"{cars}/test/images/car2.jpg: is the same photo as {cars}/train/images/car1.jpg, which is not of the test "
        "split; leave it in one split\n"
    )


def test_a_folder_without_a_test_split(run, cars):
    for path in sorted((cars / "test").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    # The folder is there and its annotations are not: that is a mistake.
    status, out, _ = run("build-dataset", "--check", "--source", f"coco-parts={cars}")
    assert (status, out) == (2, f"{cars}/test/annotations.json: is missing; add it\n")
    (cars / "test").rmdir()
    assert run("build-dataset", "--check", "--source", f"coco-parts={cars}")[:2] == (0, "no problems in 3 photos\n")


MEND = "mend or remove it"


def test_labels_of_no_photo_are_a_problem(run, cars):
    for split in ("train", "test"):
        change(cars / split / "annotations.json", lambda content: content["annotations"].clear())
    status, out, _ = run("build-dataset", "--check", "--source", f"coco-parts={cars}")
    assert (status, out) == (2, f"{cars}: lists no photo that has labels; give the folder of the labels\n")


def test_what_no_terminal_can_show(run, cars):
    change(cars / "train" / "annotations.json", lambda c: c["annotations"][0].update(segmentation=["\ud800"]))
    for more in ([], ["--json"]):
        status, out, _ = run("build-dataset", "--check", "--source", f"coco-parts={cars}", *more)
        assert status == 2 and "expected polygons as lists of x, y, x, y, ..., got ?" in out


def test_a_folder_of_nothing(run, tmp_path):
    for name in ("coco-parts", "label-map", "part-imagenet", "pascal-part-116", "ade20k-part-234"):
        status, out, _ = run("build-dataset", "--check", "--source", f"{name}={tmp_path}")
        assert status == 2 and out.count("\n") >= 1, name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--json"], "--json goes with --check"),
        ([], "give --out, the folder for the set; or --check"),
        (["--check", "--source", "coco-parts=nowhere"], "no such folder"),
        (["--check", "--json", "--source", "coco-parts=nowhere"], "no such folder"),
    ],
)
def test_what_does_not_go_together(run, cars, arguments, said):
    source = [] if "--source" in arguments else ["--source", f"coco-parts={cars}"]
    status, out, err = run("build-dataset", *source, *arguments)
    assert (status, out) == (2, "") and said in err and err.count("\n") == 1


def test_errors_become_problems(tmp_path):
    file = tmp_path / "a.jpg"
    for error, said in (
        (ValueError(f"{file} is cut\nshort"), "is cut short"),
        (FileNotFoundError(f"no such photo: {file}"), "no such photo"),
        (OSError(), "cannot be read"),
        (ValueError("something else"), "something else"),
    ):
        [problem] = problems_of(error, file)
        assert (problem.file, problem.record, problem.problem) == (str(file), "", said)


def test_progress_is_told(cars):
    told = []
    check_sources({"coco-parts": cars}, lambda *what: told.append(what))
    assert told == [("sources", 0, 1), *(("photos", done, 6) for done in range(7))]
