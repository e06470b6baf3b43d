"""Faults in what an LLM answers, in what its server sends, and in how it is reached; a stub answers in the process."""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import httpx2

from sega_utils.studies.faults.judge import Fault
from sega_utils.studies.faults.run import Bench
from sega_utils.text import banks, llm, prompts

KEY = "sk-not-a-key-5f2a91c07e"
NAME, N = "dress", 3


def from_llm(bench: Bench) -> Iterator[Fault]:
    """Yield answers of an LLM that are not what was asked for, and ways in which its server fails or is not there."""
    good = [f"Photo {i} shows one dark {NAME}." for i in range(N)]
    bank = bench.folder / "llm.jsonl"
    answers = {what: _completion(content) for what, content in _answers(good, bench.rng).items()}
    answers["good, finished by length"] = _completion(json.dumps({"prompts": good}), "length")
    for what, reply in answers.items():
        attempt = partial(_asked, bank, lambda _, reply=reply: httpx2.Response(200, json=reply))
        yield Fault("LLM answer", "the answer", what, attempt, (repr(NAME),), partial(list, good))
    for what, response in _responses(good).items():
        attempt = partial(_asked, bank, response)
        yield Fault("LLM server", "the server", what, attempt, (repr(NAME), "key"), partial(list, good))
    for name, values in VARIABLES.items():
        for value in values:
            attempt = partial(_reached, {name: value})
            yield Fault(
                "environment", name, ascii(value)[1:-1][:60], attempt, (name, "key", "base_url"), lambda: "connected"
            )


# variable of the environment: values with which nothing can be asked
VARIABLES = {
    "ALL_PROXY": ("socks5://127.0.0.1:1", "ftp://localhost", "http://[::1", "nonsense", "http://a b"),
    "HTTPS_PROXY": ("socks4://127.0.0.1:1", "://", "http://"),
    "SSL_CERT_FILE": ("/nonexistent.pem", "/dev/null", "/proc", "a\nb"),
    "SSL_CERT_DIR": ("/nonexistent", "/dev/null"),
    "OPENAI_BASE_URL": (
        "http://[::1",
        "localhost:8000",
        "ftp://localhost",
        "http://a b/v1",
        "http://a\n/v1",
        "//x",
        "x",
    ),
    "OPENAI_API_KEY": ("", " ", "sk-\u00e4", "sk-a b", "sk-a\nb", "\u2026", "sk-a\tb"),
}


def _reached(variables: dict[str, str]) -> str:
    """Connect to no server, with these variables, and return that it is possible."""
    given = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://localhost/v1"} | variables
    lacking = [name for names in (llm.PROXIES, llm.CERTIFICATES) for name in names if name not in variables]
    with mock.patch.dict(os.environ, given):
        for name in [*lacking, *map(str.lower, lacking)]:
            os.environ.pop(name, None)
        llm.connect(None, None, 1, 0)
    return "connected"


def _completion(content: object, finish: str = "stop", **more: object) -> dict:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    usage = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
    told = {"id": "1", "object": "chat.completion", "created": 1_700_000_000, "model": "stub", "usage": usage}
    return told | {"choices": [choice]} | more


