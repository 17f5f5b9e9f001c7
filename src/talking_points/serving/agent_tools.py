"""Three tools for agents over the Model Context Protocol: locate, describe_point, verify.

The client gets the list of tools at once; the model is loaded at the first call that gets so far. Questions are
answered one after the other, and the caller is told every few seconds that work goes on. What a caller did wrong is a
result of one line with `isError`, as the agent shall read it.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
from collections.abc import Callable
from signal import SIGINT, SIGTERM
from typing import Annotated, Any

import anyio
import mcp.types as types
from anyio.to_thread import run_sync
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, Strict, ValidationError

import talking_points
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.pointing.verify import Answer
from talking_points.points import check_point, refuse_normalised
from talking_points.progress import one_line
from talking_points.samples import FoundPoint, PhotoPoint, absence, answer_as_json, as_text
from talking_points.serving.photo_sources import open_within, read_within
from talking_points.serving.settings import AgentSettings

log = logging.getLogger(__name__)

BEAT_S = 5.0
"""Between two notes that a call is being worked on: clients give up on a silent one, many after a minute. Ours."""
INSTRUCTIONS = (
    "Point at things in photos and screenshots. x and y are pixels of the upright photo from its top left corner; the "
    "centre of pixel (i, j) is (i + 0.5, j + 0.5). Use locate before acting on a place, and act only where in_photo is "
    "not false. Use verify on a point that comes from elsewhere, or on a new photo after acting. A point is sure to "
    "about a tenth of the photo's longer side, not to a pixel."
)

_FRAME = "pixels of the upright photo from its top left corner"
Pixels = Annotated[FiniteFloat, Strict(), Field(description=f"{_FRAME.capitalize()}.")]
Text = Annotated[str, Field(description="What the point is on, in words, such as: the left lapel of the man's jacket.")]


class PhotoSize(BaseModel):
    """Of the upright photo, in pixels."""

    width: int
    height: int


class DescribeAnswer(BaseModel):
    """What is at a point."""

    photo: PhotoSize
    model: str
    x: float = Field(description=f"As asked, {_FRAME}.")
    y: float = Field(description=f"As asked, {_FRAME}.")
    description: str


class LocateAnswer(BaseModel):
    """Where a text leads. What is not known is null."""

    said: str = Field(description="The answer in words.")
    photo: PhotoSize
    model: str
    text: str
    in_photo: bool | None = Field(description="False: the thing named is not in the photo.")
    there: float | None = Field(description="How likely the thing named is in the photo.")
    found_x: float | None = Field(
        description=f"Where the text leads, {_FRAME}; of a thing that is not in the photo, the likeliest place."
    )
    found_y: float | None = Field(description=f"See found_x; {_FRAME}.")
    confidence: float | None = Field(
        None,
        description="How likely the point meant is within a tenth of the photo's longer side of the one found, if the "
        "thing is in the photo.",
    )
    runner_up_x: float | None = Field(None, description=f"Another place that fits the words nearly as well, {_FRAME}.")
    runner_up_y: float | None = Field(None, description=f"See runner_up_x; {_FRAME}.")


class VerifyAnswer(LocateAnswer):
    """Whether the point that a text means is at a pixel, and where the text leads."""

    x: float = Field(description=f"As asked, {_FRAME}.")
    y: float = Field(description=f"As asked, {_FRAME}.")
    verdict: Answer = Field(description="maybe: the words fit here about as well as anywhere, but not surely.")
    probability: float | None = Field(
        description="That the thing is in the photo and the point meant within a tenth of its longer side of x, y."
    )


class _Question(BaseModel):
    """A tool's arguments; the docstrings of the tools are what agents read."""

    model_config = ConfigDict(extra="forbid")
    photo: Annotated[
        str, Field(min_length=1, description="Path of a photo's file, or a data URL: data:image/jpeg;base64,...")
    ]

    def answer(self, tp: TalkingPoints, photo: Image.Image) -> dict[str, Any]:
        raise NotImplementedError


class Locate(_Question):
    """Find the point of a photo that a text is about, how sure that is, and whether the thing is in the photo."""

    text: Text

    def answer(self, tp: TalkingPoints, photo: Image.Image) -> dict[str, Any]:
        [found] = tp.locate(photo, [self.text])
        return _found(self.text, found, photo.size)


class DescribePoint(_Question):
    """Describe one pixel of a photo: the object, the part of it, and what is there."""

    x: Pixels
    y: Pixels

    def answer(self, tp: TalkingPoints, photo: Image.Image) -> dict[str, Any]:
        [text] = tp.describe(photo, [(self.x, self.y)])
        if not text:
            raise ValueError("the model says nothing of this point; try one beside it")
        return {"x": self.x, "y": self.y, "description": text}


class Verify(DescribePoint):
    """Say whether what lies at a pixel of a photo is what a text means, how sure that is, and where the text leads."""

    text: Text

    def answer(self, tp: TalkingPoints, photo: Image.Image) -> dict[str, Any]:
        verdict = tp.verify(photo, (self.x, self.y), self.text)
        judged = {"x": self.x, "y": self.y, "verdict": verdict.answer, "probability": verdict.probability}
        return _found(self.text, verdict.found, photo.size) | judged | {"said": verdict.in_words()}


