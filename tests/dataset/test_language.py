"""Who writes: the three roles, filled by rules, by endpoints and by a Point Descriptor."""

import threading
from string import Template

import pytest
from PIL import Image

from talking_points.dataset import language
from talking_points.dataset.describers import (
    describe_by_descriptor,
    describe_by_endpoint,
    describe_by_rules,
    describe_by_stock_model,
)
from talking_points.dataset.language import (
    PROMPTS,
    PointTask,
    fill_prompt,
    join_by_rules,
    prompts_sha256,
    write_by_endpoint,
    write_by_rules,
)
from talking_points.dataset.places import DIALECTS
from talking_points.dataset.windows import CUT_SIDE_PX
from talking_points.endpoint import RequestRefusedError
from talking_points.pointing.descriptor import PointDescriptor
from talking_points.pointing.stock import Refusal
from tests.dataset.scenes import point_facts
from tests.tiny import tiny_network

GOOD = (
    "The point is on the person in the middle, on the front of their shirt, just above its center, where the fabric is "
    "bright red and smooth."
)


class Answers:
    """Stands for an endpoint: gives its answers in turn."""

    class config:
        model = "m"
        photo_side_px = 256

    def __init__(self, *answers):
        self.answers = list(answers)
        self.prompts = []
        self.pictures = []

    def ask(self, prompt, picture, *, seed):
        assert seed == 3
        self.prompts.append(prompt)
        self.pictures.append(picture)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def task_of(scene, point, seed=3):
    relations = "the point is on the person, on their shirt, at its center"
    facts = point_facts(scene, point)
    return PointTask(facts=facts, dialect=DIALECTS["paper"], relations=relations, seed=seed)


@pytest.fixture
def task(person):
    return task_of(person, (30.5, 40.5))


def test_rules_describe_each_level_and_need_no_photo(person):
    def never():
        raise AssertionError("rules need no photo")

    tasks = [task_of(person, (30.5, 40.5), seed) for seed in range(20)]
    of_object = describe_by_rules("object", never, tasks)
    of_point = describe_by_rules("local", never, tasks)
    assert all("person" in text for text in of_object)
    assert all("red" in text and "person" not in text for text in of_point)
    assert len(set(of_object)) > 10 and len(set(of_point)) > 1
    assert of_object == describe_by_rules("object", never, tasks)


def test_a_model_with_vision_sees_the_photo_at_the_stated_size_or_the_cut_out(person, task):
    photo = Image.fromarray(person.photo).resize((600, 1200))
    model = Answers("of the object\nand more", "of the point")
    assert describe_by_endpoint("object", model, lambda: photo, [task]) == ["of the object and more"]
    assert describe_by_endpoint("local", model, lambda: photo, [task]) == ["of the point"]
    assert [picture.size for [picture] in model.pictures] == [(128, 256), (336, 336)]
    assert "$" not in "".join(model.prompts)


def says_nothing_of(prompts, task):
    """What the labels say of a point is the writer's to know: object, part and relations."""
    assert prompts
    for prompt in prompts:
        for word in (task.facts.object_name, task.facts.part_name, task.relations, "person", "shirt"):
            assert word not in prompt


def test_who_describes_is_told_nothing_of_the_labels(person, task):
    """Paper 3.1: one model gets the image and the keypoint, the other the masked region; the third gets the rest."""
    photo = Image.fromarray(person.photo)
    model, asker = Answers(*["words"] * 5), StockAnswers(Refusal("no"), "five\nlines")
    for level in ("object", "local"):
        describe_by_endpoint(level, model, lambda: photo, [task])
        describe_by_stock_model(level, asker, 256, threading.Lock(), lambda: photo, [task])
    says_nothing_of([*model.prompts, *(question.words for question in asker.asked)], task)
    # Nor may a prompt grow such a word: both are the same for every point.
    assert fill_prompt("object") == model.prompts[0] and fill_prompt("local") == model.prompts[1]
    write_by_endpoint(model, task, "", "")
    for prompt in model.prompts[2:]:
        assert "person" in prompt and "shirt" in prompt and task.relations in prompt


