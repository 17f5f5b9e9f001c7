"""Asking a language model behind an OpenAI-compatible endpoint (vLLM, Ollama, a vendor), and paying once.

openai's client sends the requests. Ours are the budget, the retries, and that no finished answer is asked for again.
The key is read from the environment; it is no part of what is stored, and it is taken out of every message.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import math
import os
import re
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from PIL import Image

from talking_points.journal import Ledger, Spent
from talking_points.photos import encode_photo

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 60.0
"""Between two attempts, also when the endpoint asks for more."""
REFUSALS_IN_A_ROW = 3
"""Requests that an endpoint may refuse as bad, one after the other, before it counts as one that refuses all. Ours."""
LONGEST_ANSWER = 1_000_000
"""Characters; no description is near it, and answers are kept."""
# A first guess of what a request with a photo costs, until one has been seen.
_PROMPT_TOKENS, _ANSWER_TOKENS = 2000, 400
# What content filters call themselves in a refusal: the only refusals that concern one request alone.
_FILTER_WORDS = re.compile(r"content[ _-]?(filter|policy|management)|safety|moderation", re.IGNORECASE)
_THOUGHTS = re.compile(r"^.*</think>\s*", re.DOTALL)
_UNENDED = re.compile(r"\s*<think>")


class EndpointDownError(OSError):
    """The endpoint gives no usable answers, however often it is asked."""


class RefusesRequestsError(EndpointDownError):
    """It has called so many requests in a row bad that it seems to refuse all; those may be one caller's."""


class BudgetSpentError(OSError):
    """The next request would exceed the budget."""


class RequestRefusedError(ValueError):
    """The endpoint's content filter refused this one request."""


class _PassingError(Exception):
    """A failure that may be gone at the next attempt; its reason, and how many seconds the endpoint asks to wait."""


