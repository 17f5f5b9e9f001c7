"""What a source's folder should hold, holds and lacks; and what `--check` says of it."""

import json
import shutil

import pytest

from talking_points.cli import main
from talking_points.dataset.check import check_sources
from talking_points.dataset.sources import SOURCES
from talking_points.dataset.sources.layouts import LAYOUTS, PUBLISHED, look_at_folder


@pytest.fixture
def archives(tmp_path, pascal_writer, ade_writer, part_imagenet_ood_writer, part_imagenet_seg_writer):
    pascal_writer(tmp_path / "pascal", ["2008_000001", "2008_000002"], ["2009_000001"])
    ade_writer(tmp_path / "ade", ["ADE_train_00000001"], ["ADE_val_00000001"])
    names = {"train": ["n02823428_0012"], "val": ["n03983396_0001"], "test": ["n04557648_0009"]}
    part_imagenet_ood_writer(tmp_path / "ood", names)
    part_imagenet_seg_writer(tmp_path / "seg", names)
    folders = {"pascal": "pascal-part-116", "ade": "ade20k-part-234", "ood": "part-imagenet", "seg": "part-imagenet"}
    return {name: (kind, tmp_path / name) for name, kind in folders.items()}


def test_every_source_has_a_layout():
    assert LAYOUTS.keys() == SOURCES.keys() and set(PUBLISHED) <= SOURCES.keys()


def test_whole_archives(archives):
    layouts = {name: look_at_folder(*given) for name, given in archives.items()}
    assert {name: one.layout for name, one in layouts.items()} == {
        "pascal": "PascalPart116",
        "ade": "ADE20KPart234",
        "ood": "PartImageNet_OOD",
        "seg": "PartImageNet_Seg",
    }
    for one in layouts.values():
        assert not one.missing and not one.lacking and one.problems() == []
    # macOS's own files are none of the archive's.
    assert layouts["pascal"].found["images/train/*.jpg"] == 2


@pytest.mark.parametrize(
    ("name", "gone", "missing", "there"),
    [
        (
            "pascal",
            "annotations_detectron2_part/val",
            ["annotations_detectron2_part/val/*.png"],
            "1 of images/val/*.jpg",
        ),
        ("ade", "ade20k_instance_train.json", ["ade20k_instance_train.json"], "1 of images/training/*.jpg"),
        ("ood", "test", ["test/*/*.JPEG"], "1 of test.json"),
        ("seg", "annotations/test", ["annotations/test/*.png"], "1 of images/test/*.JPEG"),
    ],
)
def test_a_part_that_is_missing_is_named_once_and_its_split_is_not_read(archives, name, gone, missing, there):
    kind, folder = archives[name]
    path = folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = look_at_folder(kind, folder)
    assert list(found.missing) == missing and found.missing
    report = check_sources({kind: folder})
    [problem] = report.problems
    assert problem.file == str(folder / missing[0]) and there in problem.problem
    # What is whole is read.
    assert report.photos >= 1


def test_a_split_that_is_missing_as_a_whole_is_told_and_no_mistake(archives, capsys):
    kind, folder = archives["pascal"]
    for path in folder.glob("*/val"):
        shutil.rmtree(path)
    with pytest.raises(SystemExit) as stopped:
        main(["build-dataset", "--check", "--source", f"{kind}={folder}"])
    captured = capsys.readouterr()
    assert (stopped.value.code, captured.out) == (0, "no problems in 2 photos\n")
    assert [line for line in captured.err.splitlines() if "sources:" not in line and "photos:" not in line] == [
        f"pascal-part-116={folder}, of the layout PascalPart116:",
        "  found    images/train/*.jpg: 2",
        "  found    annotations_detectron2_obj/train/*.png: 2",
        "  found    annotations_detectron2_part/train/*.png: 2",
        "  missing  images/val/*.jpg",
        "  missing  annotations_detectron2_obj/val/*.png",
        "  missing  annotations_detectron2_part/val/*.png",
    ]


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_wrong_folder_is_one_problem_that_says_what_is_expected_and_there(kind, tmp_path, capsys, label_map_writer):
    label_map_writer(tmp_path / "people", ["p0"], ["p1"])
    with pytest.raises(SystemExit) as stopped:
        main(["build-dataset", "--check", "--json", "--source", f"{kind}={tmp_path / 'people'}"])
    said = json.loads(capsys.readouterr().out)
    assert stopped.value.code == 2
    [problem], [folder] = said["problems"], said["folders"]
    assert problem["problem"].startswith("holds nothing of P" if kind != "ade20k-part-234" else "holds nothing of ADE")
    assert problem["problem"].endswith("; found: labels, labels.json, photos, splits.json")
    assert all(one in problem["problem"] for one in folder["missing"]) and folder["found"] == {}
    (tmp_path / "empty").mkdir()
    [problem] = check_sources({kind: tmp_path / "empty"}).problems
    assert problem.problem.endswith("; the folder is empty")


def test_people_s_own_folders_are_told_and_judged_by_what_reads_them(tmp_path, capsys, coco_writer):
    coco_writer(tmp_path / "cars", ["c0"])
    shutil.rmtree(tmp_path / "cars/test")
    with pytest.raises(SystemExit) as stopped:
        main(["build-dataset", "--check", "--source", f"coco-parts={tmp_path / 'cars'}"])
    err = capsys.readouterr().err
    assert stopped.value.code == 0
    assert "of the layout a folder for each split:" in err and "  missing  test/annotations.json" in err


def test_label_maps_may_end_in_capital_letters(tmp_path, label_map_writer):
    label_map_writer(tmp_path / "people", ["p0", "p1"], ["p2"])
    for path in (tmp_path / "people" / "labels").iterdir():
        path.rename(path.with_suffix(".PNG"))
    found = look_at_folder("label-map", tmp_path / "people")
    assert not found.missing and found.found["labels/*.png"] == 3


def test_archives_may_not(archives):
    kind, folder = archives["pascal"]
    for path in (folder / "images/val").iterdir():
        path.rename(path.with_suffix(".JPG"))
    assert look_at_folder(kind, folder).missing == ("images/val/*.jpg",)
