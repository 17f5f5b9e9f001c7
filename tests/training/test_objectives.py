from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.dataset.keypoints import PointSample
from talking_points.dataset.scene import Scene, class_names
from talking_points.model.hugging_face import attach_role, lora_config
from talking_points.model.localizer_head import LocatedPoints
from talking_points.model.network import PointNetwork
from talking_points.training.base_batches import (
    BaseBatches,
    LanguageBatches,
    TrunkBatches,
    VisionBatches,
    part_map_on_square,
    place_in_boxes,
)
from talking_points.training.batches import BatchSizes, PointBatches
from talking_points.training.mini import fit_projector
from talking_points.training.objectives import (
    NUM_FACT_PLACES,
    FactTokens,
    Probes,
    base_objective,
    descriptor_objective,
    heatmap_loss,
    language_objective,
    localizer_loss,
    localizer_objective,
    place_loss,
    vision_objective,
)
from talking_points.training.roles import role_parameters
from talking_points.training.segmentation import MaskTargets, class_weights, mask_losses, match, prompt_loss
from tests.tiny import tiny_network

SIZES = BatchSizes(photos=2, points=4)


@pytest.fixture(scope="module")
def point_batch(scenes: list[Scene]):  # type: ignore[no-untyped-def]
    return PointBatches(scenes, dialects=("paper", "short"), side=64, sizes=SIZES, seed=3, steps=5)[1]


def test_batches_are_functions_of_seed_and_step(scenes: list[Scene]) -> None:
    def make(seed: int):  # type: ignore[no-untyped-def]
        return PointBatches(scenes, dialects=("paper",), side=64, sizes=SIZES, seed=seed, steps=5)

    one, same, other = make(1)[2], make(1)[2], make(2)[2]
    assert one.texts == same.texts and torch.equal(one.pixels_B3SS, same.pixels_B3SS)
    assert one.texts != other.texts
    assert make(1)[3].texts != one.texts


@pytest.mark.parametrize("kind", [TrunkBatches, VisionBatches, BaseBatches, LanguageBatches])
def test_stages_share_a_step_between_processes(scenes: list[Scene], kind: Any) -> None:
    names, sizes = class_names(scenes), BatchSizes(photos=3, points=2)
    spoken = {"written": "paper", "read": ("paper", "short")} if kind in (BaseBatches, LanguageBatches) else {}
    batches = kind(scenes, names, side=64, sizes=sizes, seed=2, steps=3, **spoken)
    whole, parts = batches[1], [batches.part(1, index, 2) for index in range(2)]
    assert batches.most_parts == 3 and whole.record_ids == batches[1].record_ids != batches[2].record_ids
    assert whole.record_ids == [parts[0].record_ids[0], parts[1].record_ids[0], parts[0].record_ids[1]]
    if kind is LanguageBatches:
        assert whole.read == parts[0].read[:2] + parts[1].read + parts[0].read[2:]
        assert whole.written_about.tolist() == [0, 2, 4] and len(whole.written) == 3
        return
    shown = [batch.vision if kind is BaseBatches else batch for batch in (whole, *parts)]
    assert torch.equal(shown[0].pixels_B3SS[[0, 2]], shown[1].pixels_B3SS)
    assert torch.equal(shown[0].pixels_B3SS[1:2], shown[2].pixels_B3SS)


def test_part_map_on_square_is_letterboxed(scenes: list[Scene]) -> None:
    seen = part_map_on_square(scenes[0], 80)  # an 80x64 photo at its own size: 8 columns of padding on each side
    assert (seen[:, :8] == 0).all() and (seen[:, 72:] == 0).all()
    assert (seen[:, 8:72] == scenes[0].part_map).all()


@pytest.mark.parametrize("sizes", [{"photos": 0}, {"points": 0}])
def test_empty_batches_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="is 0; allowed: at least 1"):
        BatchSizes(**sizes)


