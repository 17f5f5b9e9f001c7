import json

import pytest

from talking_points.dataset.checks import find_problems, is_named, number_for_a_place, out_of_order, words_of
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.places import DIALECTS
from tests.dataset.scenes import point_facts
from tests.shared import SHARED, needs_photos

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


def test_a_dialect_of_what_is_clear_asks_for_names_alone(facts):
    assert find_problems("The point is on the shirt of the person.", facts, DIALECTS["clear"]) == []
    assert find_problems("The point is on the shirt of the person.", facts, DIALECTS["coarse"]) != []
    assert find_problems("The point is on the person, to the left.", facts, DIALECTS["clear"]) == [
        'it does not name the part, "shirt"'
    ]


def test_the_rules_texts_pass(person, car, rng_texts=200):
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


NUMBERS_FOR_PLACES = [
    "412 across and 233 down",
    "at x 412",
    "x = 31, y = 20",
    "y: 233",
    "at (0.3, 0.7) of the photo",
    "at [412, 233]",
    "30% from the left",
    "30 percent from the left",
    "thirty percent from the left",
    "about 0.25 of the way",
    ".4 of the height",
    "pixel 212",
    "12 pixels from the border",
    "twelve pixels from the border",
    "a 5-pixel margin",
    "3 cm below the collar",
    "2 inches from the hem",
    "at coordinates near the middle",
    "row 40 of the picture",
    "about 7 from the top",
    "1/3 of the way down the sleeve",
    "at 45 degrees to the right",
    "between 200 and 300 to the right",
    "the point is 120 below the chin",
]
NUMBERS_OF_THINGS = [
    'the sign says "STOP 412"',
    "the letters 'A 38' on the tail",
    "the “7” on the door",
    "on the jersey's number 10",
    "the numbers 3 and 4 on the bib",
    "where the spoke points to 3 o'clock",
    "at the 3-o'clock spoke",
    "a 4-door car",
    "the 3-button jacket",
    "the 2nd button from above",
    "the clock shows 10:10",
    "the wing of the A380",
    "the boot of the BMW X5",
    "the V8 badge",
    "the small 4x4 sticker",
    "on the Boeing 737",
    "a sign for Route 66",
    "the middle of its 3 buttons",
    "one of 2 dark stripes",
    "player 23's waist",
    "the man with 76 on his back",
    "right of the second 4",
    "the plate reading 512",
    "a shirt marked 8",
    "the bus 42",
    "just over the #9",
    "two buttons and a third of the sleeve",
]


@pytest.mark.parametrize("text", NUMBERS_FOR_PLACES)
def test_numbers_for_places_are_refused(facts, text):
    assert number_for_a_place(text) is not None
    (problem,) = find_problems(f"{GOOD[:-1]}, {text}.", facts, DIALECTS["paper"])
    assert problem.startswith("it gives numbers for places (") and "say places in words" in problem


@pytest.mark.parametrize("text", NUMBERS_OF_THINGS)
def test_numbers_that_name_what_is_seen_are_not(facts, text):
    assert number_for_a_place(text) is None
    assert find_problems(f"{GOOD[:-1]}, {text}.", facts, DIALECTS["paper"]) == []


COARSE_TO_FINE = [
    "The person in the middle; her left shoe, near the toe.",
    "The person's left shoe, at its lower edge, dark leather.",
    "On the person's left shoe near the left edge.",
    "The shoe of the person on the left, close to its heel.",
    "The shoe that the tall person wears, at its top.",
    "At the bottom of the photo, a person wears a red shoe; its tip.",
    "In the lower left corner of the picture stands a person. Her shoe, at the left edge.",
    "Near the right edge of the photo, the person's shoe, at its dark tip.",
    "A woman stands on the left. On her left shoe, near the outer side.",
    "A woman sits. At the left edge of her shoe the leather is dark.",
    "The man's left shoe: the outer side, where the sole begins.",
    "The man, his left shoe, the middle of the laces.",
    "The left shoe of the man in the centre of the picture, at the tip.",
    "On the side of the road a person waits. Her shoe has a dark tip.",
    "A man on top of the hill: the edge of his shoe is bright.",
    "The boy at the end of the row, on his shoe, just above the sole.",
    "The left one of two shoes of the woman, near the front.",
    "There is a person to the right of the car; on the shoe, right of the middle.",
    "The shoe worn by the girl at the back, at the lower edge.",
    "The person's pair of shoes: the left one, near its tip.",
    "The right-hand person's right shoe, toward the bottom edge.",
]
FINE_TO_COARSE = [
    "Near the left edge of the shoe of the person.",
    "At the tip of the person's shoe the leather is dark.",
    "The left side of the shoe of the woman in the middle.",
    "On the top of the left shoe of the man in the photo.",
    "The lower edge of a shoe; it belongs to the person on the left.",
    "In the middle of the shoe that the person wears.",
    "Close to the bottom edge of the black shoe of the person.",
    "The upper half of the woman's left shoe.",
    "The lower left corner of the shoe on the person's foot.",
    "At the end of the long shoe, on the left person.",
    "On the shoe, near the left edge, of the person.",
    "A shoe. The person stands on the left.",
    "A dark shoe with white laces near its tip; the person wears it.",
    "The shoe, at its left side, on a person in a red coat.",
    "The shoe is dark at the top and shines in the sun there; the man is old.",
    "Dark leather at the centre of the shoe of the man.",
    "Just inside the outer edge of the shoe of a walking man.",
    "The bottom third of the shoe of the boy.",
    "A bright spot in the lower quarter of the girl's shoe.",
    "It is the right end of the shoe, and the person is on the left.",
    "Go to the middle of the left shoe of the lady.",
]


@pytest.mark.parametrize("text", COARSE_TO_FINE)
def test_from_object_to_part_is_in_order(text):
    assert out_of_order(text, "person", "shoe") is None


@pytest.mark.parametrize("text", FINE_TO_COARSE)
def test_from_place_or_part_to_object_is_not(text):
    assert "object" in out_of_order(text, "person", "shoe")


def test_an_order_is_asked_for_where_the_dialect_has_one(facts):
    text = "Near the left edge of the shirt of the person in the middle, where the fabric is red and smooth all over."
    (problem,) = find_problems(text, facts, DIALECTS["paper"])
    assert problem == (
        'it says "left edge of the shirt" before the object is named: name the object ("person"), then the part '
        '("shirt"), and only then the place in it'
    )
    assert find_problems("near the left edge of the shirt of the person", facts, DIALECTS["short"]) == []


def test_a_part_that_is_the_whole_object_needs_no_order():
    assert out_of_order("The left edge of the cup, a little below its rim.", "cup", "cup") is None


@needs_photos
def test_long_texts_by_a_model_are_in_order_but_for_few():
    lines = (SHARED / "data/texts/train.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert sum(number_for_a_place(row["long"]) is not None for row in rows) <= 2
    assert sum(out_of_order(row["long"], row["object"], row["part"]) is not None for row in rows) < 0.02 * len(rows)
