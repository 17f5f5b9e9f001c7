import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.cli import main
from talking_points.dataset.build import build
from talking_points.dataset.report import inspect_records
from talking_points.dataset.settings import BuildSettings
from talking_points.dataset.store import BuiltRecord, BuiltSplit
from talking_points.endpoint import BudgetSpentError, EndpointDownError
from talking_points.journal import Ledger
from talking_points.model.checkpoint import save_checkpoint
from tests.bases.tiny_qwen import write_tiny
from tests.endpoint_server import completion, prompt_of, serving
from tests.tiny import tiny_network

pytestmark = pytest.mark.usefixtures("short_texts")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(scope="module")
def sources(tmp_path_factory, label_map_writer, coco_writer):
    """Twelve people and eight cars; each photo has noise of its own, so that no two look alike."""
    folder = tmp_path_factory.mktemp("sources")
    people = [f"p{k:02d}" for k in range(12)]
    label_map_writer(folder / "people", ["kept-out"], people)
    coco_writer(folder / "cars", [f"c{k:02d}" for k in range(8)])
    rng = np.random.default_rng(0)
    for path in [*(folder / "people/photos").glob("p*"), *(folder / "cars/test/images").glob("c*")]:
        photo = np.asarray(Image.open(path), dtype=np.int64)
        blocks = rng.integers(-60, 60, (photo.shape[0] // 10 + 1, photo.shape[1] // 10 + 1, 1))
        coarse = np.kron(blocks, np.ones((10, 10, 1), dtype=np.int64))[: photo.shape[0], : photo.shape[1]]
        Image.fromarray(np.clip(photo + coarse, 0, 255).astype(np.uint8)).save(path, quality=95)
    return {"label-map": folder / "people", "coco-parts": folder / "cars"}


def config_of(folders, out, **changes):
    sources = tuple(f"{name}={folder}" for name, folder in folders.items())
    settings = {"sources": sources, "out": out, "split": "test", "points_per_photo": 3} | changes
    return BuildSettings(**settings)


def files_of(folder: Path) -> dict[str, str]:
    """Every file of a finished set with its hash; the ledger is no part of the set."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("ledger.sqlite")
    }


def records_of(folder: Path) -> list[BuiltRecord]:
    found = []
    for split in ("train", "test"):
        if any((folder / "data").glob(f"{split}-*")):
            found += list(BuiltSplit(folder, split))
    return found


def good_text(asked: dict) -> str:
    """What a good model answers: different for different questions, equal for equal ones."""
    prompt = prompt_of(asked)
    if "Object: " not in prompt:
        return f"something dark and smooth, number {len(prompt)}"
    names = {line.partition(": ")[0]: line.partition(": ")[2] for line in prompt.splitlines() if ": " in line}
    mark = hashlib.sha256(prompt.encode()).hexdigest()[:3].translate(str.maketrans("0123456789", "ghijklmnop"))
    return (
        f"The point is on the {names['Object']}, more exactly on its {names['Part']}, near the left edge of that part, "
        f"where the surface is dark and smooth, with a small {mark} above it."
    )


@pytest.fixture(scope="module")
def rules_set(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("rules") / "set"
    return out, build(config_of(sources, out))


def test_rules_alone_make_a_whole_set(rules_set, sources):
    out, report = rules_set
    records = records_of(out)
    assert report.total == len(records) >= 20
    assert report.rejected == {} and report.skipped == []
    # Equal shares of the sources.
    of_source = [record.source for record in records]
    assert of_source.count("label-map") == of_source.count("coco-parts")
    for record in records:
        assert record.split == ("test" if record in list(BuiltSplit(out, "test")) else "train")
        assert record.text and record.text == record.draft and record.relations and record.local_description
        assert (record.object_describer, record.writer, record.prompts_sha256) == ("rules", "rules", None)
        assert record.part_name in record.text or record.part_name.split()[-1] in record.text
        x0, y0, x1, y1 = record.part_box_xyxy
        assert x0 <= record.point_px[0] <= x1 and y0 <= record.point_px[1] <= y1
        assert record.point_kind == "sift" and record.sift_response > 0
    photos = {split: {r.photo_id for r in records if r.split == split} for split in ("train", "test")}
    assert photos["test"] and not photos["train"] & photos["test"]
    assert {"README.md", "figures/composition.png", "figures/examples.png", "report.json"} <= files_of(out).keys()
    assert json.loads((out / "report.json").read_text())["kept"] == report.kept


def test_embedded_photos_are_the_sources_own(rules_set, sources):
    split = BuiltSplit(rules_set[0], "train")
    for index in (0, len(split) - 1):
        record = split[index]
        folder = {"label-map": "people/photos", "coco-parts": "cars/test/images"}[record.source]
        original = Image.open(sources["label-map"].parent / folder / f"{record.photo_id}.jpg")
        assert np.array_equal(np.asarray(split.photo(index)), np.asarray(original.convert("RGB")))


def test_the_same_again_and_with_two_processes_are_the_same_bytes(rules_set, sources, tmp_path):
    out, _ = rules_set
    before = files_of(out)
    written = {path: path.stat().st_mtime_ns for path in (out / "data").iterdir()}
    build(config_of(sources, out))
    assert files_of(out) == before
    # And what was right is not written anew.
    assert written == {path: path.stat().st_mtime_ns for path in (out / "data").iterdir()}
    build(config_of(dict(reversed(sources.items())), tmp_path / "two", workers=2))
    assert files_of(tmp_path / "two") == before


def test_the_papers_sources_and_ones_own_in_one_set(
    sources, tmp_path, pascal_writer, ade_writer, part_imagenet_seg_writer
):
    pascal_writer(tmp_path / "pascal", ["2008_000001"], ["2009_000001", "2009_000002"])
    ade_writer(tmp_path / "ade", ["ADE_train_00000001"], ["ADE_val_00000001", "ADE_val_00000002"])
    bottles = ["n04557648_1", "n04557648_2"]
    part_imagenet_seg_writer(tmp_path / "pin", {"train": ["n04557648_3"], "val": ["n04557648_4"], "test": bottles})
    folders = {"pascal-part-116": "pascal", "ade20k-part-234": "ade", "part-imagenet": "pin"}
    everything = sources | {name: tmp_path / folder for name, folder in folders.items()}
    build(config_of(everything, tmp_path / "set", points_per_photo=2))
    records = records_of(tmp_path / "set")
    told = Counter(record.source for record in records if record.text)
    assert told.keys() == everything.keys() and len(set(told.values())) == 1
    found = inspect_records(records)
    assert found.suspects == [] and found.semantic == 1.0


def test_another_seed_is_another_set(rules_set, sources, tmp_path):
    build(config_of(sources, tmp_path / "other", seed=1))
    texts = {record.record_id: record.text for record in records_of(rules_set[0])}
    others = {record.record_id: record.text for record in records_of(tmp_path / "other")}
    same = texts.keys() & others.keys()
    assert sum(texts[name] != others[name] for name in same) > 0.9 * len(same)


def test_other_settings_in_the_same_folder_are_refused(rules_set, sources):
    out, _ = rules_set
    with pytest.raises(ValueError, match=r"was begun with points_per_photo 3, now it is 2: repeat the first command"):
        build(config_of(sources, out, points_per_photo=2))


def test_counts_and_shares(sources, tmp_path):
    report = build(config_of(sources, tmp_path / "few", records=11, test_share=0.0, photos="path"))
    # Eleven do not divide by two; nobody gets more than the other.
    assert report.kept == {"train": {"coco-parts": 5, "label-map": 5}}
    split = BuiltSplit(tmp_path / "few", "train")
    assert Path(split[0].photo_path).is_absolute()
    assert split.photo(0).size == split[0].size_wh
    report = build(config_of(sources, tmp_path / "all", equal_shares=False, test_share=1.0))
    assert report.not_chosen == 0 and report.kept.keys() == {"test"}
    assert report.kept["test"]["label-map"] > report.kept["test"]["coco-parts"]


def test_a_photo_that_is_gone_when_a_build_goes_on_is_named(tmp_path, label_map_writer):
    label_map_writer(tmp_path / "people", [], [f"{k:02d}" for k in range(4)])
    made = config_of({"label-map": tmp_path / "people"}, tmp_path / "set")
    build(made)
    splits = tmp_path / "people" / "splits.json"
    splits.write_text(json.dumps({"train": [], "test": ["00", "01", "02"]}))
    with pytest.raises(ValueError, match="photo 03 of label-map was there when this build began and is not any more"):
        build(made)


def test_dialects_are_shared_out(sources, tmp_path):
    build(config_of(sources, tmp_path / "set", dialects=("place-free", "short")))
    records = records_of(tmp_path / "set")
    assert {record.dialect for record in records} == {"place-free", "short"}
    for record in records:
        # Where one shoe is on the left of the other is the photo's to say; where the person is in it is not.
        bare = re.sub(r"(as seen|farther to the (left|right)) in the (photo|image|picture)", "", record.text)
        assert not re.search("photo|image|picture", bare), record.text


def test_look_alikes_stay_in_one_split(tmp_path, label_map_writer):
    # All photos of this source are the same picture.
    label_map_writer(tmp_path / "people", [], [f"{k:02d}" for k in range(10)])
    report = build(config_of({"label-map": tmp_path / "people"}, tmp_path / "set"))
    assert len(report.kept) == 1


def test_photos_that_are_all_in_a_later_split_are_kept_and_it_is_said(tmp_path, label_map_writer):
    # All photos of this source are the same picture.
    label_map_writer(tmp_path / "people", ["0001", "0002", "0003"], ["0009"])
    report = build(config_of({"label-map": tmp_path / "people"}, tmp_path / "set", split="train"))
    assert report.total > 0 and report.skipped == []
    assert report.unchecked[-1].startswith("each photo of label-map is in a later split of the sources, too; all were")


def test_a_source_whose_photos_are_all_in_a_later_split_is_kept_beside_others(sources, tmp_path, label_map_writer):
    # All photos of this source are the same picture, and those of the other are none of them.
    label_map_writer(tmp_path / "people", ["0001", "0002"], ["0009"])
    shutil.copytree(sources["coco-parts"] / "test", tmp_path / "cars" / "train")
    folders = {"label-map": tmp_path / "people", "coco-parts": tmp_path / "cars"}
    report = build(config_of(folders, tmp_path / "set", split="train"))
    assert set(report.kept["train"]) == {"label-map", "coco-parts"} and report.look_alikes == []
    assert report.unchecked[-1].startswith("each photo of label-map is in a later split of the sources, too; all were")


def test_a_source_without_a_record_is_said_with_the_reasons(sources, tmp_path, label_map_writer, capsys):
    people = tmp_path / "people"
    label_map_writer(people, ["0001", "0002", "0003"], ["0009"])
    (people / "photos" / "0001.jpg").write_bytes(b"cut")
    for name, grey in (("0002", 90), ("0003", 200)):
        Image.new("RGB", (60, 120), (grey, grey, grey)).save(people / "photos" / f"{name}.jpg")
    shutil.copytree(sources["coco-parts"] / "test", tmp_path / "cars" / "train")
    options = ["--source", f"label-map={people}", "--source", f"coco-parts={tmp_path / 'cars'}"]
    with pytest.raises(SystemExit) as ended:
        main(["build-dataset", *options, "--skip-bad", "--out", str(tmp_path / "set")])
    assert ended.value.code == 0
    said = "label-map: no record; 2 photos without texture, 1 photo that cannot be read"
    assert said in capsys.readouterr().out.splitlines()
    assert said in (tmp_path / "set" / "README.md").read_text()


def test_a_photo_of_a_later_split_again_is_left_out_and_named(sources, tmp_path, label_map_writer):
    label_map_writer(tmp_path / "people", ["0001", "0002", "0003"], ["0009"])
    photos, found = tmp_path / "people/photos", sources["label-map"] / "photos"
    for name, drawn in (("0001", "p01"), ("0002", "p02"), ("0003", "p03"), ("0009", "p02")):
        Image.open(found / f"{drawn}.jpg").save(photos / f"{name}.jpg", quality=40)
    config = config_of({"label-map": tmp_path / "people"}, tmp_path / "set", split="train")
    report = build(config)
    assert report.skipped == []
    assert report.look_alikes == [("label-map", "0002", "looks like test photo 0009 of label-map")]
    assert {record.photo_id for record in records_of(tmp_path / "set")} == {"0001", "0003"}
    before = files_of(tmp_path / "set")
    build(config)
    assert files_of(tmp_path / "set") == before


def test_a_split_that_is_not_there_is_said_not_to_be_compared_with(sources, tmp_path, part_imagenet_seg_writer):
    part_imagenet_seg_writer(tmp_path / "pin", {"train": ["n04557648_3"]})
    report = build(config_of({"part-imagenet": tmp_path / "pin"}, tmp_path / "set", split="train"))
    assert report.total and [one.removeprefix("none sought in ").split(":")[0] for one in report.unchecked] == [
        "part-imagenet test",
        "part-imagenet val",
    ]


def test_a_bad_photo_ends_the_build_or_is_skipped_and_counted(sources, tmp_path, label_map_writer):
    folder = tmp_path / "people"
    label_map_writer(folder, [], ["a", "b", "c"])
    (folder / "photos/b.jpg").write_bytes(b"no photo")
    config = config_of({"label-map": folder}, tmp_path / "set")
    with pytest.raises(ValueError, match=r"b\.jpg.*--skip-bad"):
        build(config)
    # The same folder goes on.
    report = build(replace(config, skip_bad=True))
    ((source, photo_id, reason),) = report.skipped
    assert (source, photo_id) == ("label-map", "b") and "b.jpg" in reason
    assert json.loads((tmp_path / "set/report.json").read_text())["skipped"] == [[source, photo_id, reason]]


def test_nothing_to_describe(tmp_path, label_map_writer):
    folder = tmp_path / "people"
    label_map_writer(folder, [], ["a"])
    Image.new("L", (60, 120)).save(folder / "labels/a.png")
    with pytest.raises(ValueError, match="none of the photos has a point"):
        build(config_of({"label-map": folder}, tmp_path / "set"))


def llm_config(sources, out, url, **changes):
    settings = {role: f"endpoint:{url},m" for role in ("object_describer", "local_describer", "writer")}
    settings |= {"records": 12, "backoff_s": 0.001, "attempts": 2, "concurrency": 4}
    return config_of(sources, out, **(settings | changes))


def test_language_models_in_every_role(sources, tmp_path):
    together = threading.Barrier(4, timeout=120)

    def reply(asked, number):
        if number < 4:
            # Passed when four are asked at the same time, and broken when they are not.
            together.wait()
        return completion(good_text(asked))

    with serving(reply) as server:
        report = build(llm_config(sources, tmp_path / "set", server.url))
        # Two descriptions, a draft and its refinement for each record.
        assert len(server.requests) == report.spent.requests == 4 * 12
        assert server.most_at_once == 4
    records = records_of(tmp_path / "set")
    assert len(records) == 12 and report.rejected == {}
    for record in records:
        assert (record.object_describer, record.local_describer, record.writer) == ("m", "m", "m")
        assert record.text.startswith("The point is on the ") and record.draft != record.text
        assert record.object_description.startswith("something dark")
        assert len(record.prompts_sha256) == 64


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A checkpoint of ours with a descriptor, one that is a base alone, and a stock model."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_checkpoint(tiny_network(), folder / "ours")
    save_checkpoint(tiny_network(roles=()), folder / "base")
    write_tiny(folder / "stock")
    return folder


@pytest.mark.parametrize(
    ("role", "who", "prompted"),
    [
        ("object_describer", "descriptor:{}/ours", False),
        ("object_describer", "caption:{}/base", False),
        ("object_describer", "caption:{}/ours", False),
        ("object_describer", "descriptor:{}/stock", True),
        ("local_describer", "descriptor:{}/stock", True),
    ],
)
def test_a_model_in_this_process_describes(role, who, prompted, checkpoints, sources, tmp_path, monkeypatch):
    # What random weights say is refused by the checks: here it is enough that it comes through.
    monkeypatch.setattr("talking_points.dataset.language.find_problems", lambda *given: [])
    said = who.format(checkpoints)
    folders = {"label-map": sources["label-map"]}
    report = build(config_of(folders, tmp_path / "set", points_per_photo=1, records=2, **{role: said}))
    records = records_of(tmp_path / "set")
    assert report.total == len(records) == 2
    for record in records:
        name = said if said.startswith("caption:") else said.partition(":")[2]
        assert getattr(record, role) == name and record.writer == "rules"
        assert isinstance(getattr(record, role.replace("describer", "description")), str)
        assert (record.prompts_sha256 is not None) is prompted


@pytest.mark.parametrize(
    ("who", "message"),
    [
        ("descriptor:nowhere", "object_describer descriptor:nowhere: unknown model 'nowhere': 'mini', a checkpoint"),
        ("descriptor:{}", "{} is no checkpoint: it has no config.json"),
        ("descriptor:{}/base", "the checkpoint has no descriptor: give one in which a descriptor was trained, or as"),
        ("caption:{}/stock", "a stock model (qwen3_vl) has no base whose caption could be asked for"),
        ("descriptor:{}/other", "is a 'gpt2' model, which is not known here; known: qwen3_vl"),
        ("descriptor:{}/broken", "missing language_model"),
    ],
)
def test_a_model_that_cannot_describe_is_refused_before_the_scan(
    who, message, checkpoints, sources, tmp_path, monkeypatch, capsys
):
    (checkpoints / "other").mkdir(exist_ok=True)
    (checkpoints / "other/config.json").write_text('{"model_type": "gpt2"}')
    if not (checkpoints / "broken").is_dir():
        shutil.copytree(checkpoints / "ours", checkpoints / "broken")
        (checkpoints / "broken/descriptor/adapter_model.safetensors").unlink()

    def never(*given):
        raise AssertionError("photos are scanned")

    monkeypatch.setattr("talking_points.dataset.build._scan", never)
    out = tmp_path / "set"
    given = ["--source", f"label-map={sources['label-map']}", "--split", "test", "--out", str(out)]
    with pytest.raises(SystemExit) as stopped:
        main(["build-dataset", *given, "--object-describer", who.format(checkpoints)])
    captured = capsys.readouterr()
    assert stopped.value.code == 2 and captured.out == ""
    assert captured.err.count("\n") == 1 and captured.err.startswith("error: ")
    if who.endswith("broken"):
        assert "adapter_model.safetensors" in captured.err
        # Nothing was begun: another model may take its place in this folder.
        monkeypatch.undo()
        build(config_of({"label-map": sources["label-map"]}, out))
    else:
        assert message.replace("{}", str(checkpoints)) in captured.err and not out.exists()


def test_a_text_that_stays_wrong_is_rejected_with_its_reason(sources, tmp_path):
    def reply(asked, number):
        text = good_text(asked)
        return completion(text.replace("wheel", "thing") if "Part: wheel" in prompt_of(asked) else text)

    with serving(reply) as server:
        report = build(llm_config(sources, tmp_path / "set", server.url))
    rejected = [json.loads(line) for line in (tmp_path / "set/rejected.jsonl").read_text().splitlines()]
    assert report.rejected == {'it does not name the part, "wheel"': len(rejected)}
    assert rejected and all(one["part_name"] == "wheel" and "thing" in one["text"] for one in rejected)
    # Other points took their places, of the same source.
    assert {name: sum(one[name] for one in report.kept.values()) for name in ("coco-parts", "label-map")} == {
        "coco-parts": 6,
        "label-map": 6,
    }
    # One repair was asked for each.
    repairs = [asked for asked in server.requests if "cannot be used as it is" in prompt_of(asked)]
    assert len(repairs) == len(rejected)


def test_a_build_that_runs_out_of_budget_goes_on_where_it_was(sources, tmp_path):
    with serving(lambda asked, number: completion(good_text(asked))) as server:
        build(llm_config(sources, tmp_path / "whole", server.url))
        asked_once = len(server.requests)
        del server.requests[:]
        with pytest.raises(BudgetSpentError, match="--max-requests"):
            build(llm_config(sources, tmp_path / "set", server.url, max_requests=17))
        assert len(server.requests) == 17
        build(llm_config(sources, tmp_path / "set", server.url))
        # No answer was paid for twice.
        assert len(server.requests) == asked_once
    assert files_of(tmp_path / "set") == files_of(tmp_path / "whole")


def test_an_endpoint_that_goes_away_leaves_a_state_to_go_on_from(sources, tmp_path):
    def reply(asked, number):
        return completion(good_text(asked)) if number < 20 else (503, {}, b"")

    with serving(reply) as server, pytest.raises(EndpointDownError, match="start the same command again"):
        build(llm_config(sources, tmp_path / "set", server.url))
    # Back at another address.
    with serving(lambda asked, number: completion(good_text(asked))) as server:
        report = build(llm_config(sources, tmp_path / "set", server.url))
        assert len(server.requests) == 4 * 12 - 20
        assert report.total == 12


def test_a_full_disk_is_one_clear_message_and_a_state_to_go_on_from(sources, tmp_path, monkeypatch):
    out = tmp_path / "set"
    build(config_of(sources, tmp_path / "whole"))
    keep_photo = Ledger.keep_photo

    def on_a_small_disk(self, *arguments, **named):
        # Few more pages than there are: SQLite says what it says on a full disk.
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        self._connection.execute(f"PRAGMA max_page_count = {min(pages + 4, 30)}")
        keep_photo(self, *arguments, **named)

    with monkeypatch.context() as small:
        small.setattr(Ledger, "keep_photo", on_a_small_disk)
        with pytest.raises(OSError, match="full.*make room and start the same command again"):
            build(config_of(sources, out))
    build(config_of(sources, out))
    assert files_of(out) == files_of(tmp_path / "whole")


def test_somebody_else_s_folder_is_left_alone(sources, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine.parquet").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and holds no build"):
        build(config_of(sources, tmp_path))
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "mine.parquet"]


def test_another_version_does_not_go_on_with_a_build(rules_set, sources, monkeypatch):
    monkeypatch.setattr("talking_points.__version__", "99.0")
    with pytest.raises(ValueError, match='now it is "99.0"'):
        build(config_of(sources, rules_set[0]))


def test_what_people_answer_comes_back_into_the_card(sources, tmp_path):
    config = config_of(sources, tmp_path / "set", audit="100%")
    build(config)
    assert "to be answered" in (tmp_path / "set/README.md").read_text()
    answers = tmp_path / "set/audit/answers.csv"
    first, *rest = answers.read_text().splitlines()
    answers.write_text("\n".join([first, *(line + ("no" if k == 0 else "yes") for k, line in enumerate(rest))]))
    build(replace(config, audit=None))
    found = f"their text: {len(rest) - 1} ({100 * (len(rest) - 1) / len(rest):.1f}%"
    assert found in (tmp_path / "set/README.md").read_text()


def test_two_builds_in_one_folder_are_one_too_many(sources, tmp_path):
    (tmp_path / "set").mkdir()
    with Ledger(tmp_path / "set"), pytest.raises(OSError, match="another build is at work"):
        build(config_of(sources, tmp_path / "set"))


# The command line, which kills itself after the seconds that its first argument says; Python's own start and the
# imports are not counted. The last line of its output says how long it worked, if it lives to say so.
KILLED = """
import os, signal, sys, threading, time
import rich.progress, talking_points.dataset.build, talking_points.dataset.figures
from talking_points.cli import main
delay = float(sys.argv.pop(1))
if delay:
    killer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL))
    killer.daemon = True
    killer.start()
