"""Trainings of roles over a tiny random Qwen3-VL, by the functions that the commands call."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from talking_points.bases.adapted.network import QwenNetwork
from talking_points.bases.loading import load_base, load_joined
from talking_points.evaluation.samples import Sample
from talking_points.model.weights import read_tensors
from talking_points.photos import open_photo
from talking_points.pointing.localizer import PointLocalizer
from talking_points.pointing.prepared import PreparedPhoto
from talking_points.training import watching
from talking_points.training.batches import PointBatches
from talking_points.training.policy import Policy
from talking_points.training.reinforce import CachedBase, grpo_objective, train_grpo
from talking_points.training.roles import train_role
from talking_points.training.settings import DescriptorSettings, GRPOSettings, LocalizerSettings
from tests.bases.tiny_qwen import write_tiny
from tests.processes import exit_code_of, launch

pytestmark = pytest.mark.usefixtures("short_texts")

SIDE = 128
ADAPTER = "adapter_model.safetensors"
ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT / "src" / "talking_points" / "demo_photos"
WORDS = ("one", "two", "three", "four", "five", "six")


def real_samples() -> list[Sample]:
    """Six points anywhere on each of eight photos: the demo's five, and a quarter of three; the texts are the same."""
    rng = np.random.default_rng(0)
    wholes = {path.stem: open_photo(path) for path in sorted(PHOTOS.glob("*.jpg"))}
    quarters = {f"{name}, a quarter": one.crop((0, 0, one.width // 2, one.height // 2)) for name, one in wholes.items()}
    samples = []
    for name, whole in [*wholes.items(), *list(quarters.items())[:3]]:
        photo = whole.resize((SIDE, SIDE))
        for word in WORDS:
            x, y = rng.uniform(0.05 * SIDE, 0.95 * SIDE, 2)
            samples.append(
                Sample(
                    sample_id=f"{name} {word}",
                    photo_id=name,
                    open_photo=photo.copy,
                    size_wh=photo.size,
                    point_px=(float(x), float(y)),
                    text=word,
                )
            )
    return samples


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = ("Find the point of this description: ", "The point is ", "user", "assistant")
    return write_tiny(tmp_path_factory.mktemp("qwen") / "tiny", words=(*asked, *WORDS))


def told(kind: Any, base: Path, out: Path, **changes: Any) -> Any:
    usual: dict[str, Any] = {"base": str(base), "out": out, "side": SIDE, "photos": 8, "points": 6, "workers": 0}
    usual |= {"lora_rank": 32, "lora_alpha": 32, "lora_dropout": 0.0, "device": "cpu", "log_every": 1}
    return kind(**{**usual, **changes})


def errors(checkpoint: Path, samples: list[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) distances in the photo's [0, 1]^2, and (N, 2) what was found."""
    found = PointLocalizer(load_base(checkpoint)).locate_many([(s.open_photo(), s.text or "") for s in samples])
    found_N2 = np.array([one.point_px for one in found]) / SIDE
    return np.linalg.norm(found_N2 - np.array([s.point_unit for s in samples]), axis=1), found_N2


@pytest.mark.parametrize(("head", "steps"), [("regression", 150), ("pointer", 250)])
def test_it_learns_points_that_only_the_photo_tells(base: Path, tmp_path: Path, head: str, steps: int) -> None:
    """Four real photos with the same six texts: all found again, by the regression and by the pointer."""
    samples = few(4)
    settings = told(
        LocalizerSettings,
        base,
        tmp_path,
        head=head,
        steps=steps,
        photos=4,
        learning_rate=3e-3,
        feature_cache=tmp_path / "kept",
    )
    assert train_role(settings, samples)
    distances, _ = errors(tmp_path / "checkpoint", samples)
    assert (distances < 0.1).all()


def test_its_blind_twin_gains_nothing(base: Path, tmp_path: Path) -> None:
    """It answers a text in one place on all photos, and finds no more than the best such place would."""
    samples = real_samples()
    settings = told(LocalizerSettings, base, tmp_path, head="pointer", blind=True, steps=60, learning_rate=3e-3)
    assert train_role(settings, samples)
    distances, found_N2 = errors(tmp_path / "checkpoint", samples)
    of_word = found_N2.reshape(8, 6, 2)
    assert np.ptp(of_word, axis=0).max() < 0.01
    true = np.array([s.point_unit for s in samples]).reshape(8, 6, 2)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 101)] * 2), axis=-1).reshape(-1, 1, 2)
    best = [int((np.linalg.norm(grid - true[:, k], axis=-1) < 0.1).sum(1).max()) for k in range(6)]
    assert sum(best) < 20 and (distances < 0.1).sum() <= sum(best)


def few(count: int) -> list[Sample]:
    return real_samples()[: 6 * count]


def train_some(base: Path, out: Path, role: str, *, die_at: int | None = None) -> bool:
    """Six steps of a role, optionally killed after one of them."""

    def on_step(done: int, _: Any) -> bool:
        if done == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    kind, own = (DescriptorSettings, {}) if role == "descriptor" else (LocalizerSettings, {"head": "pointer"})
    settings = told(kind, base, out, steps=6, photos=2, save_every=2, lora_dropout=0.1, learning_rate=1e-3, **own)
    return train_role(settings, few(4), on_step=on_step)


