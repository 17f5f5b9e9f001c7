from __future__ import annotations

import io
import threading
from concurrent.futures import Future

import pytest
from PIL import Image

from talking_points.endpoint import RefusesRequestsError
from talking_points.pointing.prepared import PreparedPhoto
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.points import distance_unit
from talking_points.samples import PhotoPoint
from talking_points.serving.engine import BusyError, Engine, StoppedError
from talking_points.serving.settings import ServeSettings
from tests.serving.conftest import photo_bytes

POINTS = [(3.5, 4.0), (69.9, 39.9), (35.0, 20.0)]


def points(*points_px: tuple[float, float]) -> list[PhotoPoint]:
    return [PhotoPoint(point_px=point_px) for point_px in points_px]


def texts(*said: str) -> list[PhotoPoint]:
    return [PhotoPoint(text=text) for text in said]


def photo(engine: Engine, seed: int = 0) -> PreparedPhoto:
    return engine.prepare(Image.open(io.BytesIO(photo_bytes(seed=seed))))


class Held:
    """An engine whose model waits until it is let go: what comes meanwhile is in the queue."""

    def __init__(self, tp: TalkingPoints, **config: object) -> None:
        self.batches: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.engine = Engine("held", tp, ServeSettings(**config))  # type: ignore[arg-type]
        self.engine.watch(lambda count, seconds: self.batches.append(count))
        work = self.engine._answer

        def wait_first(batch: list[object]) -> None:
            self.begun.set()
            assert self.go.wait(60)
            work(batch)  # type: ignore[arg-type]

        self.engine._answer = wait_first  # type: ignore[method-assign, assignment]

    def occupy(self) -> Future[list[PhotoPoint]]:
        """Give it something to be busy with."""
        future = self.engine.submit("describe", photo(self.engine), points((1.0, 1.0)))
        assert self.begun.wait(60)
        return future


def test_answers_are_the_librarys(tp: TalkingPoints, engine: Engine) -> None:
    opened = Image.open(io.BytesIO(photo_bytes()))
    [one, other, third] = (
        engine.submit("describe", photo(engine), points(*POINTS)),
        engine.submit("localize", photo(engine), texts("the left shoe", "a hood")),
        engine.submit("round-trip", photo(engine), points(*POINTS)),
    )
    described, found, trips = one.result(60), other.result(60), third.result(60)
    said = [answer.description for answer in described]
    assert said == TalkingPoints.over(tp.descriptor.network).describe(opened, POINTS)
    assert [answer.point_px for answer in described] == POINTS and described[0].found_px is None
    assert found[0].point_px is None and found[0].found_px is not None
    assert [answer.description for answer in trips] == said
    for answer, expected in zip(
        trips, TalkingPoints.over(tp.descriptor.network).round_trip(opened, POINTS), strict=True
    ):
        assert answer.found_px == pytest.approx(expected.found_px, abs=1e-2)
        assert answer.error == pytest.approx(expected.error, abs=1e-3)


def test_a_description_that_cannot_be_looked_for_takes_no_others_with_it(
    tp: TalkingPoints, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tp.descriptor, "describe_many", lambda pairs, **_: ["...", "left " * 600, "the left shoe"])
    nothing, too_long, found = engine.submit("round-trip", photo(engine), points(*POINTS)).result(60)
    assert nothing.found_px is too_long.found_px is nothing.problem is None and "shorten it" in str(too_long.problem)
    assert found.found_px is not None and found.description == "the left shoe"


def test_requests_go_together_and_photos_that_look_alike_keep_their_sizes(tp: TalkingPoints) -> None:
    held = Held(tp)
    first = held.occupy()
    small, large = (held.engine.prepare(Image.new("RGB", (side, side))) for side in (10, 1000))
    assert small.key == large.key
    several = [
        held.engine.submit("round-trip", small, points((9.0, 9.0))),
        held.engine.submit("round-trip", large, points((900.0, 900.0), (1.0, 2.0))),
        held.engine.submit("localize", large, texts("the left shoe")),
    ]
    held.go.set()
    trips = [future.result(60) for future in several]
    assert first.result(60)[0].description
    held.engine.close()
    assert held.batches == [1, 4]
    assert trips[0][0].description == trips[1][0].description
    [(x, y)], [(large_x, large_y), _] = ([answer.found_px for answer in some] for some in trips[:2])  # type: ignore[misc]
    assert (100 * x, 100 * y) == pytest.approx((large_x, large_y), abs=0.5)


def test_what_cannot_wait_is_refused_with_a_time_to_come_back(tp: TalkingPoints) -> None:
    held = Held(tp, max_waiting=3)
    held.occupy()
    waiting = held.engine.submit("describe", photo(held.engine), points(*POINTS[:2]))
    with pytest.raises(BusyError, match="2 points and texts are waiting") as refused:
        held.engine.submit("describe", photo(held.engine), points(*POINTS[:2]))
    assert 1 <= refused.value.retry_after_s <= 60
    held.engine.submit("localize", photo(held.engine), texts("a hood"))
    held.go.set()
    assert len(waiting.result(60)) == 2
    held.engine.close()