def test_match_finds_the_pairs_by_hand() -> None:
    masks = torch.zeros(2, 4, 4)
    masks[0, :2], masks[1, 2:] = 1, 1
    logits = torch.stack([masks[1], torch.zeros(4, 4), masks[0]]) * 8 - 4
    classes = torch.tensor([[0.0, 5, 0], [0, 0, 5], [5, 0, 0]])
    rows, cols = match(logits, classes, MaskTargets(masks_GHW=masks, classes_G=torch.tensor([0, 1])))
    assert dict(zip(cols.tolist(), rows.tolist(), strict=True)) == {0: 2, 1: 0}


def test_mask_losses_by_hand() -> None:
    bce, dice = mask_losses(torch.zeros(1, 2, 2), torch.tensor([[[1.0, 0], [0, 0]]]))
    assert bce.item() == pytest.approx(torch.log(torch.tensor(2.0)).item())
    assert dice.item() == pytest.approx(1 - (2 * 0.5 + 1) / (2 + 1 + 1))


@torch.no_grad()
def test_prompt_loss_by_hand() -> None:
    """A decoder whose answers are given: one point with the right mask and class, one with neither."""
    masks = torch.zeros(1, 2, 4, 4)
    masks[0, 0, :2] = masks[0, 1, 2:] = 1
    told_masks = torch.stack([masks[0, 0], masks[0, 0]])[None] * 40 - 20
    told_classes = torch.tensor([[[9.0, 0, 0], [9.0, 0, 0]]])

    class Told:
        def mask_logits(self, queries, inputs):  # type: ignore[no-untyped-def]
            return told_masks

        def class_logits(self, queries, masks, inputs):  # type: ignore[no-untyped-def]
            return told_classes

    about = (torch.zeros(1, 2, 8), None, masks, torch.tensor([[0, 1]]))
    losses = prompt_loss(Told(), *about, torch.ones(2))  # type: ignore[arg-type]
    assert losses["right"].item() == 0.5
    assert losses["class"].item() == pytest.approx(4.5, abs=0.01)
    rare = prompt_loss(Told(), *about, torch.tensor([1.0, 3.0]))  # type: ignore[arg-type]
    assert rare["class"].item() == pytest.approx(9 * 3 / 4, abs=0.01)
    assert losses["mask"].item() == pytest.approx(10.0, abs=0.01)
    assert losses["dice"].item() == pytest.approx((0 + 1 - 1 / 17) / 2, abs=0.01)


def test_rare_classes_weigh_more(scenes: list[Scene]) -> None:
    scene = scenes[0]
    parts = [dataclasses.replace(scene.parts[0], name="hair")] * 9 + [dataclasses.replace(scene.parts[0], name="hat")]
    found = class_weights([dataclasses.replace(scene, parts=tuple(parts), objects=())], ["hair", "hat", "unseen"])
    assert found[1] / found[0] == pytest.approx(3.0)
    assert found[2] == found[1]
    assert (9 * found[0] + found[1] + found[2]).item() / 11 == pytest.approx(1.0)
    parts = [dataclasses.replace(scene.parts[0], name="hair")] * 999 + [dataclasses.replace(scene.parts[0], name="hat")]
    assert class_weights([dataclasses.replace(scene, parts=tuple(parts), objects=())], ["hair", "hat"])[1] == 4.0


@torch.no_grad()
def test_a_fitted_projector_gives_tokens_as_long_as_words(scenes: list[Scene]) -> None:
    network = tiny_network(roles=())
    fit_projector(network, scenes)
    batch = PointBatches(scenes, dialects=("paper",), side=64, sizes=SIZES, seed=3, steps=5)[0]
    features = network.segmenter(batch.pixels_B3SS)
    word = network.embedding.get_parameter("weight").norm(dim=-1).mean()
    tokens = network.photo_prefixes(features, network.projector)[0][len(network.prompts.prefix()) :]
    for some in (tokens, network.mark_tokens(features, batch.points_BP2)):
        assert 0.5 * word < some.norm(dim=-1).mean() < 2 * word


