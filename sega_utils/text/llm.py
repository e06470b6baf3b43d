"""An LLM, asked through the openai SDK; whatever is shown or returned of it holds no key."""

import json
import os
import re
import ssl
import warnings
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple

import httpx2
import openai
from pydantic import BaseModel, ConfigDict

from sega_utils.text.banks import PromptError

SOURCE = ("model", "system_fingerprint", "usage", "created")  # what an answer says of its origin
PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
LONGEST = 200_000  # characters of an answer, its thoughts apart
# Ways to ask for JSON, the best first: a server that refuses one is asked in the next.
FORMATS = ("json_schema", "json_object", "text")
IN_WORDS = '\nAnswer with one JSON object and nothing else: {"prompts": ["...", "..."]}'


class Answer(BaseModel):  # no docstring: it would become part of the schema, and so of every digest
    model_config = ConfigDict(extra="forbid")
    prompts: list[str]


class Server(NamedTuple):
    """A client, and those of ``FORMATS`` that its server has not refused yet."""

    client: openai.OpenAI
    formats: list[str]

    def quote(self, text: object) -> str:
        """Return what a server said, as a message may show it: short, and without the key."""
        return repr(re.sub(re.escape(self.client.api_key), "[key]", str(text), flags=re.IGNORECASE)[:500])


