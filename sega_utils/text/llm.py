"""LLM answers: asked for through the openai SDK, and recorded as JSON lines, each with its digests; no key is shown."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import openai
from pydantic import BaseModel, ConfigDict

from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import digest_json

SOURCE = ("model", "system_fingerprint", "usage", "created")  # what an answer says of its origin


class PromptError(ValueError):
    """Prompts that cannot be had: no recorded answer, no key, or an LLM that fails or answers badly."""


class Answer(BaseModel):  # no docstring: it would become part of the schema, and so of every digest
    model_config = ConfigDict(extra="forbid")
    prompts: list[str]


def connect(base_url: str | None, api_key: str | None, timeout: float, max_retries: int) -> openai.OpenAI:
    """Return a client; see ``prompts.expand`` for the arguments.

    Raises:
        PromptError: there is no key, or one that no request can carry.
    """
    key = (api_key or os.environ.get("OPENAI_API_KEY", "")).strip()
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise PromptError(
            f"{'the key holds characters that no key has' if key else 'there is no key'}; "
            "set OPENAI_API_KEY, or replay a recorded bank with live=False"
        )
    http = openai.DefaultHttpxClient(event_hooks={"response": [_never_retry_quota]})
    return openai.OpenAI(api_key=key, base_url=base_url, timeout=timeout, max_retries=max_retries, http_client=http)


def _never_retry_quota(response) -> None:
    # The SDK retries every 429 unless the server says not to, but waiting does not refill a quota.
    if response.status_code == 429 and b"insufficient_quota" in response.read():
        response.headers["x-should-retry"] = "false"


def ask(
    client: openai.OpenAI, request: dict, *, subject: str, check: Callable[[list[str]], None]
) -> tuple[list[str], dict]:
    """Return the prompts that an LLM answers, and what is known of their origin.

    Args:
        request: from ``prompts.compose``.
        subject: what the prompts are for, as an error names it.
        check: raises PromptError for prompts that are not valid; those are asked for again.

    Raises:
        PromptError: the LLM refuses, fails, or keeps answering badly.
    """
    host = client.base_url.host
    quote = lambda text: repr(str(text).replace(client.api_key, "[key]")[:500])
    about = f"no prompts for {subject} from {request['model']} at {host}"
    for _ in range(1 + client.max_retries):
        try:
            answer = client.chat.completions.parse(
                model=request["model"], messages=request["messages"], response_format=Answer, **request["parameters"]
            )
            message = answer.choices[0].message
            if message.refusal:
                problem = f"it refused, saying {quote(message.refusal)}"
                break
            check(message.parsed.prompts)
            source = dict.fromkeys(SOURCE) | answer.model_dump(include=set(SOURCE), exclude_unset=True, mode="json")
            return message.parsed.prompts, source | {"provider": host, "author": source["model"]}
        except (
            openai.LengthFinishReasonError,
            openai.ContentFilterFinishReasonError,
            ValueError,
            TypeError,
            AttributeError,
            IndexError,
        ) as error:
            problem = f"{1 + client.max_retries} invalid answers, the last: {quote(error)}"
        except openai.OpenAIError as error:  # its chain holds the request and so the key: cut it off
            raise PromptError(f"{about}: {_advice(error)} (received {quote(error)})") from None
    raise PromptError(f"{about}: {problem}; try again, ask for fewer prompts, rename the class or change model")


def _advice(error: openai.OpenAIError) -> str:
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return "the key was refused; check OPENAI_API_KEY"
        case openai.RateLimitError(code="insufficient_quota"):
            return "the key's quota is used up; top it up, or replay a recorded bank with live=False"
        case openai.RateLimitError() | openai.InternalServerError() | openai.APITimeoutError():
            return "the server kept failing or answered too late; wait or raise timeout, then run again: it resumes"
        case openai.APIConnectionError():
            return "the server cannot be reached; check base_url and the network"
    return "the request failed; check model and base_url"


def make_record(request: dict, prompts: Sequence[str], **source: object) -> dict:
    """Return one line of a bank: the request and its digest, the prompts, their source, and a digest of all that."""
    record = source | {"digest": digest_json(request), "request": request, "requested_model": request["model"]}
    record["prompts"] = list(prompts)
    return record | {"sha256": digest_json(record)}


def save_bank(bank: Path, records: dict[str, dict]) -> None:
    """Write records as JSONL, atomically, one line an answer."""
    artifacts.save_text(bank, "".join(json.dumps(record, sort_keys=True) + "\n" for record in records.values()))


def start_bank(bank: Path, recorded: Path, *, live: bool) -> None:
    """Copy recorded answers to where a run keeps its own, unless those are there already.

    Args:
        live: an LLM will be asked for what is missing, so nothing need be recorded.

    Raises:
        FileNotFoundError: nothing is recorded, and no LLM is to be asked.
    """
    if not (bank.exists() or recorded.exists() or live):
        raise FileNotFoundError(
            f"{paths.shown(recorded)} is missing: this data set has no recorded prompts; record them with LIVE = True "
            f"and the key in OPENAI_API_KEY, they are kept in {paths.shown(bank)}; or name another bank with BANK"
        )
    if not bank.exists() and recorded.exists():
        with artifacts.atomic(bank) as temporary:
            shutil.copyfile(recorded, temporary)


def load_bank(bank: Path) -> dict[str, dict]:
    """Return a bank's records by request digest, in the file's order, each checked against its digests.

    Raises:
        ArtifactError: a line is truncated, altered or there twice; the message names it.
    """
    records = {}
    for number, line in enumerate(Path(bank).read_bytes().splitlines(), 1):
        try:
            record = json.loads(line)
            content = {key: value for key, value in record.items() if key != "sha256"}
            sound = record["sha256"] == digest_json(content) and record["digest"] == digest_json(record["request"])
        except (ValueError, KeyError, TypeError, AttributeError):
            sound = False
        if not sound or record["digest"] in records:
            raise artifacts.ArtifactError(
                f"line {number} of {paths.shown(bank)} is truncated, altered or there twice; "
                "delete it and record its class again, or restore the file"
            )
        records[record["digest"]] = record
    return records
