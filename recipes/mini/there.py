"""Whether what a text names is there, learned last, over everything frozen: `python -m recipes.mini.there`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import get_ident

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.mini.examples import (
    LENGTHS,
    LOCALIZER_DIALECTS,
    MISSPELT,
    Example,
    Maker,
    mirrored_text,
    misspelt,
    read_lines,
)
from recipes.mini.found import auroc
from recipes.mini.layers import learn_layers
from recipes.mini.learn import normalised
from recipes.mini.scenes import read
from recipes.mini.seed import read_names
from talking_points.dataset.scene_edits import mirror
from talking_points.memory import keep_freed_memory
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.network import PointNetwork
from talking_points.progress import Progress, one_line

LINES, ABSENT = 2, 4
"""Of a photo with free texts: points whose texts are asked about; texts of `--absent`."""
PHRASES = {
    "true": "phrase",
    "absent": "absent thing",
    "wrong": "wrong part or look",
    "implausible": "implausible thing",
    "other": "other photo's",
}
"""Kinds of the files' phrases, and of others', to kinds of questions."""
RULES_EVERY = 5
"""A labelled photo with the rules' texts comes after so many with free ones."""
POINTS, WANTED = 6, 16
"""Of a labelled photo: points drawn; texts drawn about them and about what is not there, some of them asked."""
THREADS, WINDOW = 2, 16
"""Photos read at once, and drawn before they are. With OMP_NUM_THREADS=1 each thread keeps a core busy."""
LAYERS = {"epochs": 40, "rate": 2e-3, "dropout": 0.2}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Texts and what the layers read of them."""

    read_NF: Tensor
    there_N: Tensor
    """bool."""
    kind_N: list[str]
    """As of a `Question`."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A text, and whether what it names is in the photo."""

    text: str
    there: bool
    kind: str
    """One of `LENGTHS` of a free text; "absent" of one of `--absent`; "rules" of the rules' and of a name alone.

    Of a phrase a value of `PHRASES`.
    """


def questions_about(
    maker: Maker, key: tuple[str, str], rng: np.random.Generator, *, mirrored: bool, misspelling: bool
) -> list[Question]:
    """A photo's own texts, for each another photo's of the same length, some that do not fit it, and its phrases.

    Args:
        mirrored: the photo is; all texts are then, so that no word for a side tells.
        misspelling: of the phrases some have a slip of the keys.
    """
    lines = [maker.free[key][k] for k in rng.permutation(len(maker.free[key]))[:LINES]]
    asked = [Question(text=line[length], there=True, kind=length) for line in lines for length in LENGTHS]
    asked += [Question(text=maker.other_text(key, one.kind, rng), there=False, kind=one.kind) for one in list(asked)]
    absent = maker.absent[key]
    asked += [Question(text=absent[k], there=False, kind="absent") for k in rng.permutation(len(absent))[:ABSENT]]
    for line in maker.phrases_about(key, rng) if key in maker.phrases else ():
        asked.append(Question(text=line["text"], there=line["there"], kind=PHRASES[line["kind"]]))
    if mirrored:
        asked = [replace(one, text=mirrored_text(one.text)) for one in asked]
    if misspelling:
        slips = [one.kind in PHRASES.values() and rng.random() < MISSPELT for one in asked]
        asked = [
            replace(one, text=misspelt(one.text, rng)) if slip else one for one, slip in zip(asked, slips, strict=True)
        ]
    return asked


def rules_questions(example: Example, rng: np.random.Generator) -> list[Question]:
    """The rules' texts about a labelled photo, each once: those that do not fit, and no more that do."""
    there = {wanted.text: wanted.there for wanted in example.wanted}
    yes, no = ([text for text, fits in there.items() if fits is one] for one in (True, False))
    yes = [yes[k] for k in rng.permutation(len(yes))[: len(no)]]
    return [Question(text=text, there=there[text], kind="rules") for text in (*yes, *no)]


