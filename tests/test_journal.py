import threading

import pytest

from talking_points.journal import Ledger, Spent


def test_what_was_kept_is_there_the_next_time(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.keep_settings({"seed": 0, "names": ("a", "b")})
        ledger.keep_photo("s", "2", {"thumb": "ff"}, [{"x": 1.1}, None], skipped=None)
        ledger.keep_photo("s", "1", {}, [], skipped="no point")
        ledger.keep_records([("s/2/001", {"text": "ü"}, None), ("s/2/000", {"text": ""}, "it is empty")])
        ledger.keep_note("files", {"a": 1})
    with Ledger(tmp_path) as ledger:
        assert ledger.settings() == {"seed": 0, "names": ["a", "b"]}
        assert ledger.scanned() == {("s", "1"), ("s", "2")}
        assert list(ledger.photos()) == [("s", "2", {"thumb": "ff"})]
        assert ledger.facts_of("s", "2") == [{"x": 1.1}, None]
        assert ledger.skipped() == [("s", "1", "no point")]
        assert ledger.outcomes() == {"s/2/000": "it is empty", "s/2/001": None}
        assert list(ledger.records()) == [("s/2/000", {"text": ""}, "it is empty"), ("s/2/001", {"text": "ü"}, None)]
        assert (ledger.note("files"), ledger.note("others")) == ({"a": 1}, None)


def test_an_answer_is_asked_for_once(tmp_path):
    asked = []

    def ask():
        asked.append(1)
        return "yes", 10, 2

    with Ledger(tmp_path) as ledger:
        assert ledger.answer("abc", ask, model="m") == ledger.answer("abc", ask, model="m") == "yes"
    with Ledger(tmp_path) as ledger:
        assert ledger.answer("abc", ask, model="m") == "yes"
        assert ledger.answer("abd", ask, model="m") == "yes"
        assert ledger.spent() == Spent(requests=2, tokens=24)
    assert len(asked) == 2


def test_a_failed_question_leaves_nothing(tmp_path):
    def fail():
        raise ConnectionError("down")

    with Ledger(tmp_path) as ledger:
        with pytest.raises(ConnectionError):
            ledger.answer("abc", fail, model="m")
        assert ledger.spent() == Spent(requests=0, tokens=0)
        assert ledger.answer("abc", lambda: ("up", 1, 1), model="m") == "up"


def test_thumbnails_of_other_splits_are_kept(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.keep_thumbs([("s", "test", "2", "ff"), ("s", "val", "1", None)])
    with Ledger(tmp_path) as ledger:
        assert ledger.thumbs() == {("s", "test", "2"): "ff", ("s", "val", "1"): None}


def test_a_transaction_is_whole_or_not_at_all(tmp_path):
    with Ledger(tmp_path) as ledger:
        with pytest.raises(TypeError):
            ledger.keep_records([("a", {"x": 1}, None), ("b", {"x": object()}, None)])
        assert ledger.outcomes() == {}
        ledger.keep_records([("a", {"x": 1}, None)])
        assert ledger.outcomes().keys() == {"a"}


def test_threads_share_it(tmp_path):
    with Ledger(tmp_path) as ledger:
        threads = [
            threading.Thread(target=lambda k=k: [ledger.keep_records([(f"{k}/{n}", {}, None)]) for n in range(20)])
            for k in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ledger.outcomes().keys()) == 80


def test_other_settings_are_refused(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.keep_settings({"seed": 0, "split": "test"})
        ledger.keep_settings({"split": "test", "seed": 0})
        with pytest.raises(ValueError, match="was begun with seed 0, now it is 1: repeat the first command"):
            ledger.keep_settings({"seed": 1, "split": "test"})
        with pytest.raises(ValueError, match="with extra null, now it is 3"):
            ledger.keep_settings({"seed": 0, "split": "test", "extra": 3})


def test_a_second_process_is_kept_out(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.keep_note("a", 1)
        with pytest.raises(OSError, match="in use: another build is at work"):
            Ledger(tmp_path)


def test_a_damaged_file_is_one_clear_error(tmp_path):
    (tmp_path / "ledger.sqlite").write_bytes(b"this is no database, " * 100)
    with pytest.raises(OSError, match="is damaged .* move the folder away"):
        Ledger(tmp_path)
