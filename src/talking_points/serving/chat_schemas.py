"""OpenAI's chat as it goes in and comes out: which of its settings are kept to, and which are refused.

An answer is always the likeliest one, so what chooses among likely ones has nothing to choose: `seed` and `top_p` are
kept to by themselves, and what would ask for another answer is refused. Nothing is passed over that bears on an answer.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from talking_points.serving.schemas import ModelName

_ABOUT_THE_CALLER = (
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "service_tier",
    "parallel_tool_calls",
)
"""Say nothing about the answer; passed over."""
_ONLY: dict[str, tuple[Any, ...]] = {
    "temperature": (0,),
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "store": (False,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "reasoning_effort": ("none",),
}
"""Settings of which only what is done anyway is allowed; null is, too."""


class ChatMessage(BaseModel):
    """The content is a text, or parts of type "text" and "image_url". What only a user says is read."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, Any]] | None = None


class ResponseFormat(BaseModel):
    """How an answer is written: in words, or as JSON."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text", "json_object"] = "text"


class StreamOptions(BaseModel):
    """Of a stream."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False


class ChatRequest(BaseModel):
    """OpenAI's; what is not kept to is refused."""

    model_config = ConfigDict(protected_namespaces=(), extra="ignore")
    model: ModelName = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int | None, Field(ge=1, description="Longest answer; it is cut off there.")] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1, description="The same.")] = None
    stop: Annotated[str | list[str] | None, Field(description="Up to four texts; an answer ends before them.")] = None
    seed: Annotated[int | None, Field(description="Equal questions have equal answers whatever it is.")] = None
    top_p: Annotated[float | None, Field(gt=0, le=1, description="As `seed`; the likeliest is always within.")] = None
    response_format: ResponseFormat | None = None

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_kept_to(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        for name, value in given.items():
            allowed = _ONLY.get(name)
            if allowed is not None:
                # True is 1 for Python, and 0 False.
                good = value is None or any(value == one and _is_flag(value) == _is_flag(one) for one in allowed)
                if not good:
                    shown = " or ".join(map(repr, allowed))
                    raise ValueError(
                        f"Unsupported value: {name!r} is {value!r:.40}; allowed: {shown}, as answers are the likeliest"
                    )
            elif name not in cls.model_fields and name not in _ABOUT_THE_CALLER:
                raise ValueError(f"Unsupported parameter: {name[:40]!r} is not known here; leave it out")
        return given

    @model_validator(mode="after")
    def _agree(self) -> ChatRequest:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is for streams; set stream to true")
        limits = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(limits) > 1:
            raise ValueError("max_tokens and max_completion_tokens differ; give one of them")
        if len(self.stops) > 4 or "" in self.stops:
            raise ValueError("stop is a text, or a list of one to four, none of them empty")
        return self

    @property
    def stops(self) -> list[str]:
        """Texts that an answer ends before."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def most_tokens(self) -> int | None:
        """Longest answer; None: as the model likes."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def wants_json(self) -> bool:
        return self.response_format is not None and self.response_format.type == "json_object"

    @property
    def wants_usage(self) -> bool:
        """Of a stream, whether its last event says how many tokens there were."""
        return self.stream_options is not None and self.stream_options.include_usage


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


class Usage(BaseModel):
    """Tokens of the model. Those that stand for the photo are not counted: they are no words."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AssistantMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str


class ChatChoice(BaseModel):
    index: int = 0
    message: AssistantMessage
    finish_reason: Literal["stop", "length"] = "stop"


class ChatAnswer(BaseModel):
    """OpenAI's; `usage` is null of stock models and endpoints, whose tokens are not known here."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage | None
