"""Round trips a second: one at a time as the paper's code works, and by our engine.

    python benchmarks/throughput.py > throughput.json

describes 64 points and finds them back on `mini` in one process, (a) in a plain loop that encodes the photo anew for
each point and each role and decodes with transformers' own greedy `generate` and its cache, (b) by the engine, 64
points of one photo, (c) by the engine, a point of each of 64 photos. Model, type and threads are the same.

    python benchmarks/throughput.py --size 7b --random-weights --device cuda > throughput_7b.json

is for a GPU: the engine alone, on random weights of the 7B's sizes, at several batches, beside what the device can do.
`--size qwen3-vl-2b`, `-4b` and `-8b` are the paper's roles over Qwen3-VL of those sizes, photos as squares of 1024 px.
`--size tiny` and `--size qwen3-vl-tiny` try that in little, anywhere.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import numpy as np
import torch
from crops import photos_of, points_of
from PIL import Image

from talking_points import TalkingPoints
from talking_points.bases.base import Base
from talking_points.bases.loading import attach_role
from talking_points.evaluation.run import versions
from talking_points.files import read_json
from talking_points.model.checkpoint import load_checkpoint
from talking_points.model.config import ModelConfig, VisionConfig
from talking_points.model.network import PointNetwork
from talking_points.model.roles import ROLES
from talking_points.photos import letterbox
from talking_points.pointing import descriptor, localizer, role
from talking_points.pointing.encoding import PhotoCache
from talking_points.pointing.pretrained import choose_device, find_checkpoint
from talking_points.points import photo_to_square, square_to_photo

POINTS = 64
TEXT_TOKENS = 110
"""Length of the 7B's texts, which random weights would never end."""
BATCHES = (1, 4, 16, 64, 256)
POINTS_A_PHOTO = (1, 16)
QWEN_SIZES = ("qwen3-vl-2b", "qwen3-vl-4b", "qwen3-vl-8b", "qwen3-vl-tiny")
TINY_QWEN: dict[str, dict[str, Any]] = {
    "text_config": {
        **{"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "head_dim": 16},
    },
    "vision_config": {
        **{"depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32},
        **{"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
    },
}
TINY_VISION: dict[str, Any] = {
    "image_size": 64,
    "trunk_depths": (1, 1, 1, 1),
    "trunk_dims": (8, 16, 16, 32),
    "width": 32,
    "num_heads": 2,
    "pixel_decoder_layers": 1,
    "pixel_decoder_ffn": 32,
    "group_norm_groups": 4,
    "mask_decoder_layers": 3,
    "mask_decoder_ffn": 32,
    "num_queries": 10,
    "num_classes": 4,
    "class_embed_dim": 8,
    "class_embed_prototypes": 2,
}


class Clock:
    """Seconds by stage; the device's work is waited for."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            begun = self.now()
            result = function(*args, **kwargs)
            self.seconds[stage] += self.now() - begun
            return result

        return run

    @contextmanager
    def on(self, *patched: tuple[Any, str, str]) -> Iterator[None]:
        """Time functions of modules, of a module or an object, given as (module, function, stage)."""
        before = [(module, name, getattr(module, name)) for module, name, _ in patched]
        for (module, name, function), (_, _, stage) in zip(before, patched, strict=True):
            setattr(module, name, self.timed(stage, function))
        try:
            yield
        finally:
            for module, name, function in before:
                setattr(module, name, function)


@torch.inference_mode()
def plain_loop(
    network: PointNetwork, photo: Image.Image, points: Sequence[tuple[float, float]], clock: Clock
) -> list[tuple[str, tuple[float, float]]]:
    """One point after the other, everything anew, `generate` of transformers: the way of the paper's code."""
    prompts, llama, parts = network.prompts, network.llama, network.localizer
    assert parts is not None
    side = network.config.vision.image_size

    def encode() -> Any:
        return network.segmenter(torch.from_numpy(letterbox(photo, side))[None].to(network.device))

    encode = clock.timed("vision", encode)
    answers = []
    for point in points:
        features = encode()
        square_112 = torch.tensor(photo_to_square([point], photo.size), dtype=torch.float32)[None]
        with network.acting_as("descriptor"):
            [prefix_TD] = network.photo_prefixes(features, "descriptor")
            suffix_1SD = network.embed([prompts.describe()], network.encode_points(features, square_112)[0])
            embeds_1TD = torch.cat([prefix_TD[None], suffix_1SD], dim=1)
            ids = clock.timed("describe", llama.generate)(
                inputs_embeds=embeds_1TD,
                attention_mask=torch.ones(embeds_1TD.shape[:2], dtype=torch.long),
                do_sample=False,
                max_new_tokens=descriptor.MAX_NEW_TOKENS,
                eos_token_id=prompts.end_id,
            )[0]
        text = prompts.decode(ids.tolist())
        features = encode()
        with network.acting_as("localizer"):
            [prefix_TD] = network.photo_prefixes(features, "localizer")
            suffix = prompts.localize(text)
            suffix_1SD = network.embed([suffix])
            hidden_1SD = clock.timed("localize", llama.model)(
                inputs_embeds=torch.cat([prefix_TD[None], suffix_1SD], dim=1), use_cache=False
            ).last_hidden_state[:, len(prefix_TD) :]
            found = clock.timed("localize", parts)(
                hidden_1SD, network.seg_positions([suffix]), features.decoder_inputs, torch.tensor([0])
            )
        [(x, y)] = square_to_photo(found.points_P2.double().numpy(), photo.size).clip((0, 0), photo.size)
        answers.append((text, (float(x), float(y))))
    return answers


def engine(
    network: Base, photos: Sequence[Image.Image], points: Sequence[Sequence[tuple[float, float]]], clock: Clock
) -> list[tuple[str, tuple[float, float]]]:
    """All at once, nothing kept from before."""
    tp = TalkingPoints.over(network, cache=PhotoCache())
    with clock.on(
        (network, "encode_photos", "vision"),
        (descriptor, "role_prefix", "prefix"),
        (localizer, "role_prefix", "prefix"),
        (network, "generate", "describe"),
        (network, "locate", "localize"),
    ):
        trips = tp.round_trip_many(
            [(photo, point) for photo, some in zip(photos, points, strict=True) for point in some]
        )
    return [(t.description, t.found_px) for t in trips if t.found_px is not None]


def measure(run: Callable[[Clock], Any], device: torch.device, trips: int) -> dict[str, Any]:
    run(Clock(device))  # the first run also pays for allocation
    clock = Clock(device)
    begun = clock.now()
    answers = run(clock)
    seconds = clock.now() - begun
    stages = {name: round(spent, 3) for name, spent in clock.seconds.items()}
    return {
        "answers": answers,
        "seconds": round(seconds, 3),
        "round_trips_a_second": round(trips / seconds, 2),
        "stages_seconds": {**stages, "rest": round(seconds - sum(clock.seconds.values()), 3)},
    }


def compare_with_plain_loop(device: torch.device) -> dict[str, Any]:
    network = load_checkpoint(
        find_checkpoint("mini"), device=device, dtype=torch.float32 if device.type == "cpu" else torch.bfloat16
    )
    photos, points = photos_of(POINTS), points_of(POINTS)
    rows = {
        "a": measure(lambda clock: plain_loop(network, photos[0], points, clock), device, POINTS),
        "b": measure(lambda clock: engine(network, photos[:1], [points], clock), device, POINTS),
        "c": measure(lambda clock: engine(network, photos, [[point] for point in points], clock), device, POINTS),
    }
    plain, ours = rows["a"].pop("answers"), rows["b"].pop("answers")
    rows["c"].pop("answers")
    rate = {name: row["round_trips_a_second"] for name, row in rows.items()}
    return {
        "what": {
            "a": f"plain loop, {POINTS} points of one photo",
            "b": f"engine, {POINTS} points of one photo",
            "c": f"engine, a point of each of {POINTS} photos",
        },
        "rows": rows,
        "ratios": {"b/a": round(rate["b"] / rate["a"], 1), "c/a": round(rate["c"] / rate["a"], 1)},
        "median_words": float(np.median([len(text.split()) for text, _ in ours])),
        "a_and_b_say_the_same": sum(one[0] == other[0] for one, other in zip(plain, ours, strict=True)),
        "a_and_b_differ_by_px": round(
            float(np.abs(np.array([p for _, p in plain]) - np.array([p for _, p in ours])).max()), 4
        ),
    }


def random_base(size: str, device: torch.device) -> Base:
    """Random weights of a size, both adapters over one base."""
    return random_qwen(size, device) if size.startswith("qwen3-vl") else random_network(size, device)


def random_qwen(size: str, device: torch.device) -> Base:
    """The paper's roles over a Qwen3-VL, whose letters are bytes: random weights end no text anyway."""
    # Here and below: the models of transformers take seconds to import, and --help answers at once.
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2VLImageProcessorPil,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
    )

    from talking_points.bases.adapted.checkpoint import SIDE
    from talking_points.bases.adapted.network import QwenNetwork
    from talking_points.bases.adapted.prompts import QwenPrompts
    from talking_points.bases.qwen3_vl import Qwen3VL
    from talking_points.bases.sizes import CONFIGS

    config = Qwen3VLConfig.from_dict(read_json(CONFIGS / f"{size.replace('tiny', '2b')}.json"))
    if size.endswith("tiny"):
        for part, sizes in TINY_QWEN.items():
            for name, value in sizes.items():
                setattr(getattr(config, part), name, value)
        config.text_config.rope_parameters["mrope_section"] = [4, 2, 2]
    torch.manual_seed(0)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = Qwen3VLForConditionalGeneration(config)
        model.tie_weights()
    torch.set_default_dtype(torch.float32)
    letters = {letter: n for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([*QwenPrompts.RESERVED, "<|endoftext|>"])
    processor = Qwen2VLImageProcessorPil(patch_size=16, temporal_patch_size=2, merge_size=2, image_mean=[0.5] * 3)
    processor.image_std = [0.5] * 3
    model = model.to(dtype)
    stock = Qwen3VL(model, PreTrainedTokenizerFast(tokenizer_object=tokenizer), processor, name=size)
    network = QwenNetwork(stock, side=128 if size.endswith("tiny") else SIDE)
    rank = 4 if size.endswith("tiny") else 64
    for name in ROLES:
        attach_role(network, name, rank=rank, alpha=rank, dropout=0.0, head="pointer")
    return network.eval()


def random_network(size: str, device: torch.device) -> PointNetwork:
    """Random weights of the 7B's or of tiny sizes, both adapters over one base."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = load_checkpoint(find_checkpoint("mini"), roles=()).prompts.tokenizer
    if size == "7b":
        vision, rank = VisionConfig(), 512
        llama = LlamaConfig(
            vocab_size=92550,
            hidden_size=4096,
            intermediate_size=14336,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
            rope_theta=1e6,
            max_position_embeddings=32768,
        )
    else:
        vision, rank = VisionConfig(**TINY_VISION), 4
        llama = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    torch.manual_seed(0)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.set_default_dtype(dtype)
    with torch.device(device):
        language = LlamaForCausalLM(llama)
        network = PointNetwork(ModelConfig(name=size, vision=vision), language, tokenizer)
        for name in ROLES:
            attach_role(network, name, rank=rank, alpha=rank // 2, dropout=0.0)
    torch.set_default_dtype(torch.float32)
    network.requires_grad_(False)
    return network.eval().place(device, dtype)


def peaks(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """What the device reaches by itself: a large matrix product and a large copy."""
    clock, n = Clock(device), 8192 if device.type == "cuda" else 1024
    a, b = torch.randn(n, n, device=device, dtype=dtype), torch.randn(n, n, device=device, dtype=dtype)
    large = torch.empty(2**30 if device.type == "cuda" else 2**26, dtype=torch.uint8, device=device)
    best = {"flop_a_second": 0.0, "bytes_a_second": 0.0}
    for _ in range(5):
        begun = clock.now()
        a @ b
        best["flop_a_second"] = max(best["flop_a_second"], 2 * n**3 / (clock.now() - begun))
        begun = clock.now()
        large.clone()
        best["bytes_a_second"] = max(best["bytes_a_second"], 2 * len(large) / (clock.now() - begun))
    return best


def grow(size: str, device: torch.device) -> dict[str, Any]:
    network = random_base(size, device)
    # Random weights end a text at once or never: all have the same length.
    network.prompts.end_id = -1
    descriptor.MAX_NEW_TOKENS = TEXT_TOKENS
    role.MOST_AT_ONCE = max(BATCHES)
    # As a checkpoint has them, with both adapters.
    adapters = sum(p.numel() for name, p in network.role_weights("descriptor").items() if ".lora_" in name)
    weights = network.sizes.linear + network.sizes.vocabulary * network.sizes.width + adapters
    weight_bytes = weights * network.dtype.itemsize
    rows = []
    for a_photo in POINTS_A_PHOTO:
        for batch in BATCHES:
            if batch < a_photo:
                continue
            photos, points = photos_of(batch // a_photo), points_of(a_photo)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            try:
                row = measure(lambda clock, p=photos, q=points: engine(network, p, [q] * len(p), clock), device, batch)
            except torch.OutOfMemoryError:
                rows.append({"batch": batch, "points_a_photo": a_photo, "out_of_memory": True})
                continue
            row.pop("answers")
            decode = row["stages_seconds"]["describe"]
            peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
            rows.append(
                {
                    "batch": batch,
                    "points_a_photo": a_photo,
                    **row,
                    # A decoding step reads all weights once for the whole batch.
                    "decode_flop_a_second": 2 * weights * TEXT_TOKENS * batch / decode,
                    "decode_weight_bytes_a_second": weight_bytes * TEXT_TOKENS / decode,
                    "peak_memory_gib": round(peak / 2**30, 2),
                }
            )
    return {
        "text_tokens": TEXT_TOKENS,
        "language_weights": weights,
        "peaks": peaks(device, network.dtype),
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("mini", "7b", "tiny", *QWEN_SIZES), default="mini")
    parser.add_argument("--random-weights", action="store_true", help="needed for every size but mini")
    parser.add_argument("--device", default=None)
    given = parser.parse_args()
    if (given.size == "mini") == given.random_weights:
        parser.error("mini comes with its weights; --size 7b and tiny need --random-weights")
    try:
        device = choose_device(given.device)
    except ValueError as error:
        parser.error(str(error))
    result = compare_with_plain_loop(device) if given.size == "mini" else grow(given.size, device)
    on_gpu = device.type == "cuda"
    header = {
        "command": " ".join(sys.argv),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}",
        "device": torch.cuda.get_device_name(device) if on_gpu else f"cpu, {torch.get_num_threads()} threads",
        "versions": versions(),
        "peak_resident_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    print(json.dumps({**header, **result}, indent=2))


if __name__ == "__main__":
    main()