begun = time.monotonic()
try:
    main()
finally:
    print(time.monotonic() - begun)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_killed_at_random_moments_it_ends_with_the_same_bytes(sources, tmp_path):
    """By SIGKILL, in every stage; answers that had arrived are not asked for again."""
    dice = random.Random(0)
    with serving(lambda asked, number: completion(good_text(asked))) as server:

        def run(out: Path, delay: float) -> "subprocess.CompletedProcess[str]":
            model = f"endpoint:{server.url},m"
            given = [f"--source={name}={folder}" for name, folder in sources.items()]
            given += ["--split=test", "--points-per-photo=4", "--concurrency=2", "--audit=10%", f"--out={out}"]
            command = ["build-dataset", *given, f"--local-describer={model}", f"--writer={model}"]
            program = [sys.executable, "-c", KILLED, str(delay)]
            done = subprocess.run([*program, *command], capture_output=True, text=True, timeout=300)
            assert done.returncode in (0, -signal.SIGKILL), done.stderr
            return done

        whole = run(tmp_path / "whole", 0)
        duration = float(whole.stdout.splitlines()[-1])
        expected = files_of(tmp_path / "whole")
        asked_once = len(server.requests)
        del server.requests[:]

        stages: list[str] = []
        folders = 1
        while len(stages) < 4:
            # First again and again in what is left to do, then anywhere.
            delay = dice.uniform(0.01, 0.25 if len(stages) < 3 else 0.8) * duration
            out = tmp_path / f"set{folders}"
            if run(out, delay).returncode == 0:
                assert files_of(out) == expected
                folders += 1
                assert folders < 10
            else:
                stages.append(stage_of(out))
        assert run(out, 0).returncode == 0
        assert files_of(out) == expected
        assert {"photos", "answers", "records"} & set(stages), stages
        # Only an answer that was on its way at a kill may be asked for again: two at a time.
        assert len(server.requests) <= folders * asked_once + 2 * len(stages)


