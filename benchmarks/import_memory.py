"""How much memory the import of OMG-LLaVA takes at its real size, on files of random numbers.

    python benchmarks/import_memory.py --folder /some/disk > import_memory.json

makes a set of published files of the 7B's sizes in `--folder` (26 GB; the import writes 17 GB more), imports
it in a process of its own, and prints the peaks of that process's memory as JSON. `--layers 2` tries it in
little (10 GB). The exit status is 0 only when the peak is below `--limit-gib`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import mmap
import os
import platform
import shutil
import string
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from talking_points.model.config import VisionConfig
from talking_points.model.localizer_head import TextToVision
from talking_points.model.projector import Projector
from talking_points.model.segmenter import Segmenter
from talking_points.omg_llava.names import PROJECTOR, SEGMENTER, TEXT_TO_VISION, Table, published_name
from talking_points.omg_llava.weight_files import write_shards

GIB = 2**30
CHAT_TOKENS = (
    "<|plugin|>",
    "<|interpreter|>",
    "<|action_end|>",
    "<|action_start|>",
    "<|im_end|>",
    "<|im_start|>",
)
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Of the published files. Defaults are OMG-LLaVA 7B's."""

    layers: int = 32
    width: int = 4096
    inner: int = 14336
    heads: int = 32
    key_value_heads: int = 8
    vocabulary: int = 92544
    rank: int = 512
    vision: VisionConfig = field(default_factory=VisionConfig)


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFiles:
    """Arguments of the import."""

    llm: Path
    segmenter: Path
    class_embed: Path
    llava: Path


def write_published_files(folder: Path, sizes: Sizes) -> PublishedFiles:
    """Write a set of published files of random numbers: names, shapes, dtypes and forms as the real ones."""
    files = PublishedFiles(
        llm=folder / "internlm2-chat",
        segmenter=folder / "omg_seg.pth",
        class_embed=folder / "class_embed.pth",
        llava=folder / "omg_llava.pth",
    )
    files.llm.mkdir(parents=True)
    linears = _linear_shapes(sizes)
    layers = range(sizes.layers)
    norms = [f"model.layers.{i}.{norm}" for i in layers for norm in ("attention_norm", "ffn_norm")] + ["model.norm"]
    vocabulary = (sizes.vocabulary, sizes.width)
    base: Shapes = {"model.tok_embeddings": vocabulary, **linears, **dict.fromkeys(norms, (sizes.width,))}
    shards = [{name: base.pop(name) for name in list(base) if name.startswith(f"model.layers.{i}.")} for i in layers]
    shards.append({**base, "output": vocabulary})
    noise = ({f"{name}.weight": _noise(shape).bfloat16() for name, shape in shard.items()} for shard in shards)
    write_shards(files.llm, noise, len(shards))
    _write_json(files.llm / "config.json", _internlm2_config(sizes))
    write_tokenizer(files.llm, sizes.vocabulary)

    trained = (sizes.vocabulary + 4, sizes.width)
    llava: Shapes = {
        "llm.base_model.model.model.tok_embeddings.weight": trained,
        "llm.base_model.model.output.base_layer.weight": trained,
    }
    for name, (rows, columns) in {**linears, "output": trained}.items():
        llava[f"llm.base_model.model.{name}.lora_A.default.weight"] = (sizes.rank, columns)
        llava[f"llm.base_model.model.{name}.lora_B.default.weight"] = (rows, sizes.rank)
    vision = sizes.vision
    with torch.device("meta"):
        projector = Projector(vision, sizes.width)
        to_vision = TextToVision(sizes.width, 2 * vision.width)
        segmenter = Segmenter(vision)
    llava |= _published_shapes(projector, PROJECTOR) | _published_shapes(to_vision, TEXT_TO_VISION)
    _write_pickle(files.llava, llava)
    shapes = _published_shapes(segmenter, SEGMENTER)
    class_shape = shapes.pop("mask_decoder.class_embed")
    _write_pickle(files.segmenter, shapes, wrapped=True)
    torch.save(torch.nn.functional.normalize(_noise(class_shape), dim=-1), files.class_embed)
    return files


