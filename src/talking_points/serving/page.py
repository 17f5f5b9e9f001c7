"""The web page: click a pixel, read its description, see where the words lead back to."""

from __future__ import annotations

import base64
import io
import json
import math
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from fastapi import FastAPI
from PIL import Image

from talking_points.demo import DEMO_POINTS_PX, demo_photo
from talking_points.evaluation.figures import draw_points
from talking_points.pointing.encoding import PreparedPhoto
from talking_points.points import distance_unit
from talking_points.samples import PhotoPoint, points_as_json
from talking_points.serving.engine import BusyError, Engine, OnText, Point, StoppedError
from talking_points.serving.marking import marked, shown_photo
from talking_points.serving.service import Service

MOST_POINTS = 8
"""Points on the page at once. Ours."""
REFRESH_S = 0.1
"""Pause between two looks at a description that is being written."""
FORGET_S = 3600
"""What a visitor left behind is forgotten after this."""
HIDDEN: Literal["hidden"] = "hidden"
"""In the page, but not to be seen: what Gradio leaves out (False) it must build before it can be written into."""
FILE_TYPES = [".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"]

_INTRO = """# Talking Points
Click a pixel of a photo to read what it is on (★), and see where those words alone lead back to (◯)."""
_HINT = "Click anywhere on the photo. Edit a text and press *Find this text* to see where it leads then."
_START = "Open a photo, or try the example."
_CSS = """
.gradio-container {max-width: 1180px !important; width: 100% !important; margin: 0 auto !important}
#photo img {cursor: crosshair; object-fit: contain; max-height: 78vh}
.point, .point > div, .point .row {background: var(--block-background-fill) !important}
.point .row {padding: 0 0.8rem 0.8rem; gap: 0.6rem}
.note {padding: 0 0.8rem 0.4rem !important}
.note p {font-size: 0.95rem; margin: 0}
.asked {color: #e3120b} .found {color: #0b7a47}
.dark .asked {color: #ff6b66} .dark .found {color: #3ddc97}
button:focus-visible, textarea:focus-visible, input:focus-visible {outline: 3px solid #2563eb !important}
/* On a phone the newest answer is the first below the photo. */
@media (max-width: 720px) {
    #points {flex-direction: column-reverse}
    #own-words {order: 1}
}
footer {display: none !important}
"""
# A download needs an address of its own; this one never leaves the browser.
_SAVE = """(address, name) => {
    const link = document.createElement("a");
    link.href = address; link.download = name; link.click();
    return [address, name];
}"""
# Runs once the page listens. Every answer draws the photo anew, and while a browser loads the new picture, it may
# know no size of it (Chromium does not), for which Gradio drops a click: made again as soon as the picture is there.
_BEGIN = """() => {
    document.addEventListener("click", event => {
        const image = event.target;
        if (!image.matches("#photo img") || image.naturalWidth) return;
        event.stopImmediatePropagation();
        const before = image.getBoundingClientRect();
        const u = (event.clientX - before.left) / before.width, v = (event.clientY - before.top) / before.height;
        image.addEventListener("load", () => {
            const now = image.getBoundingClientRect();
            const at = {
                clientX: Math.round(now.left + u * now.width), clientY: Math.round(now.top + v * now.height),
            };
            image.dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true, ...at}));
        }, {once: true});
    }, true);
    document.documentElement.dataset.listens = "yes";
}"""


@dataclass(eq=False, kw_only=True, slots=True)
class Session:
    """What one visitor has on the page. Several events of a visitor may share it."""

    data: bytes = b""
    """The photo's file."""
    size_wh: tuple[int, int] = (0, 0)
    shown: Image.Image | None = None
    prepared: dict[str, PreparedPhoto] = field(default_factory=dict)
    """By model."""
    answers: list[PhotoPoint | None] = field(default_factory=lambda: [None] * MOST_POINTS)
    """By place on the page; None: free."""
    model: str = ""
    """That answered last."""


def mount_page(app: FastAPI, service: Service) -> FastAPI:
    """Put the page at / of an application."""
    page = make_page(service)
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=True,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        max_file_size=service.config.max_photo_bytes,
        theme=gr.themes.Default(
            primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
        css=_CSS,
        js=_BEGIN,
    )
    return mounted


class _Page(gr.Blocks):
    async def preprocess_data(self, block_fn: Any, inputs: Any, *rest: Any, **options: Any) -> Any:
        # Gradio downloads a file that a client names by its URL; this server fetches nothing for its page.
        if _names_url(inputs):
            raise gr.Error("the page takes uploaded files only", print_exception=False)
        return await super().preprocess_data(block_fn, inputs, *rest, **options)