def test_heatmap_loss_is_least_at_the_point() -> None:
    points = torch.tensor([[0.25, 0.75]])
    x = (torch.arange(8) + 0.5) / 8
    right = -((x[None] - 0.25) ** 2 + (x[:, None] - 0.75) ** 2)[None] / (2 * 0.03**2)
    assert heatmap_loss(right, points) < heatmap_loss(torch.zeros(1, 8, 8), points)
    assert heatmap_loss(torch.zeros(1, 8, 8), points) < heatmap_loss(right.flip(-1), points)


def test_the_papers_head_learns_by_the_mean_squared_error_alone() -> None:
    """Eq. 1 by hand: (0.1^2 + 0.3^2 + 0.2^2 + 0^2) / 4."""
    found, true = torch.tensor([[0.5, 0.5], [0.2, 0.9]]), torch.tensor([[0.4, 0.8], [0.4, 0.9]])
    located = LocatedPoints(points_P2=found, regressed_P2=found, heatmap_logits_Phw=None, temperature=None)
    loss, metrics = localizer_loss(located, true)
    assert loss.item() == pytest.approx(0.035) and metrics == {"mse": pytest.approx(0.035)}


def test_a_heatmap_learns_by_its_own_loss_and_five_times_the_squares() -> None:
    found, true = torch.tensor([[0.5, 0.5], [0.2, 0.9]]), torch.tensor([[0.4, 0.8], [0.4, 0.9]])
    located = LocatedPoints(
        points_P2=true, regressed_P2=found, heatmap_logits_Phw=torch.zeros(2, 4, 4), temperature=torch.ones(())
    )
    loss, metrics = localizer_loss(located, true)
    # Of an even heatmap the cross-entropy is the logarithm of its cells.
    assert metrics == {"mse": pytest.approx(0.035), "heatmap": pytest.approx(math.log(16))}
    assert loss.item() == pytest.approx(5 * 0.035 + math.log(16))


def base_and_names(scenes: list[Scene]) -> tuple[PointNetwork, list[str]]:
    names = class_names(scenes)
    network = tiny_network(roles=())
    decoder = network.segmenter.mask_decoder
    decoder.class_embed = nn.Parameter(F.normalize(torch.randn(len(names), 2, 8), dim=-1))
    network.requires_grad_(True)
    return network, names


def untouched(module: nn.Module) -> list[str]:
    return [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]


def test_every_weight_of_the_base_gets_a_gradient(scenes: list[Scene]) -> None:
    network, names = base_and_names(scenes)
    probes, tokens = Probes(32, len(names)), FactTokens(len(names), network.llama.config.hidden_size)
    tokens.requires_grad_(False)
    batch = BaseBatches(scenes, names, written="paper", read=("short",), side=64, sizes=SIZES, seed=0, steps=5)[0]
    assert batch.written != batch.read
    reader = nn.Linear(network.llama.config.hidden_size, NUM_FACT_PLACES)
    loss, metrics = base_objective(network, probes, tokens, reader, torch.ones(len(names)), batch)
    loss.backward()
    assert untouched(network) == untouched(probes) == untouched(reader) == []
    assert metrics["loss"] == pytest.approx(loss.item()) and all(v == v for v in metrics.values())


def test_vision_learns_without_language(scenes: list[Scene]) -> None:
    network, names = base_and_names(scenes)
    probes = Probes(32, len(names))
    batch = VisionBatches(scenes, names, side=64, sizes=SIZES, seed=0, steps=5)[0]
    # Most points lie in a cell whose centre shows their part, too.
    cells = (batch.points_BP2 * 16).long()
    on_part = batch.point_masks_BPHW.flatten(2).gather(2, (cells[..., 1] * 16 + cells[..., 0])[..., None])
    assert on_part.mean() > 0.7
    loss, metrics = vision_objective(network, probes, torch.ones(len(names)), batch)
    loss.backward()
    assert network.heatmap is not None
    assert untouched(network.segmenter) == untouched(probes) == untouched(network.heatmap.cell_places) == []
    assert all(p.grad is None for p in network.llama.parameters())
    assert metrics["loss"] == pytest.approx(loss.item()) and all(v == v for v in metrics.values())