def write_tokenizer(folder: Path, vocabulary: int) -> None:
    """A sentencepiece BPE model of InternLM2's form, of that many pieces: letters joined in every way."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    kind = model.SentencePiece
    model.trainer_spec.model_type = model.trainer_spec.BPE
    model.trainer_spec.vocab_size = vocabulary
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False

    def add(piece: str, type: int) -> None:
        score = 0.0 if type != kind.NORMAL else -float(len(model.pieces))
        model.pieces.add(piece=piece, score=score, type=type)

    add("<unk>", kind.UNKNOWN)
    add("<s>", kind.CONTROL)
    add("</s>", kind.CONTROL)
    for byte in range(256):
        add(f"<0x{byte:02X}>", kind.BYTE)
    room = vocabulary - len(CHAT_TOKENS) - len(model.pieces)
    for piece in itertools.islice(_words(), room):
        add(piece, kind.NORMAL)
    unused = len(model.pieces)
    for number in range(len(CHAT_TOKENS)):
        add(f"[UNUSED_TOKEN_{number}]", kind.USER_DEFINED)
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    added = {"<unk>": 0, "<s>": 1, "</s>": 2} | {name: unused + n for n, name in enumerate(CHAT_TOKENS)}
    config = {
        "added_tokens_decoder": {str(id): {"content": name, "special": True} for name, id in added.items()},
        "additional_special_tokens": list(CHAT_TOKENS),
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "</s>",
        "add_bos_token": True,
        "add_eos_token": False,
    }
    _write_json(folder / "tokenizer_config.json", config)


def measure(files: PublishedFiles, out: Path, *, dtype: str) -> dict[str, float | None]:
    """Import in a new process; its peaks in GiB and its seconds."""
    arguments = {name: str(path) for name, path in asdict(files).items()} | {"out": str(out)}
    code = (
        "import json, sys; from pathlib import Path; "
        "from talking_points.omg_llava.importing import import_omg_llava; "
        "import_omg_llava(dtype=sys.argv[2], **{k: Path(v) for k, v in json.loads(sys.argv[1]).items()})"
    )
    start = time.monotonic()
    child = subprocess.Popen([sys.executable, "-c", code, json.dumps(arguments), dtype])
    peaks: dict[str, int] = {}
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(child.pid, peaks, ended))
    watcher.start()
    _, status, usage = os.wait4(child.pid, 0)
    ended.set()
    watcher.join()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"the import failed with status {child.returncode}")
    # Linux counts ru_maxrss in KiB, macOS in bytes. Mapped pages of the files that are open count in it.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "seconds": round(time.monotonic() - start, 1),
        "peak_resident_gib": round(usage.ru_maxrss * unit / GIB, 2),
        "peak_anonymous_gib": round(peaks["RssAnon"] / GIB, 2) if "RssAnon" in peaks else None,
        "peak_mapped_gib": round(peaks["RssFile"] / GIB, 2) if "RssFile" in peaks else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the files go; must not exist")
    parser.add_argument("--layers", type=int, default=32, help="layers of the language model (32: the 7B)")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--limit-gib", type=float, default=8.0)
    parser.add_argument("--keep", action="store_true", help="leave the files there")
    parser.add_argument("--only-make", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes, published = Sizes(layers=options.layers), options.folder / "published"
    if options.only_make:
        write_published_files(published, sizes)
        return 0
    if options.folder.exists():
        parser.error(f"{options.folder} exists; name a folder to be made")
    try:
        # In a process of its own: a child's ru_maxrss starts from what its parent held.
        make = [
            sys.executable,
            __file__,
            "--folder",
            str(options.folder),
            "--layers",
            str(sizes.layers),
            "--only-make",
        ]
        subprocess.run(make, check=True)
        files = PublishedFiles(
            llm=published / "internlm2-chat",
            segmenter=published / "omg_seg.pth",
            class_embed=published / "class_embed.pth",
            llava=published / "omg_llava.pth",
        )
        peaks = measure(files, options.folder / "imported", dtype=options.dtype)
        report = {
            "command": sys.argv,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "sizes": asdict(sizes),
            "dtype": options.dtype,
            "published_gib": _gib(published),
            "imported_gib": _gib(options.folder / "imported"),
            **peaks,
            "limit_gib": options.limit_gib,
            "within_limit": peaks["peak_resident_gib"] < options.limit_gib,
            "machine": f"{platform.platform()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "torch": torch.__version__,
        }
        print(json.dumps(report, indent=2))
        return 0 if report["within_limit"] else 1
    finally:
        if not options.keep:
            shutil.rmtree(options.folder, ignore_errors=True)


def _linear_shapes(sizes: Sizes) -> dict[str, tuple[int, int]]:
    width, inner = sizes.width, sizes.inner
    fused = (sizes.heads + 2 * sizes.key_value_heads) * (width // sizes.heads)
    shapes = {
        "attention.wqkv": (fused, width),
        "attention.wo": (width, width),
        "feed_forward.w1": (inner, width),
        "feed_forward.w3": (inner, width),
        "feed_forward.w2": (width, inner),
    }
    return {f"model.layers.{i}.{name}": shape for i in range(sizes.layers) for name, shape in shapes.items()}


def _internlm2_config(sizes: Sizes) -> dict[str, Any]:
    return {
        "model_type": "internlm2",
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.inner,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_value_heads,
        "max_position_embeddings": 32768,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0,
        "rope_scaling": {"type": "dynamic", "factor": 2.0},
        "bias": False,
        "tie_word_embeddings": False,
    }


def _published_shapes(module: torch.nn.Module, names: Table) -> Shapes:
    return {published_name(name, names): tuple(t.shape) for name, t in module.state_dict().items()}


_NOISE = 0.02 * torch.randn(2**22 + 1, generator=torch.Generator().manual_seed(0))


def _noise(shape: tuple[int, ...]) -> Tensor:
    """One block of random numbers, repeated: making 8e9 takes long. Its length is odd, so rows differ."""
    count = torch.Size(shape).numel()
    return _NOISE.repeat(count // len(_NOISE) + 1)[:count].view(shape)


def _write_pickle(path: Path, shapes: Shapes, *, wrapped: bool = False) -> None:
    """torch.save's form in fp32, filled through a map of the file: the 7B's 8 GB are not held in memory."""
    empty = {name: torch.empty(shape) for name, shape in shapes.items()}
    with torch.serialization.skip_data():
        torch.save({"meta": {}, "state_dict": empty} if wrapped else empty, path)
    with torch.serialization.set_default_mmap_options(mmap.MAP_SHARED):
        loaded = torch.load(path, weights_only=True, mmap=True)
    for tensor in (loaded["state_dict"] if wrapped else loaded).values():
        flat = tensor.view(-1)
        for start in range(0, len(flat), len(_NOISE)):
            flat[start : start + len(_NOISE)] = _NOISE[: len(flat) - start]


def _words() -> Iterator[str]:
    """Pieces that each join two earlier ones: every word of letters, with and without a space before it."""
    yield "\u2581"
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            yield "".join(letters)
            yield "\u2581" + "".join(letters)


def _watch(pid: int, peaks: dict[str, int], ended: threading.Event) -> None:
    """Keep the largest RssAnon and RssFile, in bytes. Linux; elsewhere nothing is kept."""
    while not ended.wait(0.05):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return
        for line in lines:
            key, _, value = line.partition(":")
            if key in ("RssAnon", "RssFile"):
                peaks[key] = max(peaks.get(key, 0), int(value.split()[0]) * 1024)


def _gib(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / GIB, 2)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
