"""What must be right about a text before it becomes a record. Each problem is said so that a model can mend it."""

from __future__ import annotations

import re

from talking_points.dataset.names import ways_to_say
from talking_points.dataset.relations import Dialect
from talking_points.dataset.synthesis import PointFacts
from talking_points.dataset.wordings import PEOPLE

MIN_WORDS = {"full": 15, "short": 4}
MAX_WORDS = {"full": 120, "short": 30}
"""Of texts by language models, by a dialect's length. Ours."""

_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without marks."""
    return _WORD.findall(text.lower())


_PLACE_WORDS = frozenset(
    words_of("""
    above around below beneath between beside bottom center central centre corner down edge end far front half halfway
    inner inside left leftmost lower lowest middle midpoint near outer quarter rear right rightmost side third tip top
    topmost toward towards under up upper
    """)
)
_LOOK_WORDS = frozenset(
    words_of("""
    black white gray grey red green blue yellow orange purple pink brown beige tan gold golden silver teal navy maroon
    cream ivory olive turquoise violet bare matte metal metallic wood wooden glass fur furry hair hairy skin fabric
    leather plastic rubber stone feather feathers feathered scale scales scaly cloth knit knitted denim wool button seam
    stripe stripes striped pattern patterned plain print printed logo letter letters edge edges line lines crease fold
    folds wrinkle wrinkles reflection shadow shade shaded highlight spot spots spotted curve curved round rounded flat
    color colored colour coloured shape surface
    """)
)
# Beginnings of words about what is seen: "dark" also begins "darker".
_LOOK_STEMS = re.compile(r"^(dark|bright|light|shin|smooth|rough|textur|gloss|pale|vivid|transparent|fuzz|soft|worn)")
_PERSON_WORDS = frozenset(words_of("person man woman boy girl child baby lady pedestrian cyclist rider player"))

_COORDINATES = re.compile(
    r"\(\s*\d+(\.\d+)?\s*,\s*\d+|\b\d+(\.\d+)?\s*(px|pixels?|percent|per cent)\b|\d\s*%|\b0?\.\d{2,}|\bcoordinates?\b"
    r"|\b[xy]\s*=\s*\d",
    re.IGNORECASE,
)
_META_TALK = re.compile(
    r"\b(as an ai|i'm sorry|i am sorry|i cannot|i can't|unable to|sure[,!]|certainly[,!]|of course[,!]|here is|here's"
    r"|this description|the description|the draft|revised|refined|bounding box|segmentation|annotat\w+|the prompt"
    r"|provided (?:image|text|facts|information)|based on the|red (?:ring|circle)|cut-?out|gaussian|zoomed|let me know"
    r"|note that|rewritten|measured facts|keypoint description)\b",
    re.IGNORECASE,
)
_LISTS = re.compile(
    r"^\s*([-*#•]|\d+[.)])\s|\*\*|```|^\s*(object|part|point|local)[\w ]{0,20}:", re.MULTILINE | re.IGNORECASE
)


def find_problems(text: str, facts: PointFacts, dialect: Dialect) -> list[str]:
    """What is wrong with a text about a point; nothing, an empty list, when it may become a record.

    Checked are: that it is one paragraph of a fair length that does not break off, without coordinates, lists or talk
    about the task; and that the levels of the dialect are there: the object, the part, a place, and what is seen.
    """
    if not text.strip():
        return ["it is empty"]
    problems = []
    if "\n" in text.strip():
        problems.append("it has more than one paragraph")
    if _LISTS.search(text):
        problems.append("it has a list, headings or markup")
    if _COORDINATES.search(text):
        problems.append("it gives numbers for places")
    talk = _META_TALK.search(text)
    if talk:
        problems.append(f'it speaks of the task ("{talk.group().lower()}")')
    length = len(text.split())
    if length < MIN_WORDS[dialect.length]:
        problems.append(f"it has {length} words, at least {MIN_WORDS[dialect.length]} are needed")
    if length > MAX_WORDS[dialect.length]:
        problems.append(f"it has {length} words, at most {MAX_WORDS[dialect.length]} are allowed")
    if dialect.length == "full" and text.strip()[-1] not in ".!?\"'”":
        problems.append("it breaks off without the end of a sentence")
    words = words_of(text)
    if dialect.length == "full" and not is_named(facts.object_name, words):
        problems.append(f'it does not name the object, "{facts.object_name}"')
    if not is_named(facts.part_name, words):
        problems.append(f'it does not name the part, "{facts.part_name}"')
    if _PLACE_WORDS.isdisjoint(word for one in words for word in one.split("-")):
        problems.append("it does not say where in the part the point is")
    if dialect.local and not any(
        word in _LOOK_WORDS or _LOOK_STEMS.match(word) for one in words for word in one.split("-")
    ):
        problems.append("it does not say what the pixels around the point look like")
    return problems


def is_named(name: str, words: list[str]) -> bool:
    """Whether the last word of a name is among the words of a text (see `words_of`), in any number, or a synonym."""
    options = {said.split()[-1] for said in ways_to_say(name.lower())}
    if name in PEOPLE:
        options |= _PERSON_WORDS
    said = {word.removesuffix("'s") for word in words}
    said |= {part for word in words for part in word.removesuffix("'s").split("-")}
    return not {_singular(option) for option in options}.isdisjoint(_singular(word) for word in said)


def _singular(word: str) -> str:
    for ending, instead in (("ies", "y"), ("ves", "f"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2 and not word.endswith("ss"):
            return word[: -len(ending)] + instead
    return word
