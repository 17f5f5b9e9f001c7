import json
import logging
import threading

import pytest
from PIL import Image

from talking_points.endpoint import (
    Budget,
    BudgetSpentError,
    Endpoint,
    EndpointConfig,
    EndpointDownError,
    RequestRefusedError,
    no_connection,
    parse_endpoint,
    refused_parameter,
)
from talking_points.journal import Ledger, Spent
from tests.endpoint_server import completion, picture_of, prompt_of, serving

KEY = "sk-very-secret-1234"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("TEST_KEY", KEY)


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path) as opened:
        yield opened


def unlimited():
    return Budget(max_requests=None, max_tokens=None, spent=Spent(requests=0, tokens=0))


def endpoint_at(url, ledger, budget=None, **settings):
    settings = {"backoff_s": 0.001, "timeout_s": 60.0, "attempts": 3, "api_key_env": "TEST_KEY"} | settings
    return Endpoint(EndpointConfig(url=url, model="m", **settings), ledger, budget or unlimited())


def test_a_question_and_its_answer(ledger):
    with serving(lambda asked, number: completion(" a red\nshirt ")) as server:
        answer = endpoint_at(server.url, ledger).ask("what?", (), seed=5)
        assert answer == "a red\nshirt"
        assert server.paths == ["/v1/chat/completions"]
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
        (asked,) = server.requests
        assert asked == {"model": "m", "seed": 5, "messages": [{"role": "user", "content": "what?"}]}
    assert ledger.spent() == Spent(requests=1, tokens=15)


def test_settings_of_sampling_are_sent_when_they_are_set(ledger):
    with serving(lambda asked, number: completion("x")) as server:
        endpoint_at(server.url, ledger, max_answer_tokens=9, temperature=0.0).ask("what?", (), seed=0)
        assert (server.requests[0]["max_tokens"], server.requests[0]["temperature"]) == (9, 0.0)


def test_a_picture_goes_along(ledger):
    with serving(lambda asked, number: completion("x")) as server:
        endpoint_at(server.url + "/chat/completions", ledger).ask("what?", [Image.new("RGB", (6, 4))], seed=0)
        assert server.paths == ["/v1/chat/completions"]
        assert prompt_of(server.requests[0]) == "what?" and picture_of(server.requests[0]).size == (6, 4)


def test_no_key_no_header(ledger, monkeypatch):
    monkeypatch.delenv("TEST_KEY")
    with serving(lambda asked, number: completion("x")) as server:
        endpoint_at(server.url, ledger).ask("what?", (), seed=0)
        assert "Authorization" not in server.headers[0]


def test_an_answer_is_paid_for_once(ledger):
    with serving(lambda asked, number: completion(f"answer {number}")) as server:
        endpoint = endpoint_at(server.url, ledger)
        assert [endpoint.ask("a", (), seed=0) for _ in range(3)] == ["answer 0"] * 3
        assert endpoint.ask("a", (), seed=1) == "answer 1"
        assert endpoint.ask("b", (), seed=0) == "answer 2"
        # Another address of the same model: nothing is asked again.
        assert endpoint_at("http://127.0.0.1:9/v1", ledger).ask("a", (), seed=0) == "answer 0"
        assert len(server.requests) == 3


# Failures that pass, each followed by a good answer.
PASSING = {
    "too many requests": (429, {"Retry-After": "0"}, b"slow down"),
    "server error": (500, {}, b"oops"),
    "overloaded": (503, {}, b""),
    "no JSON": (200, {}, b"<html>welcome</html>"),
    "not a completion": (200, {}, b'{"choices": []}'),
    "a list": (200, {}, b"[1, 2]"),
    "empty": (200, {}, b""),
    "content of another kind": (200, {}, json.dumps({"choices": [{"message": {"content": 7}}]}).encode()),
    "bytes that are no text": (200, {}, b"\xff\xfe\x00"),
    "a body cut short": (200, {"Content-Length": "1000"}, b'{"choices"'),
}


@pytest.mark.parametrize("failure", PASSING.values(), ids=PASSING.keys())
def test_passing_failures_are_tried_again(ledger, failure):
    with serving(lambda asked, number: failure if number < 2 else completion("fine")) as server:
        assert endpoint_at(server.url, ledger).ask("what?", (), seed=0) == "fine"
        assert len(server.requests) == 3
    assert ledger.spent().requests == 1


def test_an_endpoint_that_is_down_for_good(ledger):
    with serving(lambda asked, number: (500, {}, f"the key {KEY} broke me".encode())) as server:
        with pytest.raises(EndpointDownError, match=r"failed 3 times in a row \(status 500.*start the same") as caught:
            endpoint_at(server.url, ledger).ask("what?", (), seed=0)
        assert len(server.requests) == 3
    assert KEY not in str(caught.value)