def test_places_of_points_by_hand(scenes: list[Scene]) -> None:
    scene = scenes[0]
    part = scene.parts[0]
    (x0, _, x1, y1), (left, top, right, bottom) = part.box_xyxy, scene.objects[part.object_index].box_xyxy
    drawn = PointSample(x=(3 * x0 + x1) / 4, y=float(y1), part_index=0, kind="random")
    place = ((3 * x0 + x1) / 4 - left) / (right - left), (y1 - top) / (bottom - top)
    assert place_in_boxes(scene, drawn) == pytest.approx((0.25, 1.0, *place))


def test_language_is_learned_without_photos(scenes: list[Scene]) -> None:
    network, names = base_and_names(scenes)
    tokens = FactTokens(len(names), network.llama.config.hidden_size)
    batch = LanguageBatches(scenes, names, written="paper", read=("short",), side=64, sizes=SIZES, seed=0, steps=2)[1]
    assert len(batch.read) == len(batch.facts.places_P6) == 8 and len(batch.written) == 4
    assert network.heatmap is not None
    parts = (network.llama, network.text_to_vision, network.heatmap.wanted, tokens)
    optimizer = torch.optim.AdamW([p for part in parts for p in part.parameters()], lr=3e-3)
    told = []
    for _ in range(12):
        loss, metrics = language_objective(network, tokens, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        told.append(metrics)
    assert told[-1]["text"] < 0.9 * told[0]["text"] and told[-1]["place"] < told[0]["place"]
    assert all(p.grad is None for p in network.segmenter.parameters())


def test_facts_are_the_points(scenes: list[Scene]) -> None:
    """What a text to be read is about is the point that the vision batch shows."""
    names = class_names(scenes)
    batch = BaseBatches(scenes, names, written="paper", read=("short",), side=64, sizes=SIZES, seed=1, steps=5)[1]
    places_BP6 = batch.point_facts.places_P6.unflatten(0, (2, 4))
    torch.testing.assert_close(places_BP6[..., :4], batch.vision.point_places_BP4[:, 4:])
    torch.testing.assert_close(places_BP6[..., 4:], batch.vision.points_BP2[:, 4:])
    assert batch.point_facts.part_classes_P.tolist() == batch.vision.point_classes_BP[:, 4:].flatten().tolist()


def test_place_loss_by_hand() -> None:
    wanted, true = torch.tensor([[[0.5, 0.2]]]), torch.tensor([[[0.1, 0.2]]])
    sureness = torch.tensor([[[4.0, 1.0]]])
    assert place_loss(wanted, sureness, true).item() == pytest.approx(0.5 * (4 * 0.16 - math.log(4)) / 2)
    # It is least where the sureness is the inverse of the squared error.
    right = torch.tensor([[[1 / 0.16, 1.0]]])
    assert place_loss(wanted, right, true) < place_loss(wanted, sureness, true)


@pytest.mark.parametrize(
    ("role", "objective"), [("descriptor", descriptor_objective), ("localizer", localizer_objective)]
)
def test_a_role_learns_and_the_base_stays(role: str, objective, point_batch) -> None:  # type: ignore[no-untyped-def]
    network = tiny_network(roles=())
    attach_role(network, role, lora_config(role, rank=4, alpha=8, dropout=0.0))
    parameters = role_parameters(network, role)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.01, weight_decay=0.0)
    losses = []
    for _ in range(12):
        loss, metrics = objective(network, point_batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(metrics["loss"])
    assert losses[-1] < 0.98 * losses[0]
    moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    trained = {n for n, p in network.named_parameters() if any(p is q for q in parameters.values())}
    assert moved == trained


def test_eight_photos_once_is_one_photo_eight_times(point_batch) -> None:  # type: ignore[no-untyped-def]
    """Photos in one batch do not touch each other: mean of single losses is the loss of the batch."""
    network = tiny_network()
    with network.acting_as("localizer"):
        together = localizer_objective(network, point_batch)[0]
        alone = [
            localizer_objective(
                network,
                dataclasses.replace(
                    point_batch,
                    pixels_B3SS=point_batch.pixels_B3SS[b : b + 1],
                    points_BP2=point_batch.points_BP2[b : b + 1],
                    texts=point_batch.texts[b : b + 1],
                ),
            )[0]
            for b in range(2)
        ]
    torch.testing.assert_close(together, torch.stack(alone).mean(), atol=1e-5, rtol=1e-4)


ROLES = [("descriptor", descriptor_objective), ("localizer", localizer_objective)]


def gradients(network: PointNetwork, role: str, objective, batch, alone: bool) -> tuple[float, dict[str, Tensor]]:  # type: ignore[no-untyped-def]
    """Loss and gradients of a batch, or their weighted means over its texts, each behind a prefix of its own."""
    parameters = role_parameters(network, role)
    batches = [batch]
    if alone:
        batches = [
            dataclasses.replace(
                batch,
                pixels_B3SS=batch.pixels_B3SS[b : b + 1],
                photo_keys=batch.photo_keys[b : b + 1],
                points_BP2=batch.points_BP2[b : b + 1, p : p + 1],
                texts=[[text]],
            )
            for b, row in enumerate(batch.texts)
            for p, text in enumerate(row)
        ]
    weights = total = 0.0
    with network.acting_as(role):
        for one in batches:
            loss, metrics = objective(network, one)
            (loss * metrics["weight"]).backward()
            total += loss.item() * metrics["weight"]
            weights += metrics["weight"]
    found = {name: p.grad / weights for name, p in parameters.items() if p.grad is not None}
    for parameter in parameters.values():
        parameter.grad = None
    return total / weights, found


@pytest.mark.parametrize(("role", "objective"), ROLES)
def test_texts_of_a_photo_over_one_prefix_learn_what_they_learn_apart(role: str, objective, point_batch) -> None:  # type: ignore[no-untyped-def]
    network = tiny_network()
    loss, together = gradients(network, role, objective, point_batch, alone=False)
    loss_apart, apart = gradients(network, role, objective, point_batch, alone=True)
    assert loss == pytest.approx(loss_apart, rel=1e-5)
    assert together.keys() == apart.keys() and len(together) > 20
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, apart[name], rtol=1e-3, atol=1e-5, msg=lambda said, n=name: f"{n}: {said}")


