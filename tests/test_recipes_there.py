from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from recipes.mini import localizer, there
from recipes.mini.examples import OTHER_PHRASES, PHRASE_KINDS, Example, Maker, Names
from recipes.mini.there import (
    PHRASES,
    RULES_EVERY,
    Asked,
    Question,
    ask,
    draw,
    fit,
    learn,
    read_questions,
    there_layers,
    told,
)
from talking_points.dataset.scene import Scene
from talking_points.model.checkpoint import save_checkpoint
from talking_points.pointing.localizer import PointLocalizer
from tests.benchmark_modules import refused
from tests.tiny import tiny_network

PHRASE = {"set": "coco_people", "photo": "1.jpg", "text": "a bell"}
LONG, SHORT = "Photo {0} is red. It is left of {0}.", "left of {0}"


@pytest.fixture
def maker(person: Scene) -> Maker:
    """Photos with a long and a short text each, and one that does not fit."""
    scenes = [replace(person, photo_id=str(k)) for k in range(10)]
    width, height = person.size_wh
    place = {"set": person.source, "x": width / 2, "y": height / 2, "width": width, "height": height, "voice": "plain"}
    names = [scene.photo_id for scene in scenes]
    free = [{**place, "photo": f"{n}.jpg", "long": LONG.format(n), "short": SHORT.format(n)} for n in names]
    absent = [{"set": person.source, "photo": f"{n}.jpg", "text": f"left zebra of {n}"} for n in names]
    phrases = [
        {**place, "photo": f"{n}.jpg", "there": kind == "true", "kind": kind, "text": f"left {kind} {thing}"}
        for n, thing in (("0", "gate"), ("1", "kettle"))
        for kind in ("true", "absent", "absent", "wrong", "implausible")
    ]
    some = Names.of([person] * 6)
    return Maker(scenes, free, absent, some, phrases=phrases, points=4, wanted=12, others=10, cuts=False)


def free(maker: Maker, *, training: bool) -> list[tuple[Example, list[Question]]]:
    """What is asked about photos with free texts."""
    return [(example, some) for example, some in draw(maker, 3, training=training) if some and some[0].kind != "rules"]


def negatives(maker: Maker) -> list[str]:
    examples = [maker.draw((7, k), "free") for k in range(80)]
    some = [wanted.text for one in examples for wanted in one.wanted if wanted.free and not wanted.there]
    return [text for text in some if "zebra" not in text]


def test_long_and_short_texts_are_as_often_negatives(maker: Maker) -> None:
    """A length must not tell which are true."""
    short = sum(text.startswith(("left of", "right of")) for text in negatives(maker))
    assert 0.42 < short / len(negatives(maker)) < 0.58


def test_a_text_in_other_colours_is_not_true(maker: Maker) -> None:
    """The sentence that names the colour is not the one that is left out."""
    recoloured = 0
    for k in range(80):
        example = maker.draw((7, k), "free")
        [own] = {text for text in example.shorts}
        name = own.split()[-1]
        long = {wanted.text for wanted in example.wanted if not wanted.there and f"Photo {name} " in wanted.text}
        recoloured += len(long)
        assert all("red" not in text for text in long)
        sentences = {wanted.text for wanted in example.wanted if not wanted.there}
        assert not sentences & {f"It is left of {name}.", f"It is right of {name}."}
    assert recoloured > 10


def test_each_true_text_has_another_photos_of_its_length(maker: Maker) -> None:
    for _, some in free(maker, training=False):
        questions = [one for one in some if one.kind in ("long", "short", "absent")]
        of_length = Counter((one.kind, one.there) for one in questions)
        assert of_length == {
            ("long", True): 1,
            ("long", False): 1,
            ("short", True): 1,
            ("short", False): 1,
            ("absent", False): 1,
        }
        assert len({one.text for one in questions}) == 5


def test_phrases_of_a_photo_and_of_another(maker: Maker) -> None:
    """Of absent things one alone: the words of these would tell. Others' phrases name what is not here."""
    phrases = [
        [(one.text, one.there) for one in some if one.kind in PHRASES.values()]
        for _, some in free(maker, training=False)
    ]
    for here, elsewhere in (("gate", "kettle"), ("kettle", "gate")):
        own = [(f"left {kind} {here}", kind == "true") for kind in ("true", "wrong", "absent", "implausible")]
        assert [*own, *[(f"left true {elsewhere}", False)] * OTHER_PHRASES] in phrases
    assert sum(map(len, phrases)) == 2 * (4 + OTHER_PHRASES)


def test_a_phrase_that_may_fit_is_not_taken_of_another_photo(maker: Maker) -> None:
    """Nothing in it is new, by what is written or labelled of the photo."""
    maker.free["drawn", "0"][0]["short"] = "the true kettle's lid"
    assert {line["kind"] for line in maker.phrases_about(maker.phrase_keys[0], np.random.default_rng(0))} == set(
        PHRASES
    ) - {"other"}


def test_a_photo_with_phrases_alone_is_asked_about_them(maker: Maker) -> None:
    key = maker.phrase_keys[0]
    maker.free_keys.remove(key)
    del maker.free[key], maker.absent[key]
    texts = [{one.text for one in some} for _, some in free(maker, training=False)]
    assert len(texts) == 10 and any("left true gate" in some and len(some) == 5 for some in texts)


def test_a_side_does_not_tell_what_is_true(maker: Maker) -> None:
    """All texts about a mirrored photo are mirrored, others' as well."""
    sides = []
    for _, questions in free(maker, training=True):
        sides.append({"left" in one.text for one in questions})
    assert len(sides) == 10 and all(len(side) == 1 for side in sides) and len({*map(frozenset, sides)}) == 2