class StockAnswers:
    """Stands for a stock model in this process."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def shown_wh(self, size_wh):
        if max(size_wh) > 5 * min(size_wh):
            raise ValueError(f"a {size_wh[0]}x{size_wh[1]} photo is too narrow")
        return size_wh

    def ask(self, questions, *, on_text=None):
        self.asked += questions
        return [self.answers.pop(0) for _ in questions]


def test_a_stock_model_is_shown_what_an_endpoint_is_shown(person, task):
    photo = Image.fromarray(person.photo).resize((600, 1200))
    asker, turn, model = StockAnswers("of the object\nand more", Refusal("no")), threading.Lock(), Answers("", "")
    side = model.config.photo_side_px
    assert describe_by_stock_model("object", asker, side, turn, lambda: photo, [task]) == ["of the object and more"]
    assert describe_by_stock_model("local", asker, side, turn, lambda: photo, [task]) == [Refusal("no")]
    for level, question in zip(("object", "local"), asker.asked, strict=True):
        describe_by_endpoint(level, model, lambda: photo, [task])
        [picture] = model.pictures[-1]
        assert question.words == model.prompts[-1] and question.pictures == ()
        assert question.photo.picture.tobytes() == picture.tobytes()


def test_a_photo_that_a_stock_model_cannot_see_is_refused(person, task):
    asker = StockAnswers()
    narrow = Image.new("RGB", (60, 600))
    [said] = describe_by_stock_model("object", asker, 256, threading.Lock(), lambda: narrow, [task])
    assert said == Refusal("a 26x256 photo is too narrow") and not asker.asked


def test_a_content_filter_refuses_one_description_only(person, task):
    model = Answers(RequestRefusedError("refused by the content filter of m"), "fine")
    photo = Image.fromarray(person.photo)
    first, second = describe_by_endpoint("local", model, lambda: photo, [task, task])
    assert first == Refusal("refused by the content filter of m")
    assert second == "fine"


class FakeDescriber:
    """Says what it was shown."""

    def describe(self, photo, points_px):
        return [f"{photo.width}x{photo.height} at {x:g},{y:g}" for x, y in points_px]


def test_a_descriptor_sees_the_photo_or_the_cut_out(person):
    photo = Image.fromarray(person.photo)
    tasks = [task_of(person, point) for point in [(30.5, 40.5), (21.5, 106.5)]]
    turn = threading.Lock()
    of_object = describe_by_descriptor("object", FakeDescriber(), turn, lambda: photo, tasks)
    assert of_object == ["60x120 at 30.5,40.5", "60x120 at 21.5,106.5"]
    of_point = describe_by_descriptor("local", FakeDescriber(), turn, lambda: photo, tasks)
    side, middle = CUT_SIDE_PX, CUT_SIDE_PX / 2
    assert of_point == [f"{side}x{side} at {middle:g},{middle:g}"] * 2


def test_the_point_descriptor_fits(person, task):
    model = PointDescriptor(tiny_network())
    photo = Image.fromarray(person.photo)
    for level in ("object", "local"):
        (text,) = describe_by_descriptor(level, model, threading.Lock(), lambda: photo, [task])
        assert isinstance(text, str)


def test_rules_write_in_one_stage(task):
    written = write_by_rules(task, "", "")
    assert written.rejected is None and written.text == written.draft
    assert "shirt" in written.text
    assert written == write_by_rules(task, "something", "else")


def test_rules_join_what_models_said(task):
    written = join_by_rules(task, "a person in red", "bright red, smooth fabric")
    assert written.text == f"{task.relations}. a person in red. bright red, smooth fabric."
    assert written.rejected is None
    assert "coordinates" not in (written.rejected or "")
    spoilt = join_by_rules(task, "a person at (3, 4)", "red fabric")
    assert spoilt.rejected.startswith("it gives numbers for places (")


def test_a_model_is_asked_twice(task):
    model = Answers("a draft of a text", GOOD)
    written = write_by_endpoint(model, task, "somebody in red", "red fabric")
    assert (written.draft, written.text, written.rejected) == ("a draft of a text", GOOD, None)
    generate, refine = model.prompts
    for said in ("Object: person", "Part: shirt", task.relations, "somebody in red", "red fabric", "Be exact"):
        assert said in generate
    assert "a draft of a text" in refine and task.relations in refine
    assert "$" not in generate + refine


def test_a_problem_is_named_and_mended_once(task):
    model = Answers("draft", "Here is the text.", GOOD)
    written = write_by_endpoint(model, task, "", "red fabric")
    assert (written.text, written.rejected) == (GOOD, None)
    assert 'it speaks of the task ("here is")' in model.prompts[2]
    assert "Here is the text." in model.prompts[2] and "$" not in model.prompts[2]


def test_what_stays_wrong_is_rejected(task):
    model = Answers("draft", "", "")
    written = write_by_endpoint(model, task, "", "")
    assert (written.text, written.rejected) == ("", "it is empty")
    model = Answers("draft", GOOD, RuntimeError("must not be asked"))
    assert write_by_endpoint(model, task, "", "").rejected is None


def test_a_refusal_is_a_rejection(task):
    model = Answers("draft", RequestRefusedError("refused by the content filter of m"))
    written = write_by_endpoint(model, task, "", "")
    assert written.rejected == "refused by the content filter of m"
    assert written.draft == "draft"


WORDS = ("object_name", "part_name", "relations", "object_description", "local_description", "dialect")
WORDS += ("draft", "text", "problems", "max_words")
PROMPT_NAMES = {path.stem for path in PROMPTS.glob("*.txt")}


def test_every_prompt_is_there_and_fills():
    given = {word: f"<{word}>" for word in WORDS}
    roles = {"object", "local", "generate", "refine", "repair"}
    assert roles | {f"dialect_{name}" for name in DIALECTS} == PROMPT_NAMES
    for name in PROMPT_NAMES:
        template = Template((PROMPTS / f"{name}.txt").read_text())
        # A misspelt word, or a dollar sign of its own, would be left as it is.
        filled = fill_prompt(name, **given)
        assert "$" not in filled and filled == filled.strip() and template.template.strip()


def test_a_word_that_is_not_given_is_an_error():
    with pytest.raises(KeyError, match="relations"):
        fill_prompt("refine", object_name="dog", part_name="ear")


def test_the_hash_is_of_all_prompts(monkeypatch):
    before = prompts_sha256()
    assert before == prompts_sha256() and len(before) == 64
    read = language._read_prompt
    monkeypatch.setattr(language, "_read_prompt", lambda name: read(name) + ("!" if name == "repair" else ""))
    assert prompts_sha256() != before