def _names_url(payload: Any) -> bool:
    """Whether a payload holds a file with a URL for a path."""
    if isinstance(payload, dict):
        path = payload.get("path")
        named = isinstance(path, str) and "://" in path
        return named or any(_names_url(value) for value in payload.values())
    return isinstance(payload, list) and any(_names_url(value) for value in payload)


def make_page(service: Service) -> gr.Blocks:
    """The page over a service's models."""
    models = list(service.engines)
    taking = threading.Lock()

    def take(session: Session, answer: PhotoPoint) -> int:
        """A free place for a point."""
        with taking:
            free = next((n for n, one in enumerate(session.answers) if one is None), None)
            if free is None:
                raise gr.Error(f"{MOST_POINTS} points are the most at once; remove one", print_exception=False)
            session.answers[free] = answer
            return free

    def picture(session: Session) -> Image.Image:
        assert session.shown is not None
        return marked(session.shown, session.size_wh, session.answers)

    def prepare(session: Session, engine: Engine) -> PreparedPhoto:
        if not session.data:
            raise gr.Error("open a photo first", print_exception=False)
        if engine.name not in session.prepared:
            session.prepared[engine.name] = engine.prepare(service.open(session.data))
        session.model = engine.name
        return session.prepared[engine.name]

    with _Page(title="Talking Points", analytics_enabled=False, delete_cache=(FORGET_S, FORGET_S)) as page:
        session = gr.State(Session(), time_to_live=FORGET_S)
        gr.Markdown(_INTRO)
        with gr.Row():
            with gr.Column(scale=6, min_width=320):
                upload = gr.File(label="Photo", show_label=False, file_types=FILE_TYPES, height=130, elem_id="upload")
                image = gr.Image(
                    label="Photo: click a pixel", interactive=False, visible=HIDDEN, format="jpeg", elem_id="photo",
                    buttons=["fullscreen"],
                )  # fmt: skip
                status = gr.Markdown(_START, elem_id="status")
                with gr.Row():
                    example = gr.Button("Try the example photo", size="sm", elem_id="example")
                    clear = gr.Button("Remove all points", size="sm", elem_id="clear")
                with gr.Accordion("Without a mouse: a pixel by its numbers", open=False):
                    with gr.Row():
                        x = gr.Number(label="x, pixels from the left", value=0, minimum=0, min_width=120)
                        y = gr.Number(label="y, pixels from the top", value=0, minimum=0, min_width=120)
                    by_numbers = gr.Button("Describe this pixel", elem_id="by-numbers")
            with gr.Column(scale=5, min_width=320):
                model = gr.Dropdown(models, value=models[0], label="Model", visible=len(models) > 1)
                with gr.Group(elem_id="own-words"):
                    own = gr.Textbox(
                        label="Your own words",
                        placeholder="the left lapel of the jacket of the woman in the middle",
                        lines=2,
                        max_length=service.config.max_text_chars,
                        elem_id="own",
                    )
                    find_own = gr.Button("Find it", variant="primary", elem_id="find-own")
                boxes, texts, notes, finds, removes = [], [], [], [], []
                with gr.Column(elem_id="points"):
                    for n in range(MOST_POINTS):
                        with gr.Group(visible=HIDDEN, elem_id=f"point-{n + 1}", elem_classes="point") as box:
                            texts.append(
                                gr.Textbox(
                                    label=f"Point {n + 1}",
                                    lines=3,
                                    max_length=service.config.max_text_chars,
                                    elem_id=f"text-{n + 1}",
                                )  # fmt: skip
                            )
                            notes.append(gr.Markdown(elem_id=f"note-{n + 1}", elem_classes="note"))
                            with gr.Row():
                                finds.append(
                                    gr.Button("Find this text", size="sm", min_width=120, elem_id=f"find-{n + 1}")
                                )
                                removes.append(gr.Button("Remove", size="sm", min_width=80, elem_id=f"remove-{n + 1}"))
                        boxes.append(box)
                with gr.Row():
                    figure = gr.Button("Save the figure", size="sm", min_width=120, elem_id="figure")
                    as_json = gr.Button("Save as JSON", size="sm", min_width=120, elem_id="json")
        address, file_name = gr.Textbox(visible=HIDDEN), gr.Textbox(visible=HIDDEN)

        def emptied(session: Session) -> dict[Any, Any]:
            session.answers = [None] * MOST_POINTS
            return {box: gr.Group(visible=HIDDEN) for box in boxes} | {text: "" for text in texts}

        def show(session: Session, data: bytes) -> dict[Any, Any]:
            photo = service.open(data)
            session.data, session.size_wh, session.shown = data, photo.size, shown_photo(photo)
            session.prepared = {}
            width, height = photo.size
            return emptied(session) | {
                upload: None,
                image: gr.Image(value=session.shown, visible=True),
                status: f"{width} × {height} pixels. {_HINT}",
                x: gr.Number(value=width // 2, maximum=width),
                y: gr.Number(value=height // 2, maximum=height),
            }

        def open_upload(session: Session, path: str | None) -> dict[Any, Any]:
            try:
                return show(session, Path(path).read_bytes()) if path else {upload: None}
            except ValueError as error:
                # An error would leave the broken file where the next one is to be dropped.
                gr.Warning(str(error))
                return {upload: None}

        def written(
            session: Session, n: int, ask: Callable[[OnText], Future[list[PhotoPoint]]]
        ) -> Iterator[dict[Any, Any]]:
            """Show a description as it is written, then its answer."""
            pieces: queue.SimpleQueue[str] = queue.SimpleQueue()
            try:
                future = ask(lambda _, text: pieces.put(text))
                while wait_for([future], timeout=REFRESH_S).not_done:
                    latest = None
                    while not pieces.empty():
                        latest = pieces.get()
                    if latest is not None:
                        yield {texts[n]: latest}
                [answer] = future.result()
            except (ValueError, BusyError, StoppedError) as error:
                session.answers[n] = None
                yield {boxes[n]: gr.Group(visible=HIDDEN), image: picture(session)}
                raise gr.Error(" ".join(str(error).split()), print_exception=False) from None
            session.answers[n] = answer
            yield {
                boxes[n]: gr.Group(visible=True),
                texts[n]: answer.words or "",
                notes[n]: note(answer, session.size_wh),
                image: picture(session),
            }

        def describe(session: Session, name: str, point_px: Point) -> Iterator[dict[Any, Any]]:
            engine = service.engine(name)
            prepared = prepare(session, engine)
            n = take(session, PhotoPoint(point_px=point_px))
            yield {
                boxes[n]: gr.Group(visible=True),
                texts[n]: gr.Textbox(value="", placeholder="reading the photo …"),
                notes[n]: note(PhotoPoint(point_px=point_px), session.size_wh),
                image: picture(session),
            }
            yield from written(
                session, n, lambda told: engine.submit("round-trip", prepared, points_px=[point_px], on_text=told)
            )

        def on_click(session: Session, name: str, event: gr.SelectData) -> Iterator[dict[Any, Any]]:
            if session.shown is None:
                return
            # The middle of the pixel that was clicked, of those shown.
            px = [
                min(full, (at + 0.5) * full / seen)
                for at, full, seen in zip(event.index, session.size_wh, session.shown.size, strict=True)
            ]
            yield from describe(session, name, (px[0], px[1]))

        def on_numbers(session: Session, name: str, x: float | None, y: float | None) -> Iterator[dict[Any, Any]]:
            if x is None or y is None:
                raise gr.Error("give x and y, in pixels", print_exception=False)
            yield from describe(session, name, (x, y))

        def on_example(session: Session, name: str) -> Iterator[dict[Any, Any]]:
            opened = show(session, demo_photo().read_bytes())
            engine = service.engine(name)
            prepared = prepare(session, engine)
            places = [take(session, PhotoPoint(point_px=point)) for point in DEMO_POINTS_PX]
            # Together: of two updates that follow on each other's heels, a busy browser may apply the first last.
            shown = {boxes[n]: gr.Group(visible=True) for n in places}
            yield opened | shown | {image: gr.Image(value=picture(session), visible=True)}
            latest: dict[int, str] = {}
            try:
                future = engine.submit(
                    "round-trip", prepared, points_px=DEMO_POINTS_PX, on_text=lambda n, text: latest.update({n: text})
                )
                while wait_for([future], timeout=REFRESH_S).not_done:
                    # Gradio takes no empty update.
                    if latest:
                        yield {texts[places[n]]: text for n, text in list(latest.items())}
                answers = future.result()
            except (BusyError, StoppedError) as error:
                yield emptied(session) | {image: picture(session)}
                raise gr.Error(str(error), print_exception=False) from None
            for n, answer in zip(places, answers, strict=True):
                session.answers[n] = answer
            said = {texts[n]: answer.words or "" for n, answer in zip(places, answers, strict=True)}
            where = {notes[n]: note(answer, session.size_wh) for n, answer in zip(places, answers, strict=True)}
            yield said | where | shown | {image: picture(session)}

        def on_own(session: Session, name: str, text: str) -> Iterator[dict[Any, Any]]:
            engine = service.engine(name)
            prepared = prepare(session, engine)
            n = take(session, PhotoPoint(text=text))
            yield {boxes[n]: gr.Group(visible=True), texts[n]: text, notes[n]: "looking …"}
            yield from written(session, n, lambda _: engine.submit("localize", prepared, texts=[text]))

        def find_again(n: int) -> Callable[[Session, str, str], dict[Any, Any]]:
            def find(session: Session, name: str, text: str) -> dict[Any, Any]:
                engine = service.engine(name)
                prepared = prepare(session, engine)
                try:
                    [answer] = engine.submit("localize", prepared, texts=[text]).result()
                except (ValueError, BusyError, StoppedError) as error:
                    raise gr.Error(" ".join(str(error).split()), print_exception=False) from None
                before = session.answers[n] or PhotoPoint()
                again = measured(before.point_px, answer, session.size_wh)
                session.answers[n] = again
                return {notes[n]: note(again, session.size_wh), image: picture(session)}

            return find

        def remove(n: int) -> Callable[[Session], dict[Any, Any]]:
            def gone(session: Session) -> dict[Any, Any]:
                session.answers[n] = None
                return {boxes[n]: gr.Group(visible=HIDDEN), texts[n]: "", image: picture(session)}

            return gone

        def remove_all(session: Session) -> dict[Any, Any]:
            return emptied(session) | ({image: picture(session)} if session.shown else {})

        def save_figure(session: Session) -> tuple[str, str]:
            stream = io.BytesIO()
            draw_points(service.open(session.data), kept(session)).save(stream, "PNG")
            return data_url("image/png", stream.getvalue()), "talking-points.png"

        def save_json(session: Session) -> tuple[str, str]:
            answers = points_as_json(kept(session), session.size_wh, model=session.model)
            return data_url("application/json", json.dumps(answers, indent=2).encode()), "talking-points.json"

        everything = [upload, image, status, x, y, *boxes, *texts, *notes]
        # Any of these may be asked again while an earlier one still waits.
        asks: dict[str, Any] = {"outputs": everything, "trigger_mode": "multiple", "concurrency_limit": None}
        asks |= {"show_progress": "hidden", "api_visibility": "private"}
        opens: dict[str, Any] = {**asks, "concurrency_limit": 2, "concurrency_id": "photos", "trigger_mode": "once"}
        upload.upload(open_upload, [session, upload], **{**opens, "show_progress": "minimal"})
        example.click(on_example, [session, model], **opens)
        image.select(on_click, [session, model], **asks)
        by_numbers.click(on_numbers, [session, model, x, y], **asks)
        find_own.click(on_own, [session, model, own], **asks)
        own.submit(on_own, [session, model, own], **asks)
        clear.click(remove_all, [session], **asks)
        for n in range(MOST_POINTS):
            finds[n].click(find_again(n), [session, model, texts[n]], **asks)
            texts[n].submit(find_again(n), [session, model, texts[n]], **asks)
            removes[n].click(remove(n), [session], **asks)
        saves: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        for button, save in ((figure, save_figure), (as_json, save_json)):
            saved = button.click(save, [session], [address, file_name], **{**saves, "concurrency_id": "photos"})
            saved.success(None, [address, file_name], [address, file_name], js=_SAVE, api_visibility="private")
    page.queue(default_concurrency_limit=16, max_size=256)
    return page


def kept(session: Session) -> list[PhotoPoint]:
    """The points of a visitor, in their order."""
    answers = [one for one in session.answers if one is not None]
    if not answers:
        raise gr.Error("there is no point to save yet", print_exception=False)
    return answers


def measured(point_px: Point | None, found: PhotoPoint, size_wh: tuple[int, int]) -> PhotoPoint:
    """What was found of a text, against the point that it is about, where there is one."""
    error = None
    if point_px is not None and found.found_px is not None:
        error = distance_unit(found.found_px, point_px, size_wh)
    return replace(found, point_px=point_px, error=error)


def note(answer: PhotoPoint, size_wh: tuple[int, int]) -> str:
    """Where a point was asked and found, and how far apart, in words."""
    said = []
    if answer.point_px:
        x, y = answer.point_px
        said.append(f'<span class="asked">★ asked at ({x:.0f}, {y:.0f})</span>')
    if answer.found_px:
        x, y = answer.found_px
        said.append(f'<span class="found">◯ found at ({x:.0f}, {y:.0f})</span>')
    if answer.point_px and answer.found_px and answer.error is not None:
        said.append(f"**{math.dist(answer.point_px, answer.found_px):.0f} px, {100 * answer.error:.1f}% of the photo**")
    return " · ".join(said)


def data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