@pytest.mark.parametrize(("role", "objective"), ROLES)
def test_recomputed_activations_are_fewer_and_give_the_same_gradients(role: str, objective, point_batch) -> None:  # type: ignore[no-untyped-def]
    network, kept, found = tiny_network(), [], []
    for recompute in (False, True):
        network.llama.model.gradient_checkpointing = recompute
        storages: dict[int, int] = {}

        def keep(tensor: Tensor, seen: dict[int, int] = storages) -> Tensor:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            found.append(gradients(network, role, objective, point_batch, alone=False))
        kept.append(sum(storages.values()))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(found[0][1][name], found[1][1][name]) for name in found[0][1])
    assert kept[1] < 0.9 * kept[0]


@pytest.mark.parametrize(("role", "objective"), ROLES)
def test_bf16_learns_and_coordinates_stay_fp32(role: str, objective, point_batch) -> None:  # type: ignore[no-untyped-def]
    network = tiny_network(roles=())
    attach_role(network, role, lora_config(role, rank=4, alpha=8, dropout=0.0))
    network.place("cpu", torch.bfloat16)
    parameters = role_parameters(network, role)
    assert {p.dtype for p in parameters.values()} == {torch.float32}
    optimizer, losses = torch.optim.AdamW(parameters.values(), lr=0.01, weight_decay=0.0), []
    with network.acting_as(role):
        for _ in range(8):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss, _ = objective(network, point_batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    assert loss.dtype == torch.float32 and losses[-1] < 0.99 * losses[0]


@torch.no_grad()
def test_blind_features_are_the_same_for_every_photo() -> None:
    network = tiny_network()
    one, two = (network.segmenter(torch.randn(1, 3, 64, 64)).blank() for _ in range(2))
    assert network.localizer is not None
    prefixes = [network.photo_prefixes(f, network.localizer.projector)[0] for f in (one, two)]
    assert torch.equal(*prefixes)
    assert not one.decoder_inputs.cells[2].any()
