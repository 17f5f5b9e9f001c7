"""Language models behind an OpenAI-compatible endpoint (vLLM, Ollama, a vendor): asking, retrying, paying once.

Over the standard library's HTTP client: one POST is all there is to it. The key is read from the environment when a
request is sent; it is no part of what is stored, and it is taken out of every message.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.parse import urlsplit

from PIL import Image

from talking_points.dataset.describers.describer import Level, PointTask, Refusal
from talking_points.dataset.describers.windows import as_jpeg, cut_out, ringed_photo
from talking_points.dataset.prompts import fill_prompt
from talking_points.journal import Ledger, Spent

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 60.0
"""Between two attempts, also when the endpoint asks for more."""
LARGEST_ANSWER_BYTES = 4_000_000
# A first guess of what a request with a photo costs beside its answer, until one has been seen.
_PROMPT_TOKENS = 2000
# What content filters call themselves in a refusal: the only refusals that concern one record alone.
_FILTER_WORDS = re.compile(r"content[ _-]?(filter|policy|management)|safety|moderation", re.IGNORECASE)
_THOUGHTS = re.compile(r"^\s*<think>.*?</think>\s*", re.DOTALL)


class EndpointDownError(OSError):
    """The endpoint gives no usable answers, however often it is asked."""


class BudgetSpentError(OSError):
    """The next request would exceed the budget."""


class RequestRefusedError(ValueError):
    """The endpoint's content filter refused this one request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointConfig:
    """Where a language model is, and how it is asked. All values are ours."""

    url: str
    """Of the API, such as http://localhost:8000/v1; "/chat/completions" is added."""
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable of the key; when it is not set, none is sent."""
    timeout_s: float = 120.0
    """Longest wait for one answer."""
    attempts: int = 6
    """A request that fails this often in a row ends the run."""
    backoff_s: float = 1.0
    """Pause after the first failure; it doubles with each further one."""
    photo_side_px: int = 1024
    """Photos are sent scaled down to at most this long side."""
    max_answer_tokens: int = 400
    temperature: float = 0.3

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"endpoint URL must be like http://localhost:8000/v1, got {_without_secrets(self.url)}")
        if parts.username or parts.password or parts.query or parts.fragment:
            # It would be stored with the records' settings.
            raise ValueError(
                f"endpoint URL {_without_secrets(self.url)} holds a user, a password or a query: give a plain URL, "
                f"and the key in the environment variable {self.api_key_env}"
            )
        if not self.model:
            raise ValueError("the endpoint's model is empty, expected endpoint:URL,MODEL")
        for name in ("timeout_s", "attempts", "photo_side_px", "max_answer_tokens"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @property
    def address(self) -> str:
        """What is posted to."""
        base = self.url.rstrip("/")
        return base if base.endswith("/chat/completions") else f"{base}/chat/completions"


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if parts.scheme else parts.path.split("?")[0]


class Budget:
    """How many requests may be sent and how many tokens used, by all endpoints of a build and all its runs."""

    def __init__(self, *, max_requests: int | None, max_tokens: int | None, spent: Spent) -> None:
        for name, value in (("max_requests", max_requests), ("max_tokens", max_tokens)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.max_requests = max_requests
        self.max_tokens = max_tokens
        self._requests = spent.requests
        self._tokens = spent.tokens
        self._reserved = 0
        self._dearest = 0
        self._lock = threading.Lock()

    def reserve(self, answer_tokens: int) -> int:
        """Set tokens aside for a request about to be sent; returns how many, for `settle`.

        Raises:
            BudgetSpentError: nothing is left.
        """
        with self._lock:
            expected = max(self._dearest, answer_tokens + (0 if self._dearest else _PROMPT_TOKENS))
            if self.max_requests is not None and self._requests >= self.max_requests:
                raise BudgetSpentError(
                    f"the budget of {self.max_requests} requests is spent; give a larger --max-requests and start the "
                    "same command again"
                )
            if self.max_tokens is not None and self._tokens + self._reserved + expected > self.max_tokens:
                raise BudgetSpentError(
                    f"the next request may exceed the budget of {self.max_tokens} tokens ({self._tokens} are used); "
                    "give a larger --max-tokens and start the same command again"
                )
            self._requests += 1
            self._reserved += expected
            return expected

    def settle(self, reserved: int, used: int) -> None:
        """Replace what was reserved for a request by what it used; 0 when it failed."""
        with self._lock:
            self._reserved -= reserved
            self._tokens += used
            self._dearest = max(self._dearest, used)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key to another host."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


class _PassingError(Exception):
    """A failure that may be gone at the next attempt."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class Endpoint:
    """One model at one endpoint. Answers go into the ledger before they are used. Threads may share it."""

    def __init__(self, config: EndpointConfig, ledger: Ledger, budget: Budget) -> None:
        self.config = config
        self._ledger = ledger
        self._budget = budget
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let requests in other threads end as soon as they can: no further attempts."""
        self._stopped.set()

    def ask(self, prompt: str, picture: Image.Image | None, *, seed: int) -> str:
        """The model's answer to a prompt, from the ledger if it was paid for before.

        Args:
            prompt: plain text.
            picture: shown with the prompt, as it is; None for text alone.
            seed: sent along; two equal questions with two seeds are two requests.

        Returns:
            The answer's text without surrounding white space; "" when the model said nothing.

        Raises:
            EndpointDownError, BudgetSpentError: the run must end here; the ledger keeps what there is.
            RequestRefusedError: a content filter refused this request.
        """
        content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
        if picture is not None:
            data = base64.b64encode(as_jpeg(picture)).decode()
            content.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}})
        body = json.dumps(
            {
                "model": self.config.model,
                "messages": [{"role": "user", "content": content if picture is not None else prompt}],
                "max_tokens": self.config.max_answer_tokens,
                "temperature": self.config.temperature,
                "seed": seed % 2**31,
            },
            sort_keys=True,
        ).encode()
        name = hashlib.sha256(body).hexdigest()
        return self._ledger.answer(name, lambda: self._attempt(body), model=self.config.model)

    def _attempt(self, body: bytes) -> tuple[str, int, int]:
        reason = ""
        for attempt in range(self.config.attempts):
            if self._stopped.is_set():
                raise EndpointDownError("stopped")
            reserved = self._budget.reserve(self.config.max_answer_tokens)
            used = 0
            try:
                answer = self._post(body)
                used = answer[1] + answer[2]
                return answer
            except _PassingError as error:
                reason = str(error)
                doubled = self.config.backoff_s * 2**attempt
                pause_s = min(LONGEST_PAUSE_S, max(doubled, error.pause_s or 0.0))
            finally:
                self._budget.settle(reserved, used)
            if attempt + 1 < self.config.attempts:
                log.warning("%s: %s; attempt %d in %.1f s", self.config.model, reason, attempt + 2, pause_s)
                self._stopped.wait(pause_s)
        raise EndpointDownError(
            f"{self.config.address} failed {self.config.attempts} times in a row ({reason}); every answer so far is "
            "kept: start the same command again when it is back"
        )

    def _post(self, body: bytes) -> tuple[str, int, int]:
        headers = {"Content-Type": "application/json", "User-Agent": "talking-points"}
        key = os.environ.get(self.config.api_key_env, "")
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.config.address, data=body, headers=headers, method="POST")
        deadline = time.monotonic() + self.config.timeout_s
        try:
            with self._opener.open(request, timeout=self.config.timeout_s) as response:
                raw = b""
                # Piece by piece: the timeout alone is for each piece, and they may drip in for ever.
                while piece := response.read1(65536):
                    raw += piece
                    if time.monotonic() > deadline:
                        raise TimeoutError
                    if len(raw) > LARGEST_ANSWER_BYTES:
                        raise _PassingError(f"its answer is longer than {LARGEST_ANSWER_BYTES:,} bytes")
        except urllib.error.HTTPError as error:
            raise self._of_status(error, key) from None
        except TimeoutError:
            raise _PassingError(f"no answer within {self.config.timeout_s:g} s") from None
        except (urllib.error.URLError, OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise _PassingError(f"no answer within {self.config.timeout_s:g} s") from None
            raise _PassingError(_scrubbed(f"{type(reason).__name__}: {reason}", key)) from None
        return _read_answer(raw, body)

    def _of_status(self, error: urllib.error.HTTPError, key: str) -> Exception:
        said = _scrubbed(" ".join(error.read(2000).decode("utf-8", "replace").split())[:300], key)
        if error.code >= 500 or error.code in (408, 409, 425, 429):
            asked = error.headers.get("Retry-After", "")
            return _PassingError(f"status {error.code} {said}".strip(), float(asked) if asked.isdigit() else None)
        if error.code == 400 and _FILTER_WORDS.search(said):
            return RequestRefusedError(f"refused by the content filter of {self.config.model}")
        hint = ""
        if error.code in (401, 403):
            state = "not accepted" if key else "not set"
            hint = f"; the key in the environment variable {self.config.api_key_env} is {state}"
        return EndpointDownError(
            f"{self.config.address} refuses the request: status {error.code} {said}".strip() + hint
        )


def _scrubbed(message: str, key: str) -> str:
    return message.replace(key, "***") if key else message


def _read_answer(raw: bytes, body: bytes) -> tuple[str, int, int]:
    try:
        answer = json.loads(raw)
        content = answer["choices"][0]["message"]["content"]
        if isinstance(content, list):
            content = "".join(part["text"] for part in content if part.get("type") == "text")
        if content is not None and not isinstance(content, str):
            raise TypeError
        usage = answer.get("usage") or {}
        # Without a count of its own: four characters a token, as a rule of thumb.
        prompt_tokens = int(usage.get("prompt_tokens", min(len(body) // 4, _PROMPT_TOKENS)))
        answer_tokens = int(usage.get("completion_tokens", len(content or "") // 4))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise _PassingError("its answer is no chat completion") from None
    return _THOUGHTS.sub("", content or "").strip(), prompt_tokens, answer_tokens


class EndpointDescriber:
    """Describes points by asking a model with vision: the ringed photo, or the faded cut-out."""

    def __init__(self, level: Level, endpoint: Endpoint) -> None:
        self.level = level
        self._endpoint = endpoint
        self.name = endpoint.config.model

    def describe(self, open_photo: Callable[[], Image.Image], tasks: Sequence[PointTask]) -> list[str | Refusal]:
        """See `PhotoDescriber`; errors as `Endpoint.ask`, but that a refused request is a `Refusal`."""
        photo = open_photo()
        texts: list[str | Refusal] = []
        for task in tasks:
            facts = task.facts
            names = {"object_name": facts.object_name, "part_name": facts.part_name}
            if self.level == "object":
                prompt = fill_prompt("object", relations=task.relations, **names)
                picture = ringed_photo(photo, facts.point_px, self._endpoint.config.photo_side_px)
            else:
                prompt = fill_prompt("local", **names)
                picture = cut_out(photo, facts.point_px)
            try:
                texts.append(" ".join(self._endpoint.ask(prompt, picture, seed=task.seed).split()))
            except RequestRefusedError as refusal:
                texts.append(Refusal(str(refusal)))
        return texts