def _found(text: str, found: FoundPoint, size_wh: tuple[int, int]) -> dict[str, Any]:
    if found.problem is not None:
        raise ValueError(f"the model gave no answer: {found.problem}")
    point = PhotoPoint(text=text).answered(found, size_wh)
    said = "; ".join(line.strip() for line in as_text(point).splitlines())
    in_photo = None if found.there is None else not absence(found.there)
    return answer_as_json(point) | {"said": said, "text": text, "in_photo": in_photo}


TOOLS: dict[str, tuple[type[_Question], type[BaseModel]]] = {
    "locate": (Locate, LocateAnswer),
    "describe_point": (DescribePoint, DescribeAnswer),
    "verify": (Verify, VerifyAnswer),
}


class AgentTools:
    """The tools over one model, within limits."""

    def __init__(self, settings: AgentSettings, load: Callable[[], TalkingPoints]) -> None:
        """load: called in a thread at the first question that is otherwise in order."""
        self._settings, self._load = settings, load
        self._tp: TalkingPoints | None = None
        # A model has state while it works.
        self._working = anyio.Lock()
        self.server: Server[Any] = Server(
            "talking-points",
            title="Talking Points",
            version=talking_points.__version__,
            instructions=INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    async def _list(self, _: Any, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=name,
                    description=question.__doc__,
                    input_schema=question.model_json_schema(),
                    output_schema=answer.model_json_schema(),
                    annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=self._settings.allow_urls),
                )
                for name, (question, answer) in TOOLS.items()
            ]
        )

    async def _call(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        if params.name not in TOOLS:
            raise MCPError(types.INVALID_PARAMS, f"no tool {params.name[:100]!r}; there are {', '.join(TOOLS)}")
        async with anyio.create_task_group() as beats:
            beats.start_soon(self._tell, context)
            result = await self._answer(params.name, params.arguments or {})
            beats.cancel_scope.cancel()
        return result

    async def _tell(self, context: ServerRequestContext[Any]) -> None:
        """Notes to a caller who asked for progress, until cancelled."""
        for beat in itertools.count(1):
            doing = "loading" if self._tp is None else "asking"
            await context.session.report_progress(beat, message=f"{doing} {self._settings.model}")
            await anyio.sleep(BEAT_S)

    async def _answer(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        try:
            question, form = TOOLS[name]
            asked = _read(question, arguments)
            self._settings.check_text(getattr(asked, "text", ""), "the text")
            async with self._working:
                source = await self._fetched(asked.photo)
                answer = form.model_validate(await run_sync(self._work, source, asked))
        except (ValueError, OSError, ImportError) as error:
            return _refusal(one_line(error))
        except Exception:
            log.exception("a call failed")
            return _refusal("the server failed on this call; its log says why")
        text = types.TextContent(type="text", text=answer.model_dump_json())
        return types.CallToolResult(content=[text], structured_content=answer.model_dump(mode="json"))

    async def _fetched(self, photo: str) -> bytes | str:
        """The bytes at an address; what is none as it is."""
        if not photo.startswith(("http://", "https://")):
            return photo
        if not self._settings.allow_urls:
            raise ValueError("photos are not fetched from addresses here; give the path of a file, or a data URL")
        # Here, as it needs an extra.
        from talking_points.serving.fetching import fetch

        return await fetch(photo, max_bytes=self._settings.max_photo_bytes)

    def _work(self, source: bytes | str, asked: _Question) -> dict[str, Any]:
        """Runs in a thread, one at a time."""
        if isinstance(source, str) and source[:5].lower() != "data:":
            source = read_within(source, self._settings, self._settings.root)
        photo = open_within(source, self._settings)
        if isinstance(asked, DescribePoint):
            refuse_normalised([check_point((asked.x, asked.y), photo.size)], photo.size)
        if self._tp is None:
            self._tp = self._load()
        size = {"width": photo.width, "height": photo.height}
        return {"photo": size, "model": self._settings.model, **asked.answer(self._tp, photo)}


def serve_stdio(tools: AgentTools) -> None:
    """Answer on stdin and stdout until stdin ends, or a signal. What else is printed meanwhile goes to stderr."""

    async def run() -> None:
        async with stdio_server() as (incoming, outgoing):
            await tools.server.run(incoming, outgoing, tools.server.create_initialization_options())

    # A thread waits for stdin, and nothing else ends that; no answer leaves anything behind.
    before = {one: signal.signal(one, lambda number, _: os._exit(128 + number)) for one in (SIGINT, SIGTERM)}
    try:
        anyio.run(run)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _refusal(message: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=message)], is_error=True)


def _read(question: type[_Question], arguments: dict[str, Any]) -> _Question:
    """A tool's arguments; a ValueError of one line."""
    try:
        return question.model_validate(arguments)
    except ValidationError as error:
        problems = [f"{one['loc'][0]!s:.40}: {one['msg']}" for one in error.errors()[:3]]
        raise ValueError("; ".join(problems)) from None