def stage_of(out: Path) -> str:
    """How far a killed build came, by its ledger."""
    if not (out / "ledger.sqlite").is_file():
        return "start"
    with closing(sqlite3.connect(out / "ledger.sqlite")) as connection:
        for table in ("records", "answers", "photos"):
            try:
                if connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]:
                    return table
            except sqlite3.OperationalError:
                return "start"
    return "start"


def annotations_changed(folder, edit):
    path = folder / "test" / "annotations.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_what_is_left_out_is_reported_and_costs_no_photo(sources, tmp_path, monkeypatch):
    cars = tmp_path / "cars"
    shutil.copytree(sources["coco-parts"], cars)

    def edit(content):
        for annotation in content["annotations"]:
            if annotation["category_id"] == 4:
                annotation.update(segmentation=[], bbox=[25, 15, 8, 6])
        content["annotations"].append({"id": 99, "image_id": 99, "category_id": 2})
        content["annotations"].append({"id": 100, "image_id": 1, "category_id": 2, "iscrowd": 1})

    annotations_changed(cars, edit)
    monkeypatch.setattr("talking_points.dataset.build.MOST_LEFT_OUT", 3)
    report = build(config_of({"coco-parts": cars}, tmp_path / "set"))
    assert report.skipped == [] and report.total >= 8
    assert report.left_out_count == 9 and report.notes == {"a crowd region": 1}
    shown = json.loads((tmp_path / "set" / "report.json").read_text())
    assert shown["left_out_count"] == 9 and shown["notes"] == {"a crowd region": 1}
    assert [one["record"] for one in shown["left_out"]] == [
        "image_id 99",
        "annotation 1 of c00.jpg",
        "annotation 6 of c01.jpg",
    ]
    assert shown["left_out"][1] == {
        "file": str(cars / "test" / "annotations.json"),
        "record": "annotation 1 of c00.jpg",
        "problem": "has a box and no segmentation",
        "remedy": "draw its outline, or remove it",
    }