def draw(maker: Maker, seed: int, *, training: bool) -> Iterator[tuple[Example, list[Question]]]:
    """Every photo of which texts were written, once; in training half of them mirrored, with labelled ones between."""
    rng = np.random.default_rng(seed)
    keys = written_of(maker)
    for done, k in enumerate(rng.permutation(len(keys)), 1):
        key = keys[k]
        mirrored = training and rng.random() < 0.5
        scene = maker.of_photo[key]
        example, _ = maker._square(mirror(scene) if mirrored else scene, rng)
        yield example, questions_about(maker, key, rng, mirrored=mirrored, misspelling=training)
        if training and done % RULES_EVERY == 0:
            example = maker.draw((seed, done), "whole")
            yield example, rules_questions(example, rng)


def written_of(maker: Maker) -> list[tuple[str, str]]:
    """Set and photo of the photos with free texts or phrases."""
    return sorted({*maker.free_keys, *maker.phrase_keys})


@torch.no_grad()
def read_questions(network: PointNetwork, example: Example, questions: list[Question]) -> Tensor:
    """(P, F): what the layers that say whether a thing is there read of questions about a photo."""
    read: list[Tensor] = []
    thread = get_ident()

    def keep(_: nn.Module, given: tuple[Tensor]) -> None:
        if get_ident() == thread:  # others may read with the same network
            read.append(given[0])

    hook = there_layers(network).register_forward_pre_hook(keep)
    square, inside = torch.from_numpy(example.square)[None], torch.tensor([example.inside])
    features = network.encode_photos(normalised(square, inside, jitter=False))
    _, prefix = network.read_prefix(*network.embed_prefix(features, "localizer"))
    photo_P = torch.zeros(len(questions), dtype=torch.long)
    network.locate(features, prefix, photo_P, [network.prompts.localize(one.text) for one in questions])
    hook.remove()
    return torch.cat(read)


def there_layers(network: PointNetwork) -> nn.Sequential:
    """Of the localizer's head, a heatmap.

    Raises:
        ValueError: there is none.
    """
    layers = None if network.localizer is None else getattr(network.localizer.head.ours, "there", None)
    if not isinstance(layers, nn.Sequential):
        raise ValueError("the checkpoint has no localizer with a heatmap; give one that has, as mini does")
    return layers


def ask(network: PointNetwork, maker: Maker, seed: int, *, training: bool) -> Asked:
    """Read every question that is drawn, photos side by side."""
    read: list[Tensor] = []
    questions: list[Question] = []
    photos = len(written_of(maker))
    photos += photos // RULES_EVERY if training else 0
    drawn, done = draw(maker, seed, training=training), 0
    with (
        Progress(lambda line: print(line, flush=True)) as progress,
        ThreadPoolExecutor(THREADS) as pool,
        # As for somebody who asks: else another role's adapter, which the checkpoint may hold, too, would read.
        network.acting_as("localizer"),
    ):
        while window := list(islice(drawn, WINDOW)):
            done += len(window)
            window = [(example, some) for example, some in window if some]
            read += pool.map(lambda one: read_questions(network, *one), window)
            questions += [one for _, some in window for one in some]
            progress.show("photos", done, photos)
    return Asked(
        read_NF=torch.cat(read),
        there_N=torch.tensor([one.there for one in questions]),
        kind_N=[one.kind for one in questions],
    )


def learn(layers: nn.Sequential, asked: Asked) -> None:
    """Teach the layers anew, from random weights."""
    layers.requires_grad_(True)
    for layer in layers:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()

    def loss(out: Tensor, some: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out[:, 0], asked.there_N[some].float())

    learn_layers(layers, asked.read_NF, loss, **LAYERS)
    layers.requires_grad_(False)


