"""What must be right about a text before it becomes a record. Each problem is said so that a model can mend it."""

from __future__ import annotations

import re
from pathlib import Path

from talking_points.dataset.facts import PointFacts
from talking_points.dataset.places import Dialect
from talking_points.dataset.wordings import KINDS, SAID, ways_to_say
from talking_points.files import read_table

MIN_WORDS = {"full": 15, "short": 4}
MAX_WORDS = {"full": 120, "short": 30}
"""Of texts by language models, by a dialect's length. Ours."""

NUMBER_FOR_A_PLACE = (
    'it gives numbers for places ("{}"): say places in words; digits may only name what is seen, in quotes'
)
"""What is said of a text with a `number_for_a_place`."""

_PATTERNS = {name: "|".join(some) for name, some in read_table(Path(__file__).with_name("checks.toml")).items()}
_MEASURES = re.compile(_PATTERNS["measures"], re.IGNORECASE)
_QUOTED = re.compile(_PATTERNS["quoted"])
_NAMING_DIGITS = re.compile(_PATTERNS["naming_digits"])
_META_TALK = re.compile(rf"\b(?:{_PATTERNS['meta_talk']})\b", re.IGNORECASE)
_LISTS = re.compile(_PATTERNS["lists"], re.MULTILINE | re.IGNORECASE)
_LOOK_STEMS = tuple(SAID["look_stems"])


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without marks; numbers are words, too.

    Example:
        >>> words_of("The café's 2nd Tür, at leg 1.")
        ['the', "café's", '2nd', 'tür', 'at', 'leg', '1']
    """
    return re.findall(r"[^\W_]+(?:['-][^\W_]+)*", text.lower())


def find_problems(text: str, facts: PointFacts, dialect: Dialect) -> list[str]:
    """What is wrong with a text about a point; nothing, an empty list, when it may become a record.

    Checked are: that it is one paragraph of a fair length that does not break off, without coordinates, lists or talk
    about the task; and that the levels of the dialect are there: the object, the part, a place, and what is seen. A
    dialect that says only what is clear may have nothing to say of the last two, and fewer words.
    """
    if not text.strip():
        return ["it is empty"]
    full = dialect.length == "full"
    least, most = MIN_WORDS["short" if dialect.only_clear else dialect.length], MAX_WORDS[dialect.length]
    length = len(text.split())
    # Digits of a name are no place.
    unnamed = text
    for name in (facts.object_name, facts.part_name):
        if re.search(r"[a-z]", name, re.IGNORECASE) and re.search(r"\d", name):
            said = re.escape(name.replace("_", " ")).replace("\\ ", "[ _]")
            unnamed = re.sub(rf"(?<!\w){said}(?!\w)", " ", unnamed, flags=re.IGNORECASE)
    number, talk = number_for_a_place(unnamed), _META_TALK.search(text)
    words = words_of(text)
    pieces = {piece for word in words for piece in word.split("-")}
    found = {
        "it has more than one paragraph": "\n" in text.strip(),
        "it has a list, headings or markup": _LISTS.search(text),
        NUMBER_FOR_A_PLACE.format(number): number,
        f'it speaks of the task ("{talk.group().lower() if talk else ""}")': talk,
        f"it has {length} words, at least {least} are needed": length < least,
        f"it has {length} words, at most {most} are allowed": length > most,
        "it breaks off without the end of a sentence": full and text.strip()[-1] not in ".!?\"'”",
        f'it does not name the object, "{facts.object_name}"': full and not is_named(facts.object_name, words),
        f'it does not name the part, "{facts.part_name}"': not is_named(facts.part_name, words),
        "it does not say where in the part the point is": not dialect.only_clear and SAID["place"].isdisjoint(pieces),
        "it does not say what the pixels around the point look like": dialect.local
        and not dialect.only_clear
        and not any(piece in SAID["look"] or piece.startswith(_LOOK_STEMS) for piece in pieces),
    }
    problems = [problem for problem, is_there in found.items() if is_there]
    if not problems and dialect.order == "coarse-to-fine":
        reversed_order = out_of_order(text, facts.object_name, facts.part_name)
        problems += [reversed_order] if reversed_order else []
    return problems


def number_for_a_place(text: str) -> str | None:
    """The first number that says where something is, in pixels, shares or coordinates; None where there is none.

    Digits are allowed in quotes and where they name or count what is seen: "number 10", "3 o'clock", "a 4-door car".
    """
    unquoted = _QUOTED.sub(" ", text)
    number = _MEASURES.search(unquoted) or re.search(r"\d+", _NAMING_DIGITS.sub(" ", unquoted))
    return number.group().strip() if number else None


def out_of_order(text: str, object_name: str, part_name: str) -> str | None:
    """What is wrong with the order of a text that names object and part; None when it goes from coarse to fine.

    The object comes before the part or with it ("the shirt of the man", "the man's shirt"), and a place in the part
    after the object: "the man, at the hem of his shirt", but not "the left edge of the man's shirt". A part that is the
    whole object needs nothing more.
    """
    if object_name == part_name:
        return None
    tokens = re.findall(r"[^\W_]+(?:['-][^\W_]+)*|[.,;:!?()]", text.lower().replace("’", "'"))
    objects = [k for k, token in enumerate(tokens) if is_named(object_name, [token])]
    parts = [k for k, token in enumerate(tokens) if is_named(part_name, [token])]
    if not objects or not parts:
        return None
    first = parts[0]
    place = _place_before(tokens, first, set(words_of(part_name)))
    if place is not None and objects[0] > place:
        return (
            f'it says "{" ".join(tokens[place : first + 1])}" before the object is named: name the object '
            f'("{object_name}"), then the part ("{part_name}"), and only then the place in it'
        )
    between = tokens[first + 1 : objects[0]]
    if objects[0] > first and (len(between) > 8 or "." in between or not SAID["place_of_part"].isdisjoint(between)):
        return f'it names the part ("{part_name}") before the object ("{object_name}"): begin with the object'
    return None


def _place_before(tokens: list[str], part: int, part_words: set[str]) -> int | None:
    """Where a place of the part begins that stands before it, as "left edge of the shoe"; None where there is none."""
    for start in range(part - 1, max(-1, part - 8), -1):
        token = tokens[start]
        if not token[0].isalpha() or token in SAID["photo"]:
            return None
        follows = tokens[start + 1] if start + 1 < part else ""
        is_place = token in SAID["place_of_part"] and token not in part_words
        if is_place and follows in ("of", "on", "in", "along", "at"):
            return start - 1 if start and tokens[start - 1] in SAID["place"] else start
    return None


def is_named(name: str, words: list[str]) -> bool:
    """Whether the last word of a name is among the words of a text (see `words_of`), in any number, or a synonym.

    What a name has in brackets, and a number at its end, need not be said.

    Example:
        >>> is_named("mouse (computer)", words_of("on the mouse's left button")), is_named("leg 1", ["the", "legs"])
        (True, True)
    """
    bare = re.sub(r"\([^)]*\)", " ", name.lower().replace("_", " "))
    told = [word for word in words_of(bare) if not word.isdigit()] or words_of(name)
    options = {words_of(said)[-1] for said in ways_to_say(" ".join(told)) if words_of(said)}
    if name in KINDS["people"]:
        options |= KINDS["people"]
    whole = {word.removesuffix("'s") for word in words}
    said = whole | {piece for word in whole for piece in word.split("-")}
    return not {_singular(option) for option in options}.isdisjoint(map(_singular, said))


def _singular(word: str) -> str:
    for ending, instead in (("ies", "y"), ("ves", "f"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2 and not word.endswith("ss"):
            return word[: -len(ending)] + instead
    return word
