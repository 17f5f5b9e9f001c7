"""Draws the pictures of the documentation, sizes read from the code: `python docs/figures.py` writes them beside it.

tests/test_docs.py holds the committed pictures to what this draws; run it again when mini's sizes change.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

import torch

from talking_points import photo_to_square
from talking_points.model.config import ModelConfig, VisionConfig
from talking_points.model.keypoint_prompt import gaussian_region
from talking_points.pointing.pretrained import find_checkpoint

HERE = Path(__file__).parent
INK, SOFT = "#1f2933", "#52606d"
FROZEN, TRAINED, DATA = "#e3e8ee", "#cfe8e0", "#ffffff"
DESCRIPTOR, LOCALIZER = "#1c64b8", "#1f8a4c"


class Drawing:
    """An SVG of given size, put together element by element."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.size_wh = (width, height)
        self.elements = [f"<title>{escape(title)}</title>", f'<rect width="{width}" height="{height}" fill="#fbfcfd"/>']

    def text(self, x: float, y: float, text: str, *, size: int = 13, color: str = INK, anchor: str = "middle") -> None:
        self.elements.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{color}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def box(self, x: float, y: float, w: float, h: float, title: str, lines: list[str], fill: str = FROZEN) -> None:
        self.rect(x, y, w, h, fill=fill)
        top = y + h / 2 - 8 * len(lines) + 5
        self.text(x + w / 2, top, title, size=14)
        for k, line in enumerate(lines, start=1):
            self.text(x + w / 2, top + 17 * k, line, size=12, color=SOFT)

    def rect(
        self, x: float, y: float, w: float, h: float, *, fill: str, stroke: str = SOFT, dash: str = "", rx: int = 6
    ) -> None:
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.elements.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{rx}" '
            f'fill="{fill}" stroke="{stroke}"{dashed}/>'
        )

    def arrow(self, *points: tuple[float, float], color: str = SOFT) -> None:
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.elements.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6" marker-end="url(#tip)"/>'
        )

    def line(self, x0: float, y0: float, x1: float, y1: float, *, color: str = SOFT, width: float = 1) -> None:
        self.elements.append(
            f'<line x1="{x0:g}" y1="{y0:g}" x2="{x1:g}" y2="{y1:g}" stroke="{color}" stroke-width="{width:g}"/>'
        )

    def dot(self, x: float, y: float, *, radius: float = 5, color: str = "#c81e1e") -> None:
        self.elements.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{color}"/>')

    def svg(self) -> str:
        width, height = self.size_wh
        tip = (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{SOFT}"/></marker></defs>'
        )
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
        return "\n".join([head, tip, *self.elements, "</svg>"]) + "\n"


def language_sizes(name: str) -> tuple[int, int]:
    """Width and blocks of the language model."""
    if name == "7b":
        return 4096, 32
    config = json.loads((find_checkpoint(name) / "language_model" / "config.json").read_text())
    return config["hidden_size"], config["num_hidden_layers"]


