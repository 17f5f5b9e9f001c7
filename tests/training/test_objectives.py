from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from talking_points.dataset.scene import Scene
from talking_points.model.hugging_face import attach_role, lora_config
from talking_points.model.localizer_head import LocatedPoints
from talking_points.model.network import PointNetwork
from talking_points.training.batches import PointBatch
from talking_points.training.features import FrozenVision
from talking_points.training.objectives import (
    descriptor_objective,
    heatmap_loss,
    localizer_loss,
    localizer_objective,
)
from talking_points.training.roles import role_parameters
from tests.tiny import HEADS, tiny_network
from tests.training.drawn import drawn_batches


@pytest.fixture(scope="module")
def point_batch(scenes: list[Scene]) -> PointBatch:
    return drawn_batches(scenes, photos=2, points=4, dialects=("paper", "short"))[1]


def test_heatmap_loss_is_least_at_the_point() -> None:
    points = torch.tensor([[0.25, 0.75]])
    x = (torch.arange(8) + 0.5) / 8
    right = -((x[None] - 0.25) ** 2 + (x[:, None] - 0.75) ** 2)[None] / (2 * 0.03**2)
    assert heatmap_loss(right, points) < heatmap_loss(torch.zeros(1, 8, 8), points)
    assert heatmap_loss(torch.zeros(1, 8, 8), points) < heatmap_loss(right.flip(-1), points)


def test_the_papers_head_learns_by_the_mean_squared_error_alone() -> None:
    """Eq. 1 by hand: (0.1^2 + 0.3^2 + 0.2^2 + 0^2) / 4."""
    found, true = torch.tensor([[0.5, 0.5], [0.2, 0.9]]), torch.tensor([[0.4, 0.8], [0.4, 0.9]])
    located = LocatedPoints(points_P2=found, regressed_P2=found)
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