def test_nothing_listens_there(ledger, caplog):
    with serving(lambda asked, number: completion("fine")) as server:
        met = endpoint_at(server.url, ledger)
        assert met.ask("what?", (), seed=0) == "fine"
    # One that answered may come back; one that was never there is a wrong address, and is not waited for.
    with pytest.raises(EndpointDownError, match="failed 3 times in a row .*Connection refused"):
        met.ask("and now?", (), seed=0)
    assert len(caplog.records) == 2
    for url in (server.url, server.url.replace("http:", "https:")):
        with pytest.raises(
            EndpointDownError, match=f"nothing answers at {url} .*start the server, or mend the address"
        ):
            endpoint_at(url, ledger).ask("what else?", (), seed=0)
    assert len(caplog.records) == 2


def test_whether_a_connection_comes_about(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def at(url):
        return no_connection(EndpointConfig(url=url, model="m"), within_s=0.2)

    with serving(lambda asked, number: completion("fine")) as server:
        assert at(server.url) is None and not server.requests
    assert at(server.url) == "Connection refused"
    assert "Port out of range" in at("http://127.0.0.1:99999")
    # A proxy takes connections for anybody.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert at(server.url) is None
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert at(server.url) == "Connection refused"
    # Looking a name up may take longer than any connection.
    release = threading.Event()

    def connect(*_, **__):
        release.wait(30)
        raise OSError("too late")

    monkeypatch.setattr("socket.create_connection", connect)
    assert at(server.url) == "no connection within 0.2 s"
    release.set()


def test_an_endpoint_that_does_not_answer(ledger):
    release = threading.Event()

    def hang(asked, number):
        release.wait(60)
        return completion("late")

    with serving(hang) as server:
        with pytest.raises(EndpointDownError, match=r"no answer within 0.05 s"):
            endpoint_at(server.url, ledger, timeout_s=0.05, attempts=2).ask("what?", (), seed=0)
        release.set()


@pytest.mark.parametrize(
    ("status", "message"), [(401, "TEST_KEY is not accepted"), (404, "status 404"), (405, "no such model")]
)
def test_an_endpoint_that_will_never_answer_is_asked_once(ledger, status, message):
    with serving(lambda asked, number: (status, {}, b"no such model, " + KEY.encode())) as server:
        with pytest.raises(EndpointDownError, match=message) as caught:
            endpoint_at(server.url, ledger).ask("what?", (), seed=0)
        assert len(server.requests) == 1
    assert KEY not in str(caught.value)


def test_the_key_does_not_follow_a_redirect(ledger):
    with serving(lambda asked, number: completion("caught")) as elsewhere:
        reply = (302, {"Location": f"{elsewhere.url}/chat/completions"}, b"")
        with serving(lambda asked, number: reply) as server, pytest.raises(EndpointDownError, match="status 302"):
            endpoint_at(server.url, ledger).ask("what?", (), seed=0)
        assert elsewhere.requests == []


def test_the_key_is_in_no_file_and_no_log(ledger, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    failing = (503, {}, f"bad {KEY}".encode())
    with serving(lambda asked, number: failing if number < 2 else completion("fine")) as server:
        endpoint_at(server.url, ledger).ask("what?", (), seed=0)
    assert "attempt 2" in caplog.text
    assert KEY not in caplog.text
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()


def test_thoughts_are_not_part_of_the_answer_and_silence_is_one(ledger):
    replies = [completion("<think>hm,\nwell</think>\n\na dog"), completion(None)]
    with serving(lambda asked, number: replies[number]) as server:
        endpoint = endpoint_at(server.url, ledger)
        assert endpoint.ask("a", (), seed=0) == "a dog"
        assert endpoint.ask("b", (), seed=0) == ""


class TestBudget:
    def test_requests_of_earlier_runs_count(self, ledger):
        budget = Budget(max_requests=5, max_tokens=None, spent=Spent(requests=3, tokens=0))
        with serving(lambda asked, number: completion("x")) as server:
            endpoint = endpoint_at(server.url, ledger, budget)
            endpoint.ask("a", (), seed=0)
            endpoint.ask("b", (), seed=0)
            with pytest.raises(BudgetSpentError, match="budget of 5 requests is spent; give a larger --max-requests"):
                endpoint.ask("c", (), seed=0)
            # What is paid for stays free.
            assert endpoint.ask("a", (), seed=0) == "x"
            assert len(server.requests) == 2

    def test_failed_attempts_count(self, ledger):
        budget = Budget(max_requests=2, max_tokens=None, spent=Spent(requests=0, tokens=0))
        with serving(lambda asked, number: (500, {}, b"")) as server:
            with pytest.raises(BudgetSpentError):
                endpoint_at(server.url, ledger, budget).ask("a", (), seed=0)
            assert len(server.requests) == 2

    def test_tokens_are_never_exceeded(self, ledger):
        budget = Budget(max_requests=None, max_tokens=5000, spent=Spent(requests=0, tokens=0))
        reply = completion("x", prompt_tokens=900, answer_tokens=100)
        with serving(lambda asked, number: reply) as server:
            endpoint = endpoint_at(server.url, ledger, budget)
            with pytest.raises(BudgetSpentError, match=r"budget of 5000 tokens \(5000 are used\)"):
                for number in range(10):
                    endpoint.ask(str(number), (), seed=0)
            assert len(server.requests) == 5

    def test_nonsense(self):
        with pytest.raises(ValueError, match="max_tokens must be at least 1, got 0"):
            Budget(max_requests=None, max_tokens=0, spent=Spent(requests=0, tokens=0))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/v1", "like http://localhost:8000/v1"),
        ("host/v1", "like http://localhost:8000/v1"),
        (f"http://user:{KEY}@host/v1", "holds a user, a password or a query"),
        (f"http://host/v1?key={KEY}", "holds a user, a password or a query"),
    ],
)
def test_addresses_that_are_refused(url, message):
    with pytest.raises(ValueError, match=message) as caught:
        EndpointConfig(url=url, model="m")
    assert KEY not in str(caught.value)