def test_closing_answers_what_waits_and_takes_no_more(tp: TalkingPoints) -> None:
    held = Held(tp)
    futures = [held.occupy(), held.engine.submit("localize", photo(held.engine), texts("a hood"))]
    closing = threading.Thread(target=held.engine.close)
    closing.start()
    held.go.set()
    closing.join(60)
    assert all(future.done() and future.result() for future in futures)
    with pytest.raises(StoppedError):
        held.engine.submit("localize", photo(held.engine), texts("a hood"))


def test_a_caller_who_left_is_passed_over(tp: TalkingPoints) -> None:
    held = Held(tp)
    held.occupy()
    left = held.engine.submit("localize", photo(held.engine), texts("a hood"))
    stayed = held.engine.submit("localize", photo(held.engine), texts("a hood"))
    assert left.cancel()
    held.go.set()
    assert stayed.result(60)
    held.engine.close()
    assert held.batches == [1, 1]


def test_callers_who_leave_take_no_room(tp: TalkingPoints) -> None:
    """However many come and go while a batch is worked on."""
    held = Held(tp)
    held.occupy()
    for _ in range(20):
        assert held.engine.submit("localize", photo(held.engine), texts("a hood")).cancel()
    assert held.engine.waiting == 0 and len(held.engine._queue) <= 1
    held.go.set()
    held.engine.close()


def test_an_idle_engine_gives_freed_memory_back(tp: TalkingPoints, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back = threading.Event()

    def give_back() -> None:
        if threading.current_thread() is engine._thread:  # an engine of an earlier test may do so, too
            given_back.set()

    monkeypatch.setattr("talking_points.memory.give_back_freed_memory", give_back)
    # Before the engine's thread first waits, and longer than a machine stands still.
    monkeypatch.setattr("talking_points.serving.engine.GIVE_BACK_EVERY_S", 1e6)
    engine = Engine("tiny", tp, ServeSettings(wait_ms=0))
    engine.submit("describe", photo(engine), points(POINTS[0])).result(60)
    assert not given_back.is_set()
    monkeypatch.setattr("talking_points.serving.engine.GIVE_BACK_EVERY_S", 0.01)
    with engine._changed:
        engine._changed.notify_all()
    assert given_back.wait(60)
    engine.close()


@pytest.mark.parametrize("error", [RuntimeError("broken"), RefusesRequestsError("broken")])
def test_one_that_fails_does_not_take_others_with_it(
    tp: TalkingPoints, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    held = Held(tp)
    held.occupy()
    good = held.engine.submit("describe", photo(held.engine), points((1.0, 1.0)))
    bad = held.engine.submit("describe", photo(held.engine, seed=9), points((2.0, 2.0)))
    marked = photo(held.engine, seed=9).key
    describe = tp.describe_many

    def fail(pairs: list[tuple[PreparedPhoto, tuple[float, float]]], **options: object) -> object:
        if any(one.key == marked for one, _ in pairs):
            raise error
        return describe(pairs, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tp, "describe_many", fail)
    held.go.set()
    assert good.result(60)[0].description
    with pytest.raises(type(error), match="broken"):
        bad.result(60)
    held.engine.close()


def test_descriptions_are_told_as_they_are_written(engine: Engine) -> None:
    told: dict[int, list[str]] = {}
    answers = engine.submit(
        "describe", photo(engine), points(*POINTS), on_text=lambda n, text: told.setdefault(n, []).append(text)
    ).result(60)
    assert [told[n][-1] for n in range(3)] == [answer.description for answer in answers]
    assert len(told[0]) > 1


def test_bad_questions_are_refused_at_once(engine: Engine) -> None:
    for task, asked, message in (
        ("describe", points((71.0, 0.0)), r"point 1 \[71.0, 0.0\] is outside the 70x40 photo"),
        ("round-trip", points((1.0, float("nan"))), "not finite"),
        ("localize", texts("a hood", " "), "text 2: the text is empty"),
        ("localize", texts("<mark>"), "reserved"),
    ):
        with pytest.raises(ValueError, match=message):
            engine.submit(task, photo(engine), asked)  # type: ignore[arg-type]


def test_a_text_is_measured_against_the_point_that_it_is_about(engine: Engine) -> None:
    [answer] = engine.submit("localize", photo(engine), [PhotoPoint(point_px=(35.0, 20.0), text="a hood")]).result(60)
    assert answer.found_px is not None and answer.text == "a hood"
    assert answer.error == pytest.approx(distance_unit(answer.found_px, (35.0, 20.0), (70, 40)))


def test_freed_memory_is_given_back_now_and_then(tp: TalkingPoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a batch, and not after each."""
    given_back: list[int] = []
    monkeypatch.setattr("talking_points.memory.give_back_freed_memory", lambda: given_back.append(1))
    for every_s, times in ((0.0, 3), (1e6, 0)):
        monkeypatch.setattr("talking_points.serving.engine.GIVE_BACK_EVERY_S", every_s)
        engine = Engine("tiny", tp, ServeSettings(wait_ms=0))
        for _ in range(3):
            engine.submit("describe", photo(engine), points(POINTS[0])).result(60)
        engine.close()
        assert len(given_back) == times
        del given_back[:]