def platt(said_N: NDArray[np.float64], is_true_N: NDArray[np.bool_]) -> tuple[float, float]:
    """Scale and shift that make what is said log odds, where true and other texts weigh the same.

    Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    weight_N = np.where(is_true_N, 0.5 / is_true_N.sum(), 0.5 / (~is_true_N).sum())
    sign_N = np.where(is_true_N, 1.0, -1.0)

    def cross_entropy(scale_shift: NDArray[np.float64]) -> float:
        return float(weight_N @ np.logaddexp(0, -sign_N * (scale_shift[0] * said_N + scale_shift[1])))

    scale, shift = minimize(cross_entropy, (1.0, 0.0), tol=1e-10).x
    return float(scale), float(shift)


@torch.no_grad()
def fit(layers: nn.Sequential, asked: Asked) -> None:
    """Scale and shift what the layers say to what is so of texts about photos that they have not seen."""
    scale, shift = platt(layers(asked.read_NF)[:, 0].double().numpy(), asked.there_N.numpy())
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    last.weight *= scale
    last.bias.mul_(scale).add_(shift)


@torch.no_grad()
def told(layers: nn.Sequential, asked: Asked) -> Iterator[str]:
    """How well true texts are told from those that do not fit: for each kind of these, against true ones like them."""
    said_N, there_N = layers(asked.read_NF)[:, 0].numpy(), asked.there_N.numpy()
    kind_N = np.array(asked.kind_N)
    for title, of_yes, of_no in (
        ("long, other photos'", ("long",), ("long",)),
        ("short, other photos'", ("short",), ("short",)),
        ("both", LENGTHS, LENGTHS),
        ("both, absent things'", LENGTHS, ("absent",)),
        ("phrases, absent things'", ("phrase",), ("absent thing",)),
        ("phrases, a wrong part or look", ("phrase",), ("wrong part or look",)),
        ("phrases, implausible things'", ("phrase",), ("implausible thing",)),
        ("phrases, other photos'", ("phrase",), ("other photo's",)),
    ):
        yes, no = said_N[there_N & np.isin(kind_N, of_yes)], said_N[~there_N & np.isin(kind_N, of_no)]
        if not len(no):  # nothing need be known not to fit
            continue
        score = auroc(yes, no)
        yield (
            f"{title}: AUROC {score:.3f}; said to be absent {100 * (yes < 0).mean():.1f}% of {len(yes)} true ones, "
            f"{100 * (no < 0).mean():.1f}% of {len(no)} others"
        )


def main() -> None:
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="checkpoint with a localizer")
    parser.add_argument("--scenes", type=Path, nargs="+", required=True)
    parser.add_argument("--validation", type=Path, nargs="+", required=True, help="scenes of the val split")
    parser.add_argument("--texts", type=Path, nargs="+", required=True, help="of the photos of both")
    parser.add_argument("--absent", type=Path, nargs="+", required=True)
    parser.add_argument("--phrases", type=Path, nargs="+", required=True, help="that fit a photo, and that do not")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint, else as it was")
    given = parser.parse_args()
    try:
        network = load_checkpoint(given.model).eval()
        layers = there_layers(network)
        free, absent, phrases = read_lines(given.texts), read_lines(given.absent), read_lines(given.phrases)
        scenes, unseen = (
            [scene for path in paths for scene in read(path)] for paths in (given.scenes, given.validation)
        )
        drawn = {"phrases": phrases, "points": POINTS, "wanted": WANTED}
        makers = [
            Maker(some, free, absent, read_names(), **drawn, dialects=LOCALIZER_DIALECTS) for some in (scenes, unseen)
        ]
        if any(min(len(maker.free_keys), len(maker.phrase_keys)) < 2 for maker in makers):
            raise ValueError(
                "--texts or --phrases are of fewer than two photos of --scenes or of --validation; give more"
            )
    except (ValueError, OSError) as error:
        parser.error(one_line(error))
    torch.manual_seed(given.seed)
    asked, checked = (ask(network, maker, given.seed, training=maker is makers[0]) for maker in makers)
    print("before:", *told(layers, checked), sep="\n")
    learn(layers, asked)
    fit(layers, checked)
    save_checkpoint(network, given.out, dtype=torch.float16)
    print(f"{given.out}, fitted to these texts:", *told(layers, checked), sep="\n")


if __name__ == "__main__":
    main()