@pytest.fixture(scope="module")
def roles(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Checkpoints with a descriptor and with a localizer, of trainings that nothing disturbed; not to be written to."""
    out = tmp_path_factory.mktemp("roles")
    for role in ("descriptor", "localizer"):
        assert train_some(base, out / role, role)
    return out / "descriptor" / "checkpoint", out / "localizer" / "checkpoint"


@pytest.mark.parametrize("role", ["descriptor", "localizer"])
def test_killed_and_started_again_is_as_if_never_killed(
    base: Path, roles: tuple[Path, Path], tmp_path: Path, role: str
) -> None:
    assert exit_code_of(partial(train_some, die_at=3), base, tmp_path / "cut", role) == -signal.SIGKILL
    assert train_some(base, tmp_path / "cut", role)
    whole = roles[role == "localizer"]
    files = sorted((whole / role).glob("*.safetensors"))
    assert len(files) == 2
    for file in files:
        mine, theirs = read_tensors(tmp_path / "cut" / "checkpoint" / role / file.name), read_tensors(file)
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def train_together(base: Path, out: Path, *, shard: bool = False) -> bool:
    """Three steps of two photos, by as many processes as there are."""
    some = {"steps": 3, "photos": 2, "head": "pointer", "learning_rate": 1e-3, "shard": shard}
    return train_role(told(LocalizerSettings, base, out, feature_cache=out / "kept", **some), few(4))


@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_train_as_one_does(base: Path, tmp_path: Path, shard: bool) -> None:
    """Gradients are those of the whole step, also where the frozen language model lies in shards."""
    assert train_together(base, tmp_path / "one")
    launch(2, partial(train_together, shard=shard), base, tmp_path / "two")
    one, two = (read_tensors(tmp_path / n / "checkpoint" / "localizer" / ADAPTER) for n in ("one", "two"))
    assert one.keys() == two.keys() and any(weight.any() for name, weight in two.items() if "lora_B" in name)
    for name, weight in one.items():
        assert torch.allclose(weight, two[name], atol=1e-4), name


@pytest.mark.parametrize("quantize", [None, "nf4", "int8"])
def test_in_bf16_on_whole_and_quantized_bases(base: Path, tmp_path: Path, quantize: str | None) -> None:
    if quantize is not None:
        pytest.importorskip("bitsandbytes")
    some = {"steps": 2, "photos": 2, "head": "pointer", "precision": "bf16", "recompute": True, "quantize": quantize}
    assert train_role(told(LocalizerSettings, base, tmp_path, learning_rate=1e-3, **some), few(2))
    weights = load_base(tmp_path / "checkpoint").role_weights("localizer")
    assert all(torch.isfinite(p).all() for p in weights.values())
    assert any(p.any() for name, p in weights.items() if "lora_B" in name)


def test_localization_rewards_it(roles: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's own function: photos encoded once for texts and rewards, the base loaded once."""
    monkeypatch.setattr(watching, "MAX_BROKEN", 1.0)  # random weights end no text
    monkeypatch.setattr(watching, "MIN_DISTINCT", 0.0)
    settings = GRPOSettings(
        keypoints=Path("unused"),
        descriptor=str(roles[0]),
        localizer=str(roles[1]),
        out=tmp_path / "rl",
        steps=2,
        photos=2,
        points=2,
        workers=0,
        learning_rate=1e-2,
        evaluate_every=10,
        device="cpu",
    )
    assert train_grpo(settings, (few(2), few(1)))
    reinforced = load_base(tmp_path / "rl" / "checkpoint")
    assert reinforced.roles == ("descriptor", "localizer")
    before = load_base(roles[0]).role_weights("descriptor")
    changed = {name for name, p in reinforced.role_weights("descriptor").items() if not torch.equal(p, before[name])}
    # The last two of three blocks, and nothing but their LoRA.
    assert changed and all(".lora_" in name and ".layers.0." not in name for name in changed)


class EarlySigns(CachedBase):
    """A judge that looks the farther to the right, the more of a text's signs come after the letter m."""

    def find(self, photos: Sequence[PreparedPhoto], asked: Sequence[tuple[int, str]]) -> torch.Tensor:
        places = [float(np.mean([sign > "m" for sign in text])) if text else 0.5 for _, text in asked]
        return torch.tensor([(place, 0.5) for place in places])


def test_what_is_rewarded_becomes_more_likely(roles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    network = load_joined(*roles)
    assert isinstance(network, QwenNetwork)
    with torch.no_grad():
        # At random all letters are equally likely, and little would change that.
        network.language.lm_head.get_parameter("weight").mul_(8)
    policy = Policy(network, blocks=2)
    settings = GRPOSettings(
        keypoints=Path("unused"),
        descriptor="mini",
        localizer="mini",
        out=Path("unused"),
        steps=20,
        photos=1,
        points=2,
        group_size=16,
        reward="distance",
        kl_weight=0.01,
        workers=0,
    )
    batches = PointBatches([replace(one, point_px=(0.0, 64.0)) for one in few(1)], settings, side=SIDE)
    optimizer = torch.optim.Adam(policy.parameters.values(), lr=0.03)
    rewards = []
    for step in range(len(batches)):
        loss, metrics = grpo_objective(policy, batches[step], CachedBase(network), EarlySigns(network), settings)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        rewards.append(metrics["reward"])
    assert np.mean(rewards[-5:]) > np.mean(rewards[:3]) + 0.1