def _answers(good: list[str], rng: random.Random) -> dict[str, object]:
    whole = json.dumps({"prompts": good})
    asked = lambda texts: json.dumps({"prompts": texts})
    found = {
        **{"good": whole, "thoughts before": f"<think>\nThey want [captions] like {{this}}.\n</think>\n{whole}"},
        "thoughts that hold an answer": f'<think>{{"prompts": ["no"]}}</think>{whole}',
        **{"only thoughts": "<think>They want captions.", "fences": f"```json\n{whole}\n```"},
        **{"a sentence around": f"Sure!\n{whole}\nLet me know.", "a bare list": json.dumps(good)},
        "another object before": f'{{"note": ["a", "b"]}} {whole}',
        **{"another key": json.dumps({"captions": good}), "no JSON": "A dark dress. Another dress. A third dress."},
        **{"a table": "| 1 | a dress |\n| 2 | a dress |", "HTML": "<html><body>sign in</body></html>", "empty": ""},
        **{"null": None, "only spaces": " \n ", "brackets without end": "[" * 5000, "numbers": asked([1, 2, 3])},
        **{"a text for a list": asked("a dress"), "an object for a list": asked({"1": good[0]})},
        **{"one too few": asked(good[:-1]), "one too many": asked([*good, "One more dark dress here."])},
        **{"none": asked([]), "one twice": asked([good[0], *good[:-1]])},
        "one twice in capitals": asked([good[0].upper(), *good[:-1]]),
        "another class": asked([text.replace(NAME, "coat") for text in good]),
        "a word that holds the class": asked([text.replace(NAME, "dresser") for text in good]),
        **{"too short": asked(["dress", *good[1:]]), "too long": asked([f"{good[0]} {'very ' * 200}", *good[1:]])},
        "line break": asked([good[0].replace(" ", "\n", 1), *good[1:]]),
        "control character": asked([f"{good[0]}\x07", *good[1:]]),
        "right to left": asked([f"\u202e{good[0]}", *good[1:]]),
        "the key": asked([f"{good[0]} {KEY}", *good[1:]]),
        "the key in capitals": asked([f"{good[0]} {KEY.upper()}", *good[1:]]),
        "the key with spaces": asked([f"{good[0]} {' '.join(KEY)}"[:200], *good[1:]]),
        "very long": "x" * 300_000,
    }
    for i in range(12):  # cut off wherever a limit of tokens cuts
        at = rng.randrange(1, len(whole) - 1)
        found[f"cut after {at} characters ({i})"] = whole[:at]
    return found


def _responses(good: list[str]) -> dict[str, Callable]:
    """Return what a server sends instead of an answer."""
    whole = json.dumps({"prompts": good})
    found = {
        f"status {code}": lambda _, code=code: httpx2.Response(code, json={"error": {"message": "it failed"}})
        for code in (400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504, 529)
    }
    plain = {
        **{"a web page": "<html>sign in</html>", "no JSON": "it failed", "empty": "", "a list": "[]"},
        **{"null": "null", "no choices": json.dumps(_completion(whole, choices=[]))},
        "choices that are null": json.dumps(_completion(whole, choices=None)),
        "an error that says it is fine": json.dumps({"error": {"message": "overloaded", "code": 503}}),
        "cut off": json.dumps(_completion(whole))[:-40],
        "the key as model": json.dumps(_completion(whole, model=KEY)),
        "the key as fingerprint": json.dumps(_completion(whole, system_fingerprint=f"fp {KEY}")),
    }
    head = {"Content-Type": "application/json"}
    found |= {what: lambda _, text=text: httpx2.Response(200, text=text, headers=head) for what, text in plain.items()}
    found |= {
        "a byte at a time, without end": lambda _: httpx2.Response(200, stream=_Drip()),
        "no answer in time": _late,
    }
    return found | {
        f"{error.__name__}": partial(_broken, error)
        for error in (httpx2.ConnectError, httpx2.ReadTimeout, httpx2.ReadError, httpx2.RemoteProtocolError)
    }


def _broken(error: type[Exception], request: httpx2.Request) -> httpx2.Response:
    raise error("it broke", request=request)


class _Drip(httpx2.SyncByteStream):
    """An answer that never ends, a byte at a time."""

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(20):
            time.sleep(0.1)
            yield b" "


def _late(_: httpx2.Request) -> httpx2.Response:
    time.sleep(2)
    return httpx2.Response(200)


def _asked(bank: Path, respond: Callable) -> list[str]:
    """Return what ``prompts.expand`` makes of a server's responses; nothing of an invalid one may be on disk."""
    bank.unlink(missing_ok=True)
    stub = mock.patch.object(httpx2.HTTPTransport, "handle_request", lambda self, request: respond(request))
    about = {"live": True, "model": "stub", "base_url": "http://localhost/v1", "api_key": KEY}
    with stub:
        try:
            found = prompts.expand([NAME], bank=bank, n_prompts=N, timeout=0.5, max_retries=0, **about)[NAME]
        except banks.PromptError as error:
            if bank.exists() or KEY in str(error):
                return ["the bank or the message holds what it must not"]
            raise
    return ["the bank holds the key"] if KEY in bank.read_text(encoding="utf-8") else found