def test_of_the_rules_texts_as_many_fit_as_do_not(maker: Maker) -> None:
    drawn = list(draw(maker, 3, training=True))[RULES_EVERY :: RULES_EVERY + 1]
    assert len(drawn) == 2 and all(some for _, some in drawn)
    for example, some in drawn:
        assert {one.kind for one in some} == {"rules"}
        there = {wanted.text: wanted.there for wanted in example.wanted}
        assert all(there[one.text] == one.there for one in some)
        counts = Counter(one.there for one in some)
        assert counts[False] == sum(not fits for fits in there.values())
        assert counts[True] == min(sum(there.values()), counts[False]) > 0


def test_what_is_read_of_texts_is_what_says_whether_their_things_are_there(maker: Maker, person: Scene) -> None:
    """As for somebody who asks: by the localizer's own prompts, projector and adapter."""
    network = tiny_network(roles=("localizer",))
    side = network.config.vision.image_size
    photo = Image.fromarray(person.photo).resize((side, side))
    example, questions = next(draw(maker, 3, training=False))
    example = replace(example, square=np.array(photo), inside=(0, 0, side, side))
    there_P = there_layers(network)(read_questions(network, example, questions))[:, 0].sigmoid()
    found = PointLocalizer(network).locate(photo, [one.text for one in questions])
    assert there_P.tolist() == pytest.approx([one.there for one in found], abs=1e-4)
    assert there_P.std() > 1e-3


def test_whoever_asks_is_the_localizer_also_beside_a_descriptor(maker: Maker) -> None:
    """Of a checkpoint with both roles, whichever acted before."""
    network = tiny_network()
    with torch.no_grad():
        for name, parameter in network.role_weights("descriptor").items():
            if "lora_B" in name:
                parameter.add_(torch.ones_like(parameter))
    asked = []
    for role in ("descriptor", "localizer"):
        with network.acting_as(role):
            asked.append(ask(network, maker, 3, training=False).read_NF)
            example, questions = next(draw(maker, 3, training=False))
            asked.append(read_questions(network, example, questions))
    assert torch.equal(asked[0], asked[2]) and not torch.allclose(asked[1], asked[3])


@pytest.mark.parametrize("head", ["regression", "pointer"])
def test_a_head_without_the_layers_is_refused(head: str) -> None:
    with pytest.raises(ValueError, match="no localizer with a heatmap"):
        there_layers(tiny_network(roles=("localizer",), head=head))


def test_layers_of_a_frozen_network_learn_whether_a_thing_is_there() -> None:
    layers = there_layers(tiny_network(roles=("localizer",)))
    torch.manual_seed(0)
    there_N = torch.arange(4000) % 2 == 0
    read_NF = torch.randn(4000, layers[0].in_features)
    read_NF[:, :20] = 300 + 10 * there_N[:, None]
    kinds = [("long", "long", "short", "short", "absent", "absent")[k % 6] for k in range(4000)]
    asked = Asked(read_NF=read_NF, there_N=there_N, kind_N=kinds)
    learn(layers, asked)
    lines = list(told(layers, asked))
    assert len(lines) == 4 and all("AUROC 1.000; said to be absent 0.0% of" in line for line in lines)
    assert not any(parameter.requires_grad for parameter in layers.parameters())


def test_what_is_said_is_fitted_to_texts_of_unseen_photos() -> None:
    """True and other ones count the same, however many there are of each."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(1, 1), nn.GELU(), nn.Linear(1, 1))
    with torch.no_grad():
        for layer, weight, bias in ((layers[0], 1.0, 50.0), (layers[2], 4.0, -180.0)):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
    # The layers say 4 z + 20 of a number z. Of a true text z is 1 higher on average: then the log of odds is z - 1/2.
    there_N = torch.rand(40_000) < 0.2
    z_N = torch.randn(40_000) + there_N.float()
    fit(layers, Asked(read_NF=z_N[:, None], there_N=there_N, kind_N=["long"] * 40_000))
    with torch.no_grad():
        said = layers(torch.tensor([[0.0], [1.0], [2.0]]))[:, 0]
    assert said.tolist() == pytest.approx([-0.5, 0.5, 1.5], abs=0.06)


def test_every_kind_of_phrase_is_asked() -> None:
    assert set(PHRASES) == {*PHRASE_KINDS, "other"}


@pytest.mark.parametrize("stage", [localizer, there])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"kind": "true"}, "a line of --phrases has no 'set'"),
        (PHRASE | {"kind": "true", "there": True}, "a line of --phrases has no 'x'"),
        (
            PHRASE | {"kind": "fits", "there": False},
            "a phrase is of kind 'fits'; allowed: true, absent, wrong, implausible",
        ),
    ],
)
def test_bad_phrases_are_one_line(
    person: Scene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stage: ModuleType,
    line: dict[str, Any],
    message: str,
) -> None:
    save_checkpoint(tiny_network(roles=("localizer",), head="heatmap"), tmp_path / "tiny")
    lines, none = tmp_path / "lines.jsonl", tmp_path / "none.jsonl"
    lines.write_text(json.dumps(line))
    none.write_text("")
    monkeypatch.setattr(stage, "read", lambda _: [person])
    words = ["stage", "--scenes", "s", "--texts", str(none), "--absent", str(none), "--phrases", str(lines)]
    words += ["--out", str(tmp_path / "out"), "--base" if stage is localizer else "--model", str(tmp_path / "tiny")]
    words += ["--steps", "1"] if stage is localizer else ["--validation", "v"]
    monkeypatch.setattr(sys, "argv", words)
    with refused(capsys, message):
        stage.main()