def architecture() -> str:
    """The network as data flows through it; of each pair of sizes the first is the 7B's, the second mini's."""
    big = VisionConfig()
    path = find_checkpoint("mini") / "config.json"
    mini = ModelConfig.from_dict(json.loads(path.read_text()), source=str(path)).vision
    (big_width, big_blocks), (mini_width, mini_blocks) = language_sizes("7b"), language_sizes("mini")

    def both(of_big: object, of_mini: object) -> str:
        return f"{of_big}" if of_big == of_mini else f"{of_big} | {of_mini}"

    def dims(config: VisionConfig) -> str:
        return "/".join(map(str, config.trunk_dims))

    side = both(big.image_size, mini.image_size)
    width = both(big.width, mini.width)
    cells = both(big.cells_per_side**2, mini.cells_per_side**2)
    image_channels = both(big.token_channels, mini.token_channels)
    query_channels = both(2 * big.width, 2 * mini.width)
    d = Drawing(1000, 800, "The network of Talking Points")
    d.text(20, 28, "Sizes: the 7B's | mini's", size=14, anchor="start")
    for x, fill, label in ((420, FROZEN, "frozen base, one for both roles"), (660, TRAINED, "a role's own, trained")):
        d.rect(x, 15, 18, 18, fill=fill, rx=3)
        d.text(x + 26, 29, label, anchor="start")

    d.box(20, 60, 200, 56, "photo, W x H pixels", ["upright (EXIF)"], DATA)
    d.box(20, 150, 200, 62, "letterbox", [f"3 x S x S, S = {side}"], DATA)
    d.box(20, 246, 200, 82, "trunk", ["strides 4/8/16/32", f"ConvNeXt {dims(big)}", f"EfficientNet {dims(mini)}"])
    layers = both(big.pixel_decoder_layers, mini.pixel_decoder_layers)
    d.box(20, 362, 200, 82, "pixel decoder", ["deformable attention", f"{layers} layers, width {width}"])
    layers = both(big.mask_decoder_layers, mini.mask_decoder_layers)
    queries = both(big.num_queries, mini.num_queries)
    d.box(20, 478, 200, 82, "mask decoder", [f"{layers} layers, width {width}", f"{queries} queries"])
    for y0, y1 in ((116, 150), (212, 246), (328, 362), (444, 478)):
        d.arrow((120, y0), (120, y1))

    d.box(270, 478, 200, 82, "image perception", [f"{cells} cells,", f"{image_channels} numbers each"])
    d.arrow((220, 519), (270, 519))
    d.arrow((220, 287), (245, 287), (245, 500), (270, 500))

    d.box(20, 610, 160, 56, "point", ["[0, 1]² of the square"], DATA)
    d.box(270, 598, 200, 80, "keypoint prompt", ["box of ±3 px, sine encoding", "and Gaussian region"])
    d.arrow((180, 638), (270, 638))
    d.arrow((330, 598), (330, 580), (170, 580), (170, 560))
    d.arrow((200, 560), (200, 720), (520, 720))
    d.text(358, 712, f"keypoint and region feature, {query_channels} numbers", size=12, color=SOFT)

    d.box(520, 478, 190, 82, "projector", ["descriptor: the base's,", "localizer: its own"], TRAINED)
    d.arrow((470, 519), (520, 519))
    d.box(520, 692, 190, 56, "projector, query side", ["one <mark> token"])

    d.rect(520, 180, 460, 210, fill="#f4f6f8", dash="5 4")
    llm = both(big_width, mini_width)
    d.text(750, 204, f"language model: Llama, {both(big_blocks, mini_blocks)} blocks, width {llm}", size=14)
    d.box(540, 220, 420, 46, "blocks, frozen", [], FROZEN)
    d.box(540, 274, 205, 46, "LoRA: descriptor", [], TRAINED)
    d.box(755, 274, 205, 46, "LoRA: localizer", [], TRAINED)
    d.text(750, 346, f"{cells} image tokens, a separator, a token a winning query,", size=12, color=SOFT)
    d.text(750, 364, "then the prompt: with <mark>, or with the description and [SEG]", size=12, color=SOFT)
    d.arrow((615, 478), (615, 390))
    d.arrow((710, 720), (790, 720), (790, 390), color=DESCRIPTOR)

    d.box(520, 60, 205, 62, "description", ["decoded word by word"], DATA)
    d.arrow((622, 180), (622, 122), color=DESCRIPTOR)
    d.text(634, 158, "descriptor", color=DESCRIPTOR, anchor="start")
    d.box(820, 420, 160, 78, "text to vision", ["the state at [SEG],", f"{llm} to {query_channels}"], TRAINED)
    d.arrow((900, 390), (900, 420), color=LOCALIZER)
    d.text(888, 410, "localizer", color=LOCALIZER, anchor="end")
    heads = ["MLP to (x, y): the paper", "or a heatmap: mini, ours"]
    d.box(820, 532, 160, 78, "coordinate head", heads, TRAINED)
    d.arrow((900, 498), (900, 532), color=LOCALIZER)
    d.box(820, 644, 160, 56, "point, in pixels", ["of the photo"], DATA)
    d.arrow((900, 610), (900, 644), color=LOCALIZER)
    return d.svg()


