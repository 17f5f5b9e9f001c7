import pytest

from talking_points.dataset.checks import find_problems, is_named, words_of
from talking_points.dataset.relations import DIALECTS
from talking_points.dataset.synthesis import point_facts, write_point_text

GOOD = (
    "The point is on the woman standing in the middle of the street, on the left sleeve of her red shirt, near its "
    "lower edge, where the fabric is bright red and smooth."
)


@pytest.fixture(scope="module")
def facts(person):
    return point_facts(person, (30.5, 40.5))


def test_a_good_text_has_no_problems(facts):
    assert find_problems(GOOD, facts, DIALECTS["paper"]) == []


# One thing wrong with each, and what is said about it.
BAD = {
    "": "it is empty",
    " \n ": "it is empty",
    GOOD + "\n\nI hope that helps you with your task in the end.": "more than one paragraph",
    "Here is " + GOOD: 'it speaks of the task ("here is")',
    "I'm sorry, but " + GOOD: "it speaks of the task",
    GOOD[:-1] + " inside the bounding box.": "it speaks of the task",
    GOOD[:-1] + " inside the red ring.": "it speaks of the task",
    GOOD[:-1] + ", at (120, 45).": "it gives numbers for places",
    GOOD[:-1] + ", 12 pixels from the border.": "it gives numbers for places",
    GOOD[:-1] + ", 30% from the left.": "it gives numbers for places",
    GOOD[:-1] + ", at x = 31.": "it gives numbers for places",
    GOOD[:-1] + ", about 0.25 of the way.": "it gives numbers for places",
    "- " + GOOD: "it has a list, headings or markup",
    "**Answer** " + GOOD: "it has a list, headings or markup",
    "Object: " + GOOD: "it has a list, headings or markup",
    "On the person's red shirt, near the left edge.": "it has 9 words, at least 15 are needed",
    GOOD[:-1] + " and so on" * 40 + ".": "at most 120 are allowed",
    GOOD[:-1] + " and": "it breaks off",
    GOOD.replace("woman", "thing"): 'it does not name the object, "person"',
    GOOD.replace("shirt", "thing"): 'it does not name the part, "shirt"',
    "A person is seen here wearing a shirt that is of a bright red color and quite smooth to look at.": (
        "it does not say where in the part the point is"
    ),
    "The point is on the person on the left, more exactly on the left sleeve of the shirt that they wear.": (
        "it does not say what the pixels around the point look like"
    ),
}


@pytest.mark.parametrize(("text", "problem"), BAD.items(), ids=range(len(BAD)))
def test_each_problem_is_told(facts, text, problem):
    problems = find_problems(text, facts, DIALECTS["paper"])
    assert len(problems) == 1 and problem in problems[0]


def test_a_short_dialect_asks_for_less(facts):
    assert find_problems("left edge of the shirt", facts, DIALECTS["short"]) == []
    assert find_problems("the shirt of the person", facts, DIALECTS["short"]) == [
        "it does not say where in the part the point is"
    ]
    assert "at most 30" in find_problems(GOOD + GOOD, facts, DIALECTS["short"])[0]


def test_the_rules_texts_pass(person, car, rng_texts=20):
    import numpy as np

    for scene, point in ((person, (30.5, 40.5)), (person, (21.5, 106.5)), (car, (15.5, 50.5)), (car, (40.5, 30.5))):
        facts = point_facts(scene, point)
        for seed in range(rng_texts):
            for dialect in DIALECTS.values():
                text = write_point_text(facts, dialect, np.random.default_rng(seed)) + "."
                assert find_problems(text, facts, dialect) == [], text


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("wing", "the wings of the bird", True),
        ("shoes", "on the shoe", True),
        ("glass", "on the glasses", True),
        ("leaf", "the leaves", True),
        ("left mirror", "its left side-mirror", True),
        ("pants", "the trousers", True),
        ("person", "the man's hat", True),
        ("cat", "the category", False),
        ("arm", "the army", False),
        ("chest of drawers", "the drawers", True),
    ],
)
def test_names(name, text, named):
    assert is_named(name, words_of(text)) == named
