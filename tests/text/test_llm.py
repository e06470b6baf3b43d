"""Servers as people have them: each is used, or named with what it cannot do; none gets the key into a file."""

import json
import socket
import time

import pytest
from llm_server import DRIP, KEY, answer, completion, failure, good_prompts, serve

from sega_utils.text import llm, prompts
from sega_utils.text.banks import PromptError, load_bank
from sega_utils.text.prompts import expand, tokens

GOOD = good_prompts("dress", 3)
JSON = json.dumps({"prompts": GOOD})


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("OPENAI_BASE_URL", "OPENAI_LOG", *llm.PROXIES, *llm.CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def bank(tmp_path):
    return tmp_path / "bank.jsonl"


def ask(url, bank, names=("dress",), **options):
    return expand(names, bank=bank, **{"base_url": url, "live": True, "n_prompts": 3, "timeout": 5.0} | options)


def refused(url, bank, **options) -> str:
    with pytest.raises(PromptError) as caught:
        ask(url, bank, **options)
    assert KEY not in str(caught.value) and not bank.exists()
    return str(caught.value)


# what stands around the JSON

WRAPPED = {
    "fences": f"```json\n{JSON}\n```",
    "prose": f"Sure! Here are the captions:\n{JSON}\nLet me know.",
    "thoughts": f"<think>\nThey want [captions] like {{this}}.\n</think>\n\n{JSON}",
    "thoughts that hold an answer": f'<think>{{"prompts": ["no"]}}</think>{JSON}',
    "the end of thoughts": f"They want captions.</think>{JSON}",
    "a bare list": json.dumps(GOOD),
    "two objects": f'{{"note": ["a", "b"]}} {JSON}',
    "brackets before": f"[1] and {{x}}: {JSON}",
}


@pytest.mark.parametrize("content", WRAPPED.values(), ids=WRAPPED)
def test_the_json_inside_an_answer_is_used_and_the_bank_says_so(bank, content):
    with serve(completion(content)) as server:
        assert ask(server.url, bank)["dress"] == GOOD and len(server.requests) == 1
    (record,) = load_bank(bank).values()
    assert record["wrapped"] is (content != json.dumps(GOOD)) and record["response_format"] == "json_schema"


@pytest.mark.parametrize("content", ["[" * 5000, '{"prompts": [1, 2, 3]}', '{"prompts": "a dress"}', "", "x" * 200_001])
def test_an_answer_without_texts_is_asked_for_again(bank, content):
    with serve(completion(content)) as server:
        assert ask(server.url, bank)["dress"] == GOOD and len(server.requests) == 2


def test_an_error_in_an_answer_that_says_it_is_fine_is_shown(bank):
    wrong = (200, {}, json.dumps({"error": {"message": "model overloaded", "code": 503}}).encode())
    with serve(wrong) as server:
        assert "model overloaded" in refused(server.url, bank, max_retries=0)
    with serve((200, {"Content_Type": "text/html"}, b"<html>sign in</html>")) as server:
        assert "is base_url the address of an API" in refused(server.url, bank, max_retries=0)
    with serve(completion(None, reasoning_content="hm")) as server:
        assert "a model that thinks" in refused(server.url, bank, max_retries=0)


# formats


def knows(*formats):
    """Return an entry of a script that answers only requests in one of some formats, as LM Studio words it."""

    def reply(body):
        if body.get("response_format", {"type": "text"})["type"] in formats:
            return answer(GOOD)
        return 400, {}, json.dumps({"error": "'response_format.type' must be " + " or ".join(formats)}).encode()

    return reply


@pytest.mark.parametrize(("formats", "used"), [(("json_object", "text"), "json_object"), (("text",), "text")])
def test_a_server_without_json_schema_is_asked_in_another_way_aloud(bank, formats, used):
    n = 1 + llm.FORMATS.index(used)
    with serve(*[knows(*formats)] * n) as server, pytest.warns(UserWarning, match=f"asked for {used} instead"):
        ask(server.url, bank, ("dress", "coat"))
    assert len(server.requests) == n + 1  # the second class is asked in the right way at once
    assert server.requests[-1].get("response_format", {"type": "text"})["type"] == used
    assert all(body["messages"][0]["content"].count(llm.IN_WORDS) == 1 for body in server.requests[1:])
    first, second = load_bank(bank).values()
    assert first["response_format"] == second["response_format"] == used
    assert ask("http://localhost:1", bank) == {"dress": GOOD}  # the request, and so its digest, is the same


def test_a_server_that_knows_no_format_at_all(bank):
    with serve(*[knows()] * 3) as server, pytest.warns(UserWarning):
        assert "response_format.type" in refused(server.url, bank)
    assert len(server.requests) == 3


def test_a_request_that_is_wrong_otherwise_is_not_asked_in_another_way(bank):
    with serve(failure(400, "bad_request", "temperature must be 1")) as server:
        assert "temperature must be 1" in refused(server.url, bank)
    assert len(server.requests) == 1


# what a server tells of itself

USAGES = [None, {}, {"total_tokens": 30}, {"prompt_tokens": 9, "completion_tokens": None}, {"prompt_tokens": "9"}]


@pytest.mark.parametrize("usage", USAGES, ids=str)
def test_a_count_of_tokens_that_is_not_whole_counts_as_none(bank, usage):
    status, headers, body = answer(GOOD)
    with serve((status, headers, json.dumps(json.loads(body) | {"usage": usage}).encode())) as server:
        ask(server.url, bank)
    assert tokens(load_bank(bank).values()) == {"answers": 1, "unmetered": 1, "read": 0, "written": 0}


def test_an_answer_without_a_model_has_an_author(bank):
    status, headers, body = answer(GOOD)
    body = json.loads(body)
    del body["model"]
    with serve((status, headers, json.dumps(body).encode())) as server:
        ask(server.url, bank, model="tiny")
    (record,) = load_bank(bank).values()
    assert record["author"] == "tiny, as asked: the server names no model" and record["model"] is None


# the key


@pytest.mark.parametrize(
    "change",
    [
        {"model": KEY},
        {"system_fingerprint": f"fp-{KEY.upper()}"},
        {"usage": {"note": " ".join(KEY)}},
        {"model": KEY.replace("-", "_")},
    ],
    ids=str,
)
def test_a_key_that_the_server_sends_back_is_not_written(bank, change):
    status, headers, body = answer(GOOD)
    with serve((status, headers, json.dumps(json.loads(body) | change).encode())) as server:
        said = refused(server.url, bank)
    assert "holds the key, in its field" in said and "'dress'" in said


def test_a_key_in_a_prompt_is_not_written_and_what_was_recorded_stays(bank):
    with serve(answer(GOOD), answer([f"A coat with {KEY}.", "A coat, dark.", "A coat, light."])) as server:
        with pytest.raises(PromptError, match="for 'coat' holds the key, in its field 'prompts'"):
            ask(server.url, bank, ("dress", "coat"))
    assert len(load_bank(bank)) == 1 and KEY not in bank.read_text()


def test_a_key_in_capitals_is_not_shown(bank):
    with serve(failure(400, "bad_request", f"who is {KEY.upper()}?")) as server:
        assert "who is [key]?" in refused(server.url, bank)


# addresses, proxies, time, money


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://x/v1\n", "localhost:11434/v1", "ftp://x/v1", "http://", "http://a b/v1", "x"]
)
def test_an_address_that_is_none_is_named(bank, url, monkeypatch):
    assert f"base_url is {url!r}, no address; give one like http://" in refused(url, bank)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert "no address" in refused(None, bank)