class _RefusedParameterError(Exception):
    """The endpoint does not take a parameter: its name, and the one to send instead, or None."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointConfig:
    """Where a language model is, and how it is asked. All values are ours."""

    url: str
    """Of the API, such as http://localhost:8000/v1."""
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable of the key; when it is not set, none is sent."""
    timeout_s: float = 120.0
    """Longest silence while an answer is waited for."""
    attempts: int = 6
    """A request that fails this often in a row ends the run."""
    backoff_s: float = 1.0
    """Pause after the first failure; it doubles with each further one."""
    photo_side_px: int = 1024
    """Photos are sent scaled down to at most this long side."""
    max_answer_tokens: int | None = None
    """Longest answer; None leaves it to the endpoint, and nothing is sent: some models refuse the setting."""
    temperature: float | None = None
    """Of sampling; None as above."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if parts.scheme else parts.path
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"endpoint URL must be like http://localhost:8000/v1, got {shown}")
        if parts.username or parts.password or parts.query or parts.fragment:
            # It would be stored with the settings of the run.
            raise ValueError(
                f"endpoint URL {shown} holds a user, a password or a query: give a plain URL, "
                f"and the key in the environment variable {self.api_key_env}"
            )
        if not self.model:
            raise ValueError("the endpoint's model is empty, expected endpoint:URL,MODEL")
        for name in ("timeout_s", "attempts", "photo_side_px", "max_answer_tokens"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")

    @property
    def base_url(self) -> str:
        """The URL as openai's client expects it: "/chat/completions" is added by the client."""
        return self.url.rstrip("/").removesuffix("/chat/completions")


def parse_endpoint(who: str, **settings: Any) -> EndpointConfig:
    """Read `endpoint:URL,MODEL`; `settings` are other fields of `EndpointConfig`. A ValueError where anything is wrong.

    Example:
        >>> parse_endpoint("endpoint:http://localhost:8000/v1,llama").model
        'llama'
    """
    url, comma, model = who.removeprefix("endpoint:").partition(",")
    if not who.startswith("endpoint:") or not url or not comma:
        raise ValueError(f"{who!r} needs an address and a model, as in endpoint:http://host:8000/v1,MODEL")
    return EndpointConfig(url=url.strip(), model=model.strip(), **settings)


def no_connection(config: EndpointConfig, *, within_s: float = 3.0) -> str | None:
    """Why no connection to an endpoint comes about, in a few words; None where one does. Nothing is sent over it.

    None, too, where a proxy stands between: it takes connections for anybody.
    """
    parts = urlsplit(config.url)
    host = str(parts.hostname)
    proxies = getproxies()
    if ("all" in proxies or parts.scheme in proxies) and not proxy_bypass(host):
        return None
    met: list[str | None] = []

    def connect() -> None:
        try:
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            socket.create_connection((host, port), timeout=within_s).close()
            met.append(None)
        except (OSError, ValueError) as error:  # a port or a name that there cannot be is a ValueError
            met.append(getattr(error, "strerror", None) or str(error))

    # Looking a name up has no time limit of its own.
    connecting = threading.Thread(target=connect, daemon=True)
    connecting.start()
    connecting.join(within_s)
    return met[0] if met else f"no connection within {within_s:g} s"


class Budget:
    """How many requests may be sent and how many tokens used, by all endpoints of a run and all times it is started."""

    def __init__(self, *, max_requests: int | None, max_tokens: int | None, spent: Spent) -> None:
        """None is no limit; `spent` is what earlier starts have used (`Ledger.spent`)."""
        for name, value in (("max_requests", max_requests), ("max_tokens", max_tokens)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self._most_requests, self._most_tokens = max_requests or math.inf, max_tokens or math.inf
        self._requests, self._tokens = spent.requests, spent.tokens
        self._reserved = self._dearest = 0
        self._lock = threading.Lock()

    def reserve(self, answer_tokens: int | None) -> int:
        """Set tokens aside for a request about to be sent; returns how many, for `settle`.

        answer_tokens: the longest answer; None when it is not limited. A BudgetSpentError when nothing is left.
        """
        with self._lock:
            expected = max(self._dearest, (answer_tokens or _ANSWER_TOKENS) + (0 if self._dearest else _PROMPT_TOKENS))
            spent, option = "", ""
            if self._requests >= self._most_requests:
                spent, option = f"the budget of {self._most_requests} requests is spent", "--max-requests"
            elif self._tokens + self._reserved + expected > self._most_tokens:
                spent = (
                    f"the next request may exceed the budget of {self._most_tokens} tokens ({self._tokens} are used)"
                )
                option = "--max-tokens"
            if spent:
                raise BudgetSpentError(f"{spent}; give a larger {option} and start the same command again")
            self._requests += 1
            self._reserved += expected
            return expected

    def settle(self, reserved: int, used: int) -> None:
        """Replace what was reserved for a request by what it used; 0 when it failed."""
        with self._lock:
            self._reserved -= reserved
            self._tokens += used
            self._dearest = max(self._dearest, used)


class Endpoint:
    """One model at one endpoint. Answers go into the ledger before they are used. Threads may share it."""

    def __init__(self, config: EndpointConfig, ledger: Ledger | None = None, budget: Budget | None = None) -> None:
        """Nothing is sent yet.

        Args:
            config: where it is.
            ledger: keeps answers; None: the same question is asked and paid for again.
            budget: None: no limit.

        Raises:
            ImportError: openai's client is not installed.
        """
        if find_spec("openai") is None:
            raise ImportError("models behind endpoints need openai: pip install 'talking-points[endpoints]'")
        self.config = config
        self._ledger = ledger
        self._budget = budget or Budget(max_requests=None, max_tokens=None, spent=Spent(requests=0, tokens=0))
        self._refused: dict[str, str | None] = {}
        self._refusals = 0
        self._heard = False
        self._stopped = threading.Event()
        self._key = os.environ.get(config.api_key_env, "").strip()

    @cached_property
    def _client(self) -> Any:
        # Takes a second to import, and a run whose answers are all stored needs none of it.
        import openai

        return openai.OpenAI(
            base_url=self.config.base_url,
            api_key=self._key or "none",
            timeout=self.config.timeout_s,
            max_retries=0,
            # A redirect would take the key to another host.
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )

    def stop(self) -> None:
        """Let requests in other threads end as soon as they can: no further attempts."""
        self._stopped.set()

    def ask(
        self,
        prompt: str,
        pictures: Sequence[Image.Image],
        *,
        seed: int,
        stopped: threading.Event | None = None,
    ) -> str:
        """The model's answer to a prompt, from the ledger if it was paid for before.

        Args:
            prompt: plain text.
            pictures: shown with the prompt, as they are.
            seed: sent along; two equal questions with two seeds are two requests.
            stopped: once set, there are no further attempts, as after `stop`.

        Returns:
            The answer's text without surrounding white space; "" when the model said nothing.

        Raises:
            EndpointDownError, BudgetSpentError: the run must end here; the ledger keeps what there is.
            RequestRefusedError: the endpoint refused this request alone, such as by a content filter.
        """
        content: str | list[dict[str, Any]] = prompt
        if pictures:
            content = [*map(_as_part, pictures), {"type": "text", "text": prompt}]
        sampling = {"max_tokens": self.config.max_answer_tokens, "temperature": self.config.temperature}
        request = {
            "model": self.config.model,
            "messages": [{"role": "user", "content": content}],
            "seed": seed % 2**31,
            **{name: value for name, value in sampling.items() if value is not None},
        }
        if self._ledger is None:
            return self._attempt(request, stopped or self._stopped)[0]
        name = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        return self._ledger.answer(
            name, lambda: self._attempt(request, stopped or self._stopped), model=self.config.model
        )

    def _attempt(self, request: dict[str, Any], stopped: threading.Event) -> tuple[str, int, int]:
        for attempt in range(1, self.config.attempts + 1):
            if stopped.is_set():
                raise EndpointDownError("stopped")
            reserved = self._budget.reserve(self.config.max_answer_tokens)
            used = 0
            try:
                answer = self._send(request)
                used = answer[1] + answer[2]
                self._refusals = 0
                return answer
            except _PassingError as error:
                reason, asked_s = error.args
            finally:
                self._budget.settle(reserved, used)
            if attempt < self.config.attempts:
                pause_s = min(LONGEST_PAUSE_S, max(self.config.backoff_s * 2 ** (attempt - 1), asked_s))
                log.warning("%s: %s; attempt %d in %.1f s", self.config.model, reason, attempt + 1, pause_s)
                stopped.wait(pause_s)
        kept = "every answer so far is kept: " if self._ledger is not None else ""
        raise EndpointDownError(
            f"{self.config.base_url} failed {self.config.attempts} times in a row ({reason}); {kept}start the same "
            "command again when it is back"
        )

    def _send(self, request: dict[str, Any]) -> tuple[str, int, int]:
        """The answer, the prompt's tokens and the answer's tokens; without what the endpoint turns out to refuse."""
        while True:
            sent = without_refused(request, self._refused)
            try:
                return self._send_once(sent)
            except _RefusedParameterError as refused:
                name, instead = refused.args
                if name in self._refused:  # learned meanwhile by another thread
                    continue
                self._refused[name] = instead
                said = f"{instead} is sent instead" if instead else "it is not sent any more"
                if name in ("temperature", "seed") and not instead:
                    said += ", so that the same question may have another answer"
                log.warning("%s refuses the parameter %s: %s", self.config.model, name, said)

    def _send_once(self, request: dict[str, Any]) -> tuple[str, int, int]:
        """One attempt. Raises `_RefusedParameterError` as well."""
        import openai

        # The client insists on a key; without one of ours, none is sent.
        headers = {} if self._key else {"Authorization": openai.Omit()}
        # The client takes these from the environment; they are OpenAI's alone, and this may be anybody's endpoint.
        headers |= {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
        completion: Any = None
        try:
            completion = self._client.chat.completions.create(**request, extra_headers=headers)
            self._heard = True
            return _read_answer(completion, request)
        except openai.APITimeoutError:
            raise _PassingError(f"no answer within {self.config.timeout_s:g} s", 0.0) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            said = self._scrubbed(f"{type(cause).__name__}: {cause}")
            # A server that was never there is rather a wrong address than one that will be back in a minute.
            if not self._heard and type(cause).__name__ == "ConnectError":
                raise EndpointDownError(
                    f"nothing answers at {self.config.base_url} ({said}): start the server, or mend the address"
                ) from None
            raise _PassingError(said, 0.0) from None
        except openai.APIStatusError as error:
            self._heard = True
            raise self._of_status(error.response, request) from None
        except RequestRefusedError:
            raise
        except (openai.APIError, ValueError, LookupError, TypeError, AttributeError):
            said = f": {' '.join(completion.split())!r:.80}" if isinstance(completion, str) else ""
            raise _PassingError(f"its answer is no chat completion{said}", 0.0) from None

    def _of_status(self, response: Any, request: Mapping[str, Any]) -> Exception:
        status = response.status_code
        said = f"status {status} {self._scrubbed(' '.join(response.text.split()))[:300]}".strip()
        if status >= 500 or status in (408, 409, 425, 429):
            asked = response.headers.get("Retry-After", "")
            return _PassingError(said, float(asked) if asked.isascii() and asked.isdigit() else 0.0)
        if status in (400, 422) and (refused := refused_parameter(response.text, request)) is not None:
            return _RefusedParameterError(*refused)
        if status == 400 and _FILTER_WORDS.search(said):
            return RequestRefusedError(f"refused by the content filter of {self.config.model}")
        if status in (400, 413, 422):
            # Of one picture or one text, or of all of them: the next ones tell.
            self._refusals += 1
            if self._refusals < REFUSALS_IN_A_ROW:
                return RequestRefusedError(f"{self.config.model} refuses the request: {said}")
            return RefusesRequestsError(f"{self.config.base_url} refuses the request: {said}")
        if status in (401, 403):
            state = "not accepted" if self._key else "not set"
            said += f"; the key in the environment variable {self.config.api_key_env} is {state}"
        return EndpointDownError(f"{self.config.base_url} refuses the request: {said}")

    def _scrubbed(self, message: str) -> str:
        return message.replace(self._key, "***") if self._key else message


def _as_part(picture: Image.Image) -> dict[str, Any]:
    data = base64.b64encode(encode_photo(picture, quality=88)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


# What may be left out of a request, and what may stand for it.
_OPTIONAL: dict[str, str | None] = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None}
_REFUSALS = re.compile(
    r"""unsupported\ (?:parameter|value):\ ['"`]?(\w+)                # OpenAI
    |['"`](\w+)['"`]\ (?:is\ not\ supported|does\ not\ support)     # OpenAI
    |unrecognized\ request\ arguments?\ supplied:\ (\w+)           # OpenAI
    |unknown\ name\ \\*"(\w+)\\*":?(?:\ cannot|\ at\ '\w+')        # Gemini
    |'loc':\ \('body',\ '(\w+)'\)                                 # vLLM before 0.6.4
    |`(\w+)`\ is\ deprecated\ for\ this\ model                     # Anthropic
    |extra_forbidden['"],\s*['"]loc['"]:\s*\[['"]body['"],\s*['"](\w+)['"]\]  # FastAPI
    |\b(\w+):\ extra\ inputs\ are\ not\ permitted
    |property\ ['"](\w+)['"]\ is\ unsupported""",
    re.IGNORECASE | re.VERBOSE,
)


def refused_parameter(body: str, request: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """Which parameter of a request a 400's body refuses to know, and the one to send instead, or None.

    None for any other refusal, such as a value that is too large.

    Example:
        >>> refused_parameter("Unsupported parameter: 'max_tokens' is not supported here.", {"max_tokens": 9})
        ('max_tokens', 'max_completion_tokens')
        >>> refused_parameter("max_tokens is too large: 9000", {"max_tokens": 9000})
    """
    # Escaped quotes of a body within a body.
    text = body.replace('\\"', '"').replace("\\n", " ")
    for found in _REFUSALS.finditer(text):
        name = next(group for group in found.groups() if group)
        if name in request and name in _OPTIONAL:
            return name, _OPTIONAL[name]
    return None


def without_refused(request: Mapping[str, Any], refused: Mapping[str, str | None]) -> dict[str, Any]:
    """A request as it is sent to an endpoint that refuses some parameters."""
    renamed = {name: refused.get(name, name) for name in request}
    return {new: request[name] for name, new in renamed.items() if new is not None}


def _read_answer(completion: Any, request: dict[str, Any]) -> tuple[str, int, int]:
    """See `Endpoint._send`. The client checks no types: a completion that is none raises one of many errors."""
    content = completion.choices[0].message.content or ""
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content if part.get("type") == "text")
    # Half of a character beyond the first plane can be in JSON, and in no file.
    content = content.encode("utf-8", "replace").decode()
    if len(content) > LONGEST_ANSWER:
        raise RequestRefusedError(f"the answer has {len(content):,} characters; at most {LONGEST_ANSWER:,} are read")
    # Without a count of its own: four characters a token, as a rule of thumb.
    told = [getattr(completion.usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
    guessed = (min(len(json.dumps(request)) // 4, _PROMPT_TOKENS), len(content) // 4)
    prompt_tokens, answer_tokens = (a if isinstance(a, int) else b for a, b in zip(told, guessed, strict=True))
    answer = _THOUGHTS.sub("", content).strip()
    # Thoughts that were cut off are no answer.
    return "" if _UNENDED.match(answer) else answer, prompt_tokens, answer_tokens
