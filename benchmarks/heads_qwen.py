"""Coordinate heads over one tiny Qwen3-VL, each beside a blind twin.

    python benchmarks/heads_qwen.py --out runs/heads-qwen --json heads_qwen.json

A Qwen3-VL of transformers' own classes and 1.5 million weights is trained from nothing on drawn photos, by naming
what lies at a point, which is no head's own task. Then `talking-points train localizer` trains each head and its blind
twin over it, frozen, on the same texts in the same order, and all find the same points of photos that none has seen.

Photos are drawn: four things of a colour and a shape on a noisy ground. A text names one ("the red circle"); others
share its colour or its shape, so that neither alone finds it. Errors are distances in the photo's normalised
coordinates, intervals 95% bootstraps over photos, gains paired by photo. Whatever is in `--out` is gone on with.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mini_scores import located_figures, table
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn import functional as F

from talking_points.bases.loading import load_base
from talking_points.evaluation.metrics import mpck_difference, normalised_errors
from talking_points.evaluation.run import versions
from talking_points.evaluation.samples import Sample
from talking_points.memory import keep_freed_memory
from talking_points.photos import letterbox
from talking_points.pointing.localizer import PointLocalizer
from talking_points.training.roles import train_role
from talking_points.training.settings import LocalizerSettings

log = logging.getLogger("heads_qwen")

SIDE, THINGS = 256, 4
COLOURS = {
    "red": (200, 40, 40),
    "green": (50, 160, 60),
    "blue": (50, 70, 200),
    "yellow": (225, 205, 50),
    "purple": (140, 60, 170),
}
SHAPES = ("circle", "square", "triangle", "cross")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
POINTING = ("<|video_pad|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>")
HEADS = ("regression", "pointer", "heatmap")
TEST_SEED, TEST_PHOTOS = 10**6, 200
BASE_PHOTOS, HEAD_PHOTOS = 32, 8
"""Photos a step."""


# Photos


def drawn(seed: int) -> tuple[Image.Image, list[tuple[float, float]], list[str]]:
    """A photo, its things' centres in pixels, and their texts: a function of the seed."""
    rng = np.random.default_rng(seed)
    # Two share a colour and two a shape.
    (a, b, c), (s, t, u) = (rng.choice(len(names), 3, replace=False) for names in (COLOURS, SHAPES))
    kinds = [(a, s), (a, t), (b, s), (c, u)]
    ground = rng.normal(rng.integers(90, 170), 22, (SIDE // 4, SIDE // 4, 3)).clip(0, 255).astype(np.uint8)
    photo = Image.fromarray(ground).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(photo)
    centres: list[tuple[float, float]] = []
    for colour, shape in kinds:
        radius = float(rng.uniform(16, 30))
        while True:
            x, y = (float(one) for one in rng.uniform(radius + 2, SIDE - radius - 2, 2))
            if all(np.hypot(x - other_x, y - other_y) > 62 for other_x, other_y in centres):
                break
        fill = tuple(int(one) for one in np.clip(np.array([*COLOURS.values()][colour]) + rng.normal(0, 15, 3), 0, 255))
        box = (x - radius, y - radius, x + radius, y + radius)
        if SHAPES[shape] == "circle":
            draw.ellipse(box, fill)
        elif SHAPES[shape] == "square":
            draw.rectangle(box, fill)
        elif SHAPES[shape] == "triangle":
            draw.polygon([(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)], fill)
        else:
            draw.rectangle((x - radius / 3, y - radius, x + radius / 3, y + radius), fill)
            draw.rectangle((x - radius, y - radius / 3, x + radius, y + radius / 3), fill)
        centres.append((x, y))
    return photo, centres, [f"the {[*COLOURS][colour]} {SHAPES[shape]}" for colour, shape in kinds]


def samples_of(seeds: range) -> list[Sample]:
    return [
        Sample(
            sample_id=f"{seed} {number}",
            photo_id=str(seed),
            open_photo=partial(_photo, seed),
            size_wh=(SIDE, SIDE),
            point_px=point_px,
            text=text,
        )
        for seed in seeds
        for number, (point_px, text) in enumerate(zip(*drawn(seed)[1:], strict=True))
    ]


def _photo(seed: int) -> Image.Image:
    return drawn(seed)[0]


# The base


def write_random(folder: Path) -> None:
    """A folder as Qwen3-VL is published: random weights, a tokenizer of bytes and the words of the texts."""
    # Here, since it takes seconds to import: --help answers at once.
    from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    letters.add_special_tokens([*SPECIAL, *POINTING])
    asked = ("Find the point of this description: ", ". Describe what lies there, so that it can be found again.")
    letters.add_tokens(
        ["The point is ", "\nPoint ", " is at ", "the ", *(f"{one} " for one in COLOURS), *SHAPES, *asked]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=letters,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    id_of = tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        text_config={
            **{"vocab_size": len(tokenizer), "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 4},
            **{"num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 16, "max_position_embeddings": 4096},
            "rope_parameters": {
                **{"rope_type": "default", "rope_theta": 5_000_000.0},
                **{"mrope_section": [4, 2, 2], "mrope_interleaved": True},
            },
        },
        vision_config={
            **{"depth": 4, "hidden_size": 96, "intermediate_size": 256, "num_heads": 6, "out_hidden_size": 96},
            **{"num_position_embeddings": 256, "deepstack_visual_indexes": [1, 2]},
        },
        image_token_id=id_of("<|image_pad|>"),
        video_token_id=id_of("<|video_pad|>"),
        vision_start_token_id=id_of("<|vision_start|>"),
        vision_end_token_id=id_of("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessor = {
        **{"size": {"longest_edge": 16777216, "shortest_edge": 65536}, "patch_size": 16, "temporal_patch_size": 2},
        **{"merge_size": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
        "image_processor_type": "Qwen2VLImageProcessorFast",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))


def train_base(folder: Path, steps: int) -> dict[str, float]:
    """Train all weights to name the thing at a point; returns the shares named right, of the last steps."""
    from talking_points.bases.adapted.checkpoint import network_of

    write_random(folder / "random")
    network = network_of(load_base(folder / "random", side=SIDE, roles=()))
    weights = list(network.stock.model.requires_grad_(True).parameters())
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01)
    question, right = network.prompts.describe(), 0.0
    for step in range(steps):
        done = step / steps
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, step / 100) * (1.0 if done < 0.6 else (1 - done) / 0.4 + 0.02)
        shown = [drawn(step * BASE_PHOTOS + k) for k in range(BASE_PHOTOS)]
        pixels = torch.from_numpy(np.stack([letterbox(photo, SIDE) for photo, _, _ in shown]))
        points = torch.tensor([centres for _, centres, _ in shown], dtype=torch.float32) / SIDE
        prompts = [question + network.prompts.answer(text) for _, _, texts in shown for text in texts]
        features = network.encode_photos(pixels)
        _, prefix = network.read_prefix(*network.embed_prefix(features, "base"))
        marks = network.encode_points(features, points).flatten(0, 1)
        photo = torch.arange(BASE_PHOTOS).repeat_interleave(THINGS)
        hidden = network.read(prefix, photo, network.embed(prompts, marks, role="base"))
        places = [(n, k) for n, ids in enumerate(prompts) for k in range(len(question), len(ids))]
        wanted = torch.tensor([prompts[n][k] for n, k in places])
        logits = network.logits(hidden[[n for n, _ in places], [k - 1 for _, k in places]])
        loss = F.cross_entropy(logits, wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        right += 0.02 * (float((logits.argmax(-1) == wanted).float().mean()) - right)
        if step % 50 == 0 or step + 1 == steps:
            log.info("step %d of %d: loss %.3f, tokens right %.3f", step, steps, loss.item(), right)
    network.stock.model.save_pretrained(folder / "base")
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        (folder / "base" / name).write_bytes((folder / "random" / name).read_bytes())
    return {"steps": steps, "tokens_right": round(right, 4), "weights": sum(one.numel() for one in weights)}


# The heads


def measure(given: argparse.Namespace) -> dict[str, Any]:
    given.out.mkdir(parents=True, exist_ok=True)
    of_base = given.out / "base.json"
    if not of_base.exists():
        of_base.write_text(json.dumps(train_base(given.out, given.base_steps)))
    first = given.base_steps * BASE_PHOTOS
    data = samples_of(range(first, first + given.photos))
    test = samples_of(range(TEST_SEED, TEST_SEED + TEST_PHOTOS))
    ids, errors = [sample.photo_id for sample in test], {}
    for head in HEADS:
        for blind in (False, True):
            name = f"{head}-blind" if blind else head
            log.info("%s", name)
            settings = LocalizerSettings(
                base=str(given.out / "base"),
                out=given.out / name,
                head=head,
                blind=blind,
                side=SIDE,
                steps=given.steps,
                photos=HEAD_PHOTOS,
                points=THINGS,
                learning_rate=2e-3,
                lora_rank=16,
                lora_alpha=16,
                lora_dropout=0.0,
                workers=0,
                device="cpu",
                log_every=100,
            )
            train_role(settings, data)
            localizer = PointLocalizer(load_base(given.out / name / "checkpoint"))
            found = localizer.locate_many([(sample.open_photo(), sample.text or "") for sample in test])
            errors[name] = normalised_errors(
                np.array([one.point_px for one in found]),
                np.array([sample.point_px for sample in test]),
                np.array([sample.size_wh for sample in test]),
            )
    rows = []
    for head in HEADS:
        pair = errors[head], errors[f"{head}-blind"]
        difference, *interval = mpck_difference(*pair, ids)
        seeing, blind = (located_figures(one, ids) for one in pair)
        gain = {"value": round(difference, 2), "ci": [round(one, 2) for one in interval]}
        rows.append({"head": head, **seeing, "blind": blind["mpck"], "gain": gain})
    columns = {"head": "head", "mpck": "mPCK", "pck@0.05": "PCK@0.05", "pck@0.1": "PCK@0.1"}
    columns |= {"blind": "its blind twin, mPCK", "gain": "gain"}
    return {
        "base": json.loads(of_base.read_text()),
        "steps": given.steps,
        "photos": {"train": given.photos, "test": TEST_PHOTOS},
        "points": len(test),
        "rows": rows,
        "table": table(rows, columns),
        "versions": versions(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="base and heads")
    parser.add_argument("--base-steps", type=int, default=1000, metavar="N", help="of 32 photos")
    parser.add_argument("--steps", type=int, default=400, metavar="N", help="of each head, of 8 photos, 4 texts each")
    parser.add_argument("--photos", type=int, default=2000, metavar="N", help="that the heads learn from")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    keep_freed_memory()
    result = measure(given)
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "table"}, indent=1))
    print(result["table"])


if __name__ == "__main__":
    main()