def test_a_password_in_an_address_is_not_shown(bank):
    assert "hunter2" not in refused("ftp://me:hunter2@x/v1", bank)


@pytest.mark.parametrize("variable", ["ALL_PROXY", "https_proxy"])
@pytest.mark.parametrize("proxy", ["socks5://me:hunter2@127.0.0.1:1080", "nonsense://x:1", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_named(bank, monkeypatch, variable, proxy):
    try:
        import socksio  # noqa: F401

        proxy = proxy.replace("socks5", "socks9")
    except ImportError:
        pass
    monkeypatch.setenv(variable, proxy)
    said = refused("http://localhost:1/v1", bank)
    assert f"environment variable {variable}" in said and "pip install socksio" in said and "hunter2" not in said


def test_certificates_that_are_not_there_are_named(bank, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    assert "environment variable SSL_CERT_FILE cannot be read" in refused("http://localhost:1/v1", bank)


def test_one_deadline_holds_for_the_whole_answer(bank):
    begin = time.monotonic()
    with serve(DRIP) as server:
        assert "answered too late" in refused(server.url, bank, timeout=0.4, max_retries=0)
    assert time.monotonic() - begin < 3


USED_UP = {
    "OpenAI": failure(429, "insufficient_quota"),
    "Gemini": (
        429,
        {},
        b'{"error": {"code": 429, "message": "You exceeded your current quota, please check your plan and billing '
        b'details.", "status": "RESOURCE_EXHAUSTED"}}',
    ),
    "DeepSeek": failure(402, "invalid_request_error", "Insufficient Balance"),
}


@pytest.mark.parametrize("reply", USED_UP.values(), ids=USED_UP)
def test_a_used_up_quota_is_asked_for_once(bank, reply):
    with serve(*[reply] * 3) as server:
        assert "quota is used up" in refused(server.url, bank)
    assert len(server.requests) == 1


def test_a_quota_a_minute_is_waited_for(bank, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with serve(failure(429, "rate_limited", "quota of requests per minute", Retry_After="1")) as server:
        assert ask(server.url, bank)["dress"] == GOOD and len(server.requests) == 2


# names and what is told


@pytest.mark.parametrize("name", ["猫", "犬小屋", "собака", "कुत्ता", "گل‌فروش", "café", "γάτα"])
def test_class_names_of_other_scripts(bank, name):
    with serve() as server:
        found = ask(server.url, bank, (name,))
    assert found == ask("http://localhost:1", bank, (name,)) == {name: good_prompts(name, 3)}


def test_a_name_may_be_composed_or_not_and_stand_without_spaces():
    prompts.validate("cafe\u0301", ["One caf\u00e9 at night."], 1)
    prompts.validate("猫", ["黒い猫がいる、とても暗い。"], 1)
    prompts.validate("butterfly", ["Two small butterflies."], 1)
    with pytest.raises(PromptError, match="does not name"):
        prompts.validate("boy", ["Two small boies."], 1)


@pytest.mark.parametrize(
    "told",
    [
        {"domain": "x" * 1_000_000},
        {"domain": " "},
        {"domain": "a\x00b"},
        {"model": ""},
        {"descriptions": {"dress": "\n"}},
    ],
    ids=lambda told: next(iter(told)),
)
def test_what_is_told_has_limits(bank, told, monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    with pytest.raises(ValueError, match=r"allowed are 1 .. 500 characters") as caught:
        ask("http://localhost:1/v1", bank, **told)
    assert len(str(caught.value)) < 300