def test_a_pointer_also_learns_where_in_the_true_cell() -> None:
    """In two rows of four cells, (0.9, 0.25) is 0.1 cells right of the centre of the upper last, (1, 1) a corner."""
    true = torch.tensor([[0.9, 0.25], [1.0, 1.0]])
    offsets = torch.full((2, 2, 4, 2), 9.0)
    offsets[0, 0, 3] = torch.tensor([0.3, 0.0])
    offsets[1, 1, 3] = torch.tensor([0.5, 0.5])
    located = LocatedPoints(
        points_P2=true,
        regressed_P2=true,
        heatmap_logits_Phw=torch.zeros(2, 2, 4),
        offsets_Phw2=offsets,
        temperature=torch.ones(()),
    )
    loss, metrics = localizer_loss(located, true)
    # Half a square below 1, and a mean over four: 0.2 once, and nothing else.
    assert metrics["offset"] == pytest.approx(0.5 * 0.2**2 / 4, abs=1e-6)
    assert loss.item() == pytest.approx(math.log(8) + metrics["offset"], abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("head", HEADS)
def test_of_absent_texts_only_whether_they_fit_is_learned(
    head: str, point_batch: PointBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny_network(head=head)
    asked, located = [], []
    locate = network.locate

    def spy(features, prefix, photo_P, prompts):  # type: ignore[no-untyped-def]
        asked.append((photo_P.tolist(), list(prompts)))
        located.append(locate(features, prefix, photo_P, prompts))
        return located[-1]

    monkeypatch.setattr(network, "locate", spy)
    with network.acting_as("localizer"):
        loss, metrics = localizer_objective(network, point_batch, FrozenVision(network, "localizer"))
    [(photo_P, prompts)], [answers] = asked, located
    own = [[network.prompts.localize(text) for text in row] for row in point_batch.texts]
    true = point_batch.points_BP2.flatten(0, 1)
    assert metrics["weight"] == len(true) == 8
    if head == "regression":
        assert photo_P == [0] * 4 + [1] * 4 and prompts == own[0] + own[1] and "absence" not in metrics
        assert loss.item() == pytest.approx(localizer_loss(answers, true)[0].item())
        return
    # Behind its own texts, each photo reads the first of the other's.
    assert photo_P == [0] * 5 + [1] * 5 and prompts == [*own[0], own[1][0], *own[1], own[0][0]]
    fits = torch.tensor([1.0, 1, 1, 1, 0] * 2)
    coordinates, of_them = localizer_loss(answers.only(fits.bool()), true)
    absence = F.binary_cross_entropy_with_logits(answers.there_P, fits)
    assert loss.item() == pytest.approx(coordinates.item() + 0.5 * absence.item(), rel=1e-5)
    assert metrics["absence"] == pytest.approx(absence.item()) and metrics["heatmap"] == of_them["heatmap"]
    near = (answers.points_P2[fits.bool()] - true).norm(dim=-1) < 0.1
    assert metrics["within_0.1"] == pytest.approx(near.float().mean().item())


def test_a_photo_alone_has_no_absent_text(point_batch: PointBatch) -> None:
    network = tiny_network()
    alone = dataclasses.replace(
        point_batch,
        pixels_B3SS=point_batch.pixels_B3SS[:1],
        points_BP2=point_batch.points_BP2[:1],
        texts=point_batch.texts[:1],
        absent_texts=[],
    )
    with network.acting_as("localizer"), torch.no_grad():
        _, metrics = localizer_objective(network, alone, FrozenVision(network, "localizer"))
    assert "absence" not in metrics and metrics["weight"] == 4


def test_a_photo_alone_in_its_part_reads_its_steps_absent_text(scenes: list[Scene]) -> None:
    network, batches = tiny_network(), drawn_batches(scenes, photos=2, points=4)
    losses = []
    with network.acting_as("localizer"), torch.no_grad():
        for of in (1, 2):
            parts = [batches.part(0, index, of) for index in range(of)]
            told = [localizer_objective(network, part, FrozenVision(network, "localizer"))[1] for part in parts]
            assert all("absence" in metrics for metrics in told)
            losses.append([sum(metrics[name] for metrics in told) / of for name in ("loss", "absence")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("head", ["heatmap", "pointer"])
def test_a_blind_localizer_learns_what_it_sees(head: str, point_batch: PointBatch) -> None:
    network = tiny_network(roles=(), head=head)
    network.change(blind=True)
    attach_role(network, "localizer", lora_config("localizer", rank=4, alpha=8, dropout=0.0))
    role_parameters(network, "localizer")
    assert network.localizer is not None and network.localizer.photo is not None
    with network.acting_as("localizer"):
        loss, _ = localizer_objective(network, point_batch, FrozenVision(network, "localizer"))
    loss.backward()
    learned = network.localizer.photo
    assert learned.image_tokens.grad is not None and learned.image_tokens.grad.any()
    # Of the cells those that the head reads: strides 16 and 8, or 8.
    reached = [one.grad is not None and bool(one.grad.any()) for one in learned.cells]
    assert reached == {"heatmap": [False, True, True], "pointer": [False, False, True]}[head]


@pytest.mark.parametrize(
    ("role", "objective", "head"),
    [
        ("descriptor", descriptor_objective, "heatmap"),
        *(("localizer", localizer_objective, head) for head in HEADS),
    ],
)
def test_a_role_learns_and_the_base_stays(role: str, objective, head: str, point_batch) -> None:  # type: ignore[no-untyped-def]
    network = tiny_network(roles=(), head=head)
    attach_role(network, role, lora_config(role, rank=4, alpha=8, dropout=0.0))
    parameters = role_parameters(network, role)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.01 if role == "descriptor" else 0.003, weight_decay=0.0)
    losses = []
    for _ in range(12):
        loss, metrics = objective(network, point_batch, FrozenVision(network, role))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(metrics["loss"])
    assert losses[-1] < 0.98 * losses[0]
    moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    trained = {n for n, p in network.named_parameters() if any(p is q for q in parameters.values())}
    assert moved == trained


@pytest.fixture
def nothing_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of another photo is what photos of one batch have of each other."""
    monkeypatch.setattr(PointNetwork, "tells_absence", False)


@pytest.mark.usefixtures("nothing_is_absent")
def test_eight_photos_once_is_one_photo_eight_times(point_batch) -> None:  # type: ignore[no-untyped-def]
    """Photos in one batch do not touch each other: mean of single losses is the loss of the batch."""
    network = tiny_network()
    vision = FrozenVision(network, "localizer")
    with network.acting_as("localizer"):
        together = localizer_objective(network, point_batch, vision)[0]
        alone = [
            localizer_objective(
                network,
                dataclasses.replace(
                    point_batch,
                    pixels_B3SS=point_batch.pixels_B3SS[b : b + 1],
                    points_BP2=point_batch.points_BP2[b : b + 1],
                    texts=point_batch.texts[b : b + 1],
                ),
                vision,
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
            loss, metrics = objective(network, one, FrozenVision(network, role))
            (loss * metrics["weight"]).backward()
            total += loss.item() * metrics["weight"]
            weights += metrics["weight"]
    found = {name: p.grad / weights for name, p in parameters.items() if p.grad is not None}
    for parameter in parameters.values():
        parameter.grad = None
    return total / weights, found


@pytest.mark.usefixtures("nothing_is_absent")
@pytest.mark.parametrize(("role", "objective"), ROLES)
def test_texts_of_a_photo_over_one_prefix_learn_what_they_learn_apart(role: str, objective, point_batch) -> None:  # type: ignore[no-untyped-def]
    # A tiny network's own localizer is so sharp that rounding shows.
    network = tiny_network(roles=())
    attach_role(network, role, lora_config(role, rank=4, alpha=8, dropout=0.0))
    with torch.no_grad():
        for name, parameter in network.language.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
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
    lr = 0.01 if role == "descriptor" else 0.003
    optimizer, losses = torch.optim.AdamW(parameters.values(), lr=lr, weight_decay=0.0), []
    with network.acting_as(role):
        for _ in range(8):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss, _ = objective(network, point_batch, FrozenVision(network, role))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    assert loss.dtype == torch.float32 and losses[-1] < 0.99 * losses[0]