def test_why_no_photo_has_a_point_is_counted(tmp_path, coco_writer):
    names = [f"c{k}" for k in range(6)]
    coco_writer(tmp_path / "cars", names)

    def edit(content):
        of_photo = lambda k: [one for one in content["annotations"] if one["image_id"] == k]  # noqa: E731
        for annotation in of_photo(1) + of_photo(2):
            annotation["segmentation"] = [1, 2, 3]
        for annotation in of_photo(3):
            annotation["segmentation"] = [[1, 1, 4, 1, 4, 4, 1, 4]]
        for annotation in of_photo(4):
            annotation["iscrowd"] = 1

    annotations_changed(tmp_path / "cars", edit)
    for name in names[4:5]:
        Image.new("RGB", (100, 60), (90, 90, 90)).save(tmp_path / "cars" / "test" / "images" / f"{name}.jpg")
    (tmp_path / "cars" / "test" / "images" / "c5.jpg").write_bytes(b"cut")
    with pytest.raises(ValueError) as raised:
        build(config_of({"coco-parts": tmp_path / "cars"}, tmp_path / "set", skip_bad=True))
    message = str(raised.value)
    assert "\n" not in message
    for said in (
        "2 of 6: none of its annotations can be read: ",
        "annotations.json: annotation 1 of c0.jpg: a polygon has 3 numbers",
        "1 of 6: no labelled part is big enough to hold a point",
        "1 of 6: nothing is labelled but what is left out as it should be: a crowd region",
        "1 of 6: no SIFT keypoint was found inside the labelled parts",
        "--smooth-share 0.2 takes a point in five on a smooth surface, in the other photos, too",
        "c5.jpg is not a photo",
        "build-dataset --check lists all problems",
    ):
        assert said in message
    # Photos that gave nothing are looked at again when their labels are mended.
    coco_writer(tmp_path / "mended", names)
    shutil.rmtree(tmp_path / "cars")
    shutil.move(tmp_path / "mended", tmp_path / "cars")
    rng = np.random.default_rng(0)
    for path in (tmp_path / "cars" / "test" / "images").iterdir():
        noise = rng.integers(0, 255, (12, 20, 3)).astype(np.uint8).repeat(5, axis=0).repeat(5, axis=1)
        Image.fromarray(noise).save(path)
    report = build(config_of({"coco-parts": tmp_path / "cars"}, tmp_path / "set", skip_bad=True))
    assert report.total > 0 and report.left_out_count == 0


