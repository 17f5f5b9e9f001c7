import pytest

from talking_points.dataset.describers.describer import PointTask
from talking_points.dataset.describers.endpoint import RequestRefusedError
from talking_points.dataset.grammar import point_facts
from talking_points.dataset.places import DIALECTS
from talking_points.dataset.writers import EndpointWriter, RuleWriter

GOOD = (
    "The point is on the person in the middle, on the front of their shirt, just above its center, where the fabric is "
    "bright red and smooth."
)


class Answers:
    """Stands for an endpoint: gives its answers in turn."""

    class config:
        model = "m"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.prompts = []

    def ask(self, prompt, picture, *, seed):
        assert picture is None and seed == 3
        self.prompts.append(prompt)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def task(person):
    facts = point_facts(person, (30.5, 40.5))
    relations = "the point is on the person, on their shirt, at its center"
    return PointTask(record_id="r", facts=facts, dialect=DIALECTS["paper"], relations=relations, seed=3)


def test_rules_write_in_one_stage(task):
    writer = RuleWriter(describers_are_rules=True)
    written = writer.write(task, "", "")
    assert written.rejected is None and written.text == written.draft
    assert "shirt" in written.text
    assert written == writer.write(task, "something", "else")


def test_rules_join_what_models_said(task):
    writer = RuleWriter(describers_are_rules=False)
    written = writer.write(task, "a person in red", "bright red, smooth fabric")
    assert written.text == f"{task.relations}. a person in red. bright red, smooth fabric."
    assert written.rejected is None
    assert "coordinates" not in (written.rejected or "")
    spoilt = writer.write(task, "a person at (3, 4)", "red fabric")
    assert spoilt.rejected.startswith("it gives numbers for places (")


def test_a_model_is_asked_twice(task):
    model = Answers("a draft of a text", GOOD)
    written = EndpointWriter(model).write(task, "somebody in red", "red fabric")
    assert (written.draft, written.text, written.rejected) == ("a draft of a text", GOOD, None)
    generate, refine = model.prompts
    for said in ("Object: person", "Part: shirt", task.relations, "somebody in red", "red fabric", "Be exact"):
        assert said in generate
    assert "a draft of a text" in refine and task.relations in refine
    assert "$" not in generate + refine


def test_a_problem_is_named_and_mended_once(task):
    model = Answers("draft", "Here is the text.", GOOD)
    written = EndpointWriter(model).write(task, "", "red fabric")
    assert (written.text, written.rejected) == (GOOD, None)
    assert 'it speaks of the task ("here is")' in model.prompts[2]
    assert "Here is the text." in model.prompts[2] and "$" not in model.prompts[2]


def test_what_stays_wrong_is_rejected(task):
    model = Answers("draft", "", "")
    written = EndpointWriter(model).write(task, "", "")
    assert (written.text, written.rejected) == ("", "it is empty")
    model = Answers("draft", GOOD, RuntimeError("must not be asked"))
    assert EndpointWriter(model).write(task, "", "").rejected is None


def test_a_refusal_is_a_rejection(task):
    model = Answers("draft", RequestRefusedError("refused by the content filter of m"))
    written = EndpointWriter(model).write(task, "", "")
    assert written.rejected == "refused by the content filter of m"
    assert written.draft == "draft"