class Client(openai.DefaultHttpxClient):
    """An HTTP client with one deadline for the whole of each answer; httpx2's own limit is for each read."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        super().__init__(event_hooks={"response": [_never_retry_quota]})

    def send(self, request: httpx2.Request, **options) -> httpx2.Response:
        """Send a request and read its answer.

        Raises:
            httpx2.ReadTimeout: the answer is not whole in time.
        """
        done, send = SimpleQueue(), super().send

        def work() -> None:
            try:
                done.put((send(request, **options), None))
            except BaseException as error:  # it belongs to the thread that asked
                done.put((None, error))

        Thread(target=work, daemon=True).start()
        try:
            response, error = done.get(timeout=self.seconds)
        except Empty:
            raise httpx2.ReadTimeout(f"no whole answer within {self.seconds:g} s", request=request) from None
        if error:
            raise error
        return response


def connect(base_url: str | None, api_key: str | None, timeout: float, max_retries: int) -> Server:
    """Return a server; see ``prompts.expand`` for the arguments.

    Raises:
        PromptError: an address that is none, a proxy or a certificate that cannot be used, no key, or one that no
            request can carry.
    """
    base_url = _address(base_url or os.environ.get("OPENAI_BASE_URL") or None)
    named = lambda names: [n for name in names for n in (name, name.lower()) if os.environ.get(n)]
    try:
        http = Client(timeout)
    except (ImportError, ValueError, httpx2.InvalidURL):  # without socksio, or of an unknown kind
        raise PromptError(
            f"the proxy in the environment variable {' or '.join(named(PROXIES))} cannot be used: only http:// and "
            "https:// are; unset the variable, or for socks proxies: pip install socksio"
        ) from None
    except (OSError, ssl.SSLError):
        raise PromptError(
            f"the certificates in the environment variable {' or '.join(named(CERTIFICATES))} cannot be read; "
            "name a PEM file that is there, or unset the variable"
        ) from None
    client = openai.OpenAI(
        api_key=_key(api_key), base_url=base_url, timeout=timeout, max_retries=max_retries, http_client=http
    )
    return Server(client, list(FORMATS))


def _key(given: str | None) -> str:
    key = (given or os.environ.get("OPENAI_API_KEY", "")).strip()
    if key and key.isascii() and key.isprintable() and " " not in key:
        return key
    found, key = bool(key), ""
    raise PromptError(
        f"{'the key holds characters that no key has' if found else 'there is no key'}; set OPENAI_API_KEY (for a "
        "server that wants none, to any word), or take prompts that need none: MODEL = 'template', a text file of "
        "your own as BANK, or a recorded bank with live=False"
    )


def _address(given: str | None) -> str | None:
    """Return an address that can be asked.

    Raises:
        PromptError: it cannot; a password in it is not shown.
    """
    if given is None:
        return None
    try:
        url = httpx2.URL(given)
        sound = url.scheme in {"http", "https"} and url.host and given.isprintable() and " " not in given
    except (httpx2.InvalidURL, ValueError, TypeError):
        sound = False
    if not sound:
        shown = re.sub(r"//[^/@]*@", "//", str(given))[:100]
        raise PromptError(f"base_url is {shown!r}, no address; give one like http://localhost:11434/v1")
    return given


def _never_retry_quota(response: httpx2.Response) -> None:
    # The SDK retries every 429 unless the server says not to, but waiting does not refill a quota.
    if response.status_code == 429 and _used_up(response.read().decode(errors="replace"), response.headers):
        response.headers["x-should-retry"] = "false"


def _used_up(text: str, headers: httpx2.Headers) -> bool:
    """Return whether a 429 says that a quota is used up, and not that requests come too fast."""
    text, soon = text.lower(), "retry-after" in headers or "retrydelay" in text.lower()
    return "insufficient_quota" in text or (bool(re.search("quota|billing|credit|balance", text)) and not soon)


def ask(server: Server, request: dict, *, subject: str, check: Callable[[list[str]], None]) -> tuple[list[str], dict]:
    """Return the prompts that an LLM answers, and what is known of their origin.

    Args:
        request: from ``prompts.compose``.
        subject: what the prompts are for, as an error names it.
        check: raises PromptError for prompts that are not valid; those are asked for again.

    Raises:
        PromptError: the LLM refuses, fails, or keeps answering badly.
    """
    client = server.client
    host, turns = client.base_url.host, 1 + client.max_retries
    about = f"no prompts for {subject} from {request['model']} at {host}"
    for _ in range(turns):
        try:
            answer = _complete(server, request)
            message = _message(answer)
            if message.refusal:
                problem = f"it refused, saying {server.quote(message.refusal)}"
                break
            prompts, wrapped = extract(message.content)
            check(prompts)
            known = answer.model_dump(include=set(SOURCE), exclude_unset=True, mode="json", warnings=False)
            source = dict.fromkeys(SOURCE) | known
            author = source["model"] or f"{request['model']}, as asked: the server names no model"
            how = {"response_format": server.formats[0], "wrapped": wrapped}
            return prompts, source | how | {"provider": host, "author": str(author)}
        except (ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
            problem = f"{turns} invalid answers, the last: {server.quote(error)}"
        except openai.OpenAIError as error:  # its chain holds the request and so the key: cut it off
            raise PromptError(f"{about}: {_advice(error)} (received {server.quote(_said(error))})") from None
    raise PromptError(f"{about}: {problem}; try again, ask for fewer prompts, rename the class or change model")


def _complete(server: Server, request: dict) -> openai.types.chat.ChatCompletion:
    """Ask in the best way that the server has not refused; one that it refuses is not tried again, and it is said."""
    messages = [dict(message) for message in request["messages"]]
    while True:
        form = server.formats[0]
        options = {"response_format": {"type": form}} if form != "text" else {}
        if form == "json_schema":
            schema = {"name": "Answer", "strict": True, "schema": request["schema"]}
            options["response_format"]["json_schema"] = schema
        else:
            messages[0]["content"] = request["messages"][0]["content"] + IN_WORDS
        try:
            return server.client.chat.completions.create(
                model=request["model"], messages=messages, **options, **request["parameters"]
            )
        except openai.APIStatusError as error:
            wanting = re.search(r"response_format|json_schema|json_object|structured|schema|grammar", _said(error))
            if not wanting or len(server.formats) == 1:
                raise
            said = server.quote(_said(error))
        server.formats.pop(0)
        warnings.warn(
            f"{server.client.base_url.host} takes no response_format {form} ({said}); it is asked for "
            f"{server.formats[0]} instead, and the bank says so",
            stacklevel=4,
        )


def _message(answer: object) -> openai.types.chat.ChatCompletionMessage:
    """Return the message of an answer.

    Raises:
        ValueError: it has none, or not a whole one.
    """
    if isinstance(answer, str):
        raise ValueError(f"no JSON but {answer[:80]!r}: is base_url the address of an API, such as .../v1?")
    if not answer.choices:
        raise ValueError(f"no choices in {answer.model_dump_json(exclude_unset=True, warnings=False)[:300]}")
    choice = answer.choices[0]
    if choice.finish_reason in ("length", "content_filter"):
        cause = {"length": "cut off at the limit of tokens", "content_filter": "held back by a content filter"}
        raise ValueError(f"the answer was {cause[choice.finish_reason]}")
    if not (choice.message.content or choice.message.refusal):
        raise ValueError("the answer is empty; a model that thinks may have used all its tokens for that")
    return choice.message


def extract(content: str) -> tuple[list[str], bool]:
    """Return the prompts in an answer, and whether anything stood around their JSON.

    Thoughts, code fences and sentences around it are left out; a bare list of texts is taken, too.

    Raises:
        ValueError: there is no such JSON, or more text than prompts can be.
    """
    text = re.sub(r"(?s)<(think|thinking|thought|reasoning)>.*?</\1>", "", content)
    text = re.split(r"</(?:think|thinking|thought|reasoning)>", text)[-1].strip()
    if len(text) > LONGEST:
        raise ValueError(f"the answer has {len(text):,} characters, allowed are {LONGEST:,}")
    start, decoder = 0, json.JSONDecoder()
    while match := re.compile(r"[{\[]").search(text, start):
        try:
            value, end = decoder.raw_decode(text, match.start())
        except ValueError:
            start = match.start() + 1
            continue
        named = isinstance(value, dict) and value.keys() == {"prompts"}
        found = value["prompts"] if named else value
        if isinstance(found, list) and (found or named) and all(isinstance(item, str) for item in found):
            return found, text[match.start() : end] != content.strip()
        start = end
    raise ValueError(f"no JSON with a list of prompts, but {text[:200]!r}")


def _said(error: openai.OpenAIError) -> str:
    """Return what a server said of an error, whatever form it gave it; without an answer, the error's own words."""
    if isinstance(error, openai.APIStatusError):
        return f"status {error.status_code}: {' '.join(error.response.text.split())}"
    return str(error)


def _advice(error: openai.OpenAIError) -> str:
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return "the key was refused; check OPENAI_API_KEY"
        case openai.APIStatusError(status_code=402):
            return "the key's quota is used up; top it up, or replay a recorded bank with live=False"
        case openai.RateLimitError() if _used_up(error.response.text, error.response.headers):
            return "the key's quota is used up; top it up, or replay a recorded bank with live=False"
        case openai.RateLimitError() | openai.InternalServerError() | openai.APITimeoutError():
            return "the server kept failing or answered too late; wait or raise timeout, then run again: it resumes"
        case openai.APIConnectionError():
            return "the server cannot be reached; check base_url, the network and the variables for proxies"
    return "the request failed; check model, base_url and what the server says of it"