def test_flat_photos_have_smooth_points(tmp_path, label_map_writer):
    label_map_writer(tmp_path / "people", [], ["p1", "p2"])
    for path in (tmp_path / "people" / "photos").iterdir():
        Image.new("RGB", (60, 120), (90, 90, 90)).save(path)
    people = {"label-map": tmp_path / "people"}
    with pytest.raises(ValueError, match=r"2 of 2: no SIFT keypoint was found .*--smooth-share 0\.2 takes"):
        build(config_of(people, tmp_path / "a"))
    assert build(config_of(people, tmp_path / "b", smooth_share=1.0)).total > 0


def test_the_command_says_what_was_left_out(sources, tmp_path, capsys):
    shutil.copytree(sources["coco-parts"], tmp_path / "cars")

    def edit(content):
        for annotation in content["annotations"]:
            if annotation["category_id"] == 4:
                annotation["segmentation"] = [1, 2, 3]

    annotations_changed(tmp_path / "cars", edit)
    with pytest.raises(SystemExit) as stopped:
        main(
            [
                "build-dataset",
                "--split",
                "test",
                "--source",
                f"coco-parts={tmp_path / 'cars'}",
                "--out",
                str(tmp_path / "set"),
            ]
        )
    out = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "left out: 8 annotations that cannot be read\n" in out
    assert out.count("a polygon has 3 numbers, expected pairs x, y; draw it again, or remove it\n") == 5
    assert "report.json; build-dataset --check lists all\n" in out