def test_an_endpoint_as_a_person_gives_it():
    given = parse_endpoint("endpoint:http://host:8000/v1, m", timeout_s=3)
    assert (given.url, given.model, given.timeout_s) == ("http://host:8000/v1", "m", 3)
    for bad in ("http://host/v1,m", "endpoint:http://host/v1", "endpoint:,m"):
        with pytest.raises(ValueError, match="needs an address and a model, as in endpoint:"):
            parse_endpoint(bad)


def test_settings_that_are_refused():
    with pytest.raises(ValueError, match="model is empty"):
        EndpointConfig(url="http://host/v1", model="")
    with pytest.raises(ValueError, match="timeout_s must be positive"):
        EndpointConfig(url="http://host/v1", model="m", timeout_s=0)


SENT = {"model": "m", "messages": [], "max_tokens": 9, "temperature": 0.0, "seed": 3}
BODIES = [
    # As these servers answer with status 400.
    (
        {
            "error": {
                "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                "'max_completion_tokens' instead.",
                "type": "invalid_request_error",
                "param": "max_tokens",
                "code": "unsupported_parameter",
            }
        },
        ("max_tokens", "max_completion_tokens"),
    ),
    (
        {
            "error": {
                "message": "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default "
                "(1) value is supported.",
                "type": "invalid_request_error",
                "param": "temperature",
                "code": "unsupported_value",
            }
        },
        ("temperature", None),
    ),
    ({"error": {"message": "Unrecognized request argument supplied: seed", "param": None}}, ("seed", None)),
    (
        [
            {
                "error": {
                    "code": 400,
                    "message": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.',
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        ("seed", None),
    ),
    (
        {
            "object": "error",
            "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not allowed'}]",
            "code": 400,
        },
        ("seed", None),
    ),
    (
        {"type": "error", "error": {"message": "`temperature` is deprecated for this model."}},
        ("temperature", None),
    ),
    # What these are about, no parameter left out would mend.
    (
        {
            "error": {
                "message": "max_tokens is too large: 20480. This model supports at most 16384",
                "param": "max_tokens",
            }
        },
        None,
    ),
    ({"error": {"message": "max_tokens must be at least 1, got -186."}}, None),
    ({"error": {"message": "Unsupported parameter: 'top_k' is not supported."}}, None),
    ({"error": {"message": "Unsupported value: 'messages' does not support images."}}, None),
]


@pytest.mark.parametrize(("body", "refused"), BODIES)
def test_what_a_400_refuses(body, refused):
    assert refused_parameter(json.dumps(body), SENT) == refused


def test_refused_parameters_are_left_out_from_then_on(ledger, caplog):
    def reply(asked, number):
        for body, refused in BODIES[:3]:
            if refused[0] in asked:
                return 400, {}, json.dumps(body).encode()
        return completion(json.dumps(sorted(set(asked) - {"model", "messages"})))

    with serving(reply) as server:
        endpoint = endpoint_at(server.url, ledger, max_answer_tokens=9, temperature=0.0)
        assert json.loads(endpoint.ask("what?", (), seed=0)) == ["max_completion_tokens"]
        assert server.requests[-1]["max_completion_tokens"] == 9 and len(server.requests) == 4
        endpoint.ask("and that?", (), seed=0)
        assert len(server.requests) == 5
    assert sum("refuses the parameter" in line for line in caplog.messages) == 3
    assert any("the same question may have another answer" in line for line in caplog.messages)


def test_a_refusal_that_nothing_mends_ends_the_run(ledger):
    with serving(lambda asked, number: (400, {}, json.dumps(BODIES[6][0]).encode())) as server:
        endpoint = endpoint_at(server.url, ledger, max_answer_tokens=9)
        for _ in range(2):
            with pytest.raises(RequestRefusedError, match="refuses the request: status 400 .*max_tokens is too large"):
                endpoint.ask("what?", (), seed=0)
        # The third in a row: it is not this question.
        with pytest.raises(EndpointDownError, match="refuses the request: status 400 .*max_tokens is too large"):
            endpoint.ask("what?", (), seed=0)
        assert len(server.requests) == 3


def test_without_a_ledger_nothing_is_kept():
    with serving(lambda asked, number: completion(f"answer {number}")) as server:
        endpoint = Endpoint(parse_endpoint(f"endpoint:{server.url},m"))
        assert [endpoint.ask("what?", (), seed=0) for _ in range(2)] == ["answer 0", "answer 1"]