def coordinates() -> str:
    """A photo of 6 x 4 pixels, its corners, the centre of a pixel, and the square that the model sees."""
    d = Drawing(900, 400, "Coordinates of a photo of 6 x 4 pixels")
    size_wh, scale, left, top = (6, 4), 60, 60, 100
    point_px = (4.5, 1.5)
    for i in range(size_wh[0]):
        for j in range(size_wh[1]):
            fill = "#d7ebe4" if (i + 0.5, j + 0.5) == point_px else DATA
            d.rect(left + scale * i, top + scale * j, scale, scale, fill=fill, stroke="#9aa5b1", rx=0)
    for x, y, anchor in ((0, 0, "end"), (6, 0, "start"), (0, 4, "end"), (6, 4, "start")):
        d.dot(left + scale * x, top + scale * y, radius=4, color=INK)
        shift = -8 if anchor == "end" else 8
        d.text(left + scale * x + shift, top + scale * y + (-6 if y == 0 else 16), f"({x}, {y})", anchor=anchor)
    d.dot(left + scale * point_px[0], top + scale * point_px[1])
    d.text(left + scale * point_px[0], top + scale * point_px[1] - 10, "(4.5, 1.5)", color="#c81e1e")
    d.text(left + scale * point_px[0], top + scale * point_px[1] + 22, "centre of (4, 1)", size=10, color=SOFT)
    d.text(left + 180, 30, "The photo: pixels, as it is seen", size=16)
    d.arrow((left + 120, 70), (left + 240, 70))
    d.text(left + 252, 75, "x", size=15)
    d.arrow((24, top + 70), (24, top + 170))
    d.text(24, top + 190, "y", size=15)

    scale, left = 48, 560
    d.text(left + 3 * scale, 30, "The model's square: [0, 1]²", size=16)
    d.rect(left, 72, 6 * scale, 6 * scale, fill="#e3e8ee", rx=0)
    d.rect(left, 72 + scale, 6 * scale, 4 * scale, fill=DATA, rx=0)
    for x, y, anchor in ((0, 0, "end"), (1, 1, "start")):
        d.dot(left + 6 * scale * x, 72 + 6 * scale * y, radius=4, color=INK)
        d.text(
            left + 6 * scale * x + (-8 if anchor == "end" else 8), 72 + 6 * scale * y + 5, f"({x}, {y})", anchor=anchor
        )
    x, y = photo_to_square([point_px], size_wh)[0]
    d.dot(left + 6 * scale * x, 72 + 6 * scale * y)
    d.text(left + 6 * scale * x, 72 + 6 * scale * y - 10, f"({x:g}, {y:.4g})", color="#c81e1e")
    d.text(left + 3 * scale, 72 + 0.6 * scale, "padding: the mean colour", size=12, color=SOFT)
    d.text(left + 3 * scale, 72 + 5.6 * scale, "padding", size=12, color=SOFT)
    return d.svg()


def gaussian() -> str:
    """Where the 7B's queries look around a point, at the three levels of the mask decoder."""
    config = VisionConfig()
    side, point_px = config.image_size, (390.0, 620.0)
    d = Drawing(900, 330, "The Gaussian region at three levels")
    for k, stride in enumerate((32, 16, 8)):
        cells = side // stride
        inside = gaussian_region(
            torch.tensor(point_px),
            (side, side),
            (cells, cells),
            sigma_px=config.gaussian_sigma_px,
            threshold=config.gaussian_threshold,
        )
        left, top, length = 30 + 290 * k, 50, 256
        d.text(
            left + length / 2, 32, f"stride {stride}: {cells} x {cells} cells, {int(inside.sum())} attended", size=13
        )
        d.rect(left, top, length, length, fill=DATA, rx=0)
        cell = length / cells
        for row, columns in enumerate(inside.reshape(cells, cells).numpy()):
            if columns.any():
                first, width = int(columns.argmax()), int(columns.sum())
                box = (left + cell * first, top + cell * row, cell * width, cell)
                d.rect(*box, fill="#a9d8c8", stroke="#a9d8c8", rx=0)
        d.dot(left + length * point_px[0] / side, top + length * point_px[1] / side, radius=3)
    return d.svg()


PICTURES = {"architecture.svg": architecture, "coordinates.svg": coordinates, "gaussian.svg": gaussian}


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (HERE / name).write_text(draw(), encoding="utf-8")
