"""Banks: recorded prompts as JSON lines, each with its digests, or as a text file; no key is ever written."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import digest_json

# What stands for the model where no LLM was asked: a person wrote a text file, or ``template`` wrote them.
HAND, TEMPLATE = AUTHORED = ("hand", "template")
SHORT = 8  # letters and digits: a shorter key is looked for as it stands, a longer one whatever stands between


class PromptError(ValueError):
    """Prompts that cannot be had: no recorded answer, no key, or an LLM that fails or answers badly."""


def make_record(request: dict, prompts: Sequence[str], **source: object) -> dict:
    """Return one line of a bank: the request and its digest, the prompts, their source, and a digest of all that."""
    record = source | {"digest": digest_json(request), "request": request, "requested_model": request["model"]}
    record["prompts"] = list(prompts)
    return record | {"sha256": digest_json(record)}


def authored(request: dict, prompts: Sequence[str], author: str, **more: object) -> dict:
    """Return a record of prompts that no server answered."""
    source = dict.fromkeys(("model", "system_fingerprint", "usage", "created"))
    return make_record(request, prompts, **source, provider="authored", author=author, **more)


def class_of(record: dict) -> str:
    """Return the name of the class that a record's prompts are for."""
    return json.loads(record["request"]["messages"][-1]["content"])["class_name"]


def save_bank(bank: Path, records: dict[str, dict], key: str = "") -> None:
    """Write records as JSONL, atomically, one line an answer.

    Args:
        key: of the LLM; nothing is written that holds it.

    Raises:
        PromptError: the key is in a record; the message says in which part of it.
    """
    for record in records.values() if key else ():
        for name, value in record.items():
            if holds(json.dumps(value, ensure_ascii=False), key):
                raise PromptError(
                    f"the answer for {class_of(record)!r} holds the key, in its field {name!r}; nothing was written "
                    "of it: change the key and ask another server, or, if the key is no secret, give a longer one"
                )
    artifacts.save_text(bank, "".join(json.dumps(record, sort_keys=True) + "\n" for record in records.values()))


def holds(text: str, key: str) -> bool:
    """Return whether a text holds a key, in small or capital letters, whatever other signs stand between them."""
    bare = lambda value: "".join(filter(str.isalnum, value.casefold()))
    return key.casefold() in text.casefold() or (len(bare(key)) >= SHORT and bare(key) in bare(text))


def load_bank(bank: Path) -> dict[str, dict]:
    """Return a bank's records by request digest, in the file's order, each checked against its digests.

    Raises:
        ArtifactError: the file cannot be read, or a line is truncated, altered or there twice; the message names it.
    """
    try:
        lines = Path(bank).read_bytes().splitlines()
    except OSError as error:
        raise artifacts.ArtifactError(
            f"{paths.shown(bank)} cannot be read ({error.strerror}); put a bank in its place, or delete it and record "
            "the prompts again"
        ) from error
    records = {}
    for number, line in enumerate(lines, 1):
        record, wrong = _parsed(line)
        if wrong or record["digest"] in records:
            raise artifacts.ArtifactError(
                f"line {number} of {paths.shown(bank)} is truncated, altered or there twice "
                f"({wrong or 'there twice'}); delete it and record its class again, or restore the file"
            )
        records[record["digest"]] = record
    return records


def _parsed(line: bytes) -> tuple[dict, str]:
    """Return what a line holds, and what is wrong with it."""
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return {}, "no UTF-8 text"
    except RecursionError:
        return {}, "nested too deep"
    except ValueError:
        return {}, "no JSON"
    if not isinstance(record, dict):
        return {}, f"a {type(record).__name__}, no object"
    try:
        content = {key: value for key, value in record.items() if key != "sha256"}
        sound = record["sha256"] == digest_json(content) and record["digest"] == digest_json(record["request"])
        sound &= isinstance(class_of(record), str) and record["requested_model"] == record["request"]["model"]
        texts = [record["requested_model"], record.get("author", ""), *record["prompts"]]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return {}, "its fields are not those of a recorded answer"
    if not sound:
        return {}, "not as its digests say"
    if not (isinstance(record["prompts"], list) and all(isinstance(text, str) for text in texts)):
        return {}, "its prompts, model or author are no texts"
    return record, ""


def merged(own: Path, source: Path) -> dict[str, dict]:
    """Return a run's records and what another bank holds beyond them, or has since recorded anew.

    Args:
        own: where the run keeps its bank; it may not exist yet.
        source: a bank that the data set or the user has; it may not exist.

    Raises:
        ArtifactError: one of them is damaged.
    """
    records, others = (load_bank(path) if path.exists() else {} for path in (own, source))
    newer = own.exists() and source.exists() and source.stat().st_mtime > own.stat().st_mtime
    return records | {digest: record for digest, record in others.items() if newer or digest not in records}


def request_of(author: str, class_name: str, n_prompts: int) -> dict:
    """Return the request of prompts that were authored: by whom, for which class and how many."""
    task = json.dumps({"class_name": class_name, "n_prompts": n_prompts}, ensure_ascii=False)
    return {"model": author, "messages": [{"role": "user", "content": task}], "parameters": {}}


def classes_in(file: Path) -> list[str]:
    """Return the class names that the lines of a text file begin with, where nothing else knows them."""
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines() if file.exists() else []
    named = [line.partition(":")[0].strip() for line in lines if ":" in line and not line.strip().startswith("#")]
    return list(dict.fromkeys(filter(None, named)))


def read_text(file: Path, class_names: Sequence[str], n_prompts: int) -> dict[str, dict]:
    """Return the records of a text file with lines ``CLASS: prompt``; empty lines and those that begin with # are free.

    Args:
        class_names: the classes; each needs ``n_prompts`` lines.

    Raises:
        PromptError: a line is of no class, or a class has another number of lines; all are listed.
        ArtifactError: the file is no text in UTF-8.
        FileNotFoundError: it is not there.
    """
    if not file.exists():
        raise FileNotFoundError(f"{paths.shown(file)} is missing; write into it lines 'CLASS: prompt', or name another")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise artifacts.ArtifactError(f"{paths.shown(file)} is no text file in UTF-8; save it as one") from error
    written: dict[str, list[str]] = {name: [] for name in class_names}
    names = "|".join(re.escape(name) for name in sorted(class_names, key=len, reverse=True))
    wrong = []
    for number, line in enumerate(lines, 1):
        if match := re.fullmatch(rf"\s*({names})\s*:\s*(.+?)\s*", line):
            written[match[1]].append(match[2])
        elif line.strip() and not line.strip().startswith("#"):
            wrong.append(f"line {number} begins with no class")
    wrong += [f"{name!r} has {len(texts)} prompts" for name, texts in written.items() if len(texts) != n_prompts]
    if wrong:
        raise PromptError(
            f"{paths.shown(file)}: {'; '.join(wrong[:10])}{' ...' if len(wrong) > 10 else ''}; needed are {n_prompts} "
            f"lines 'CLASS: prompt' for each class ({', '.join(class_names[:10])}), or another N_PROMPTS"
        )
    records = [
        authored(request_of(HAND, name, n_prompts), texts, author="authored by hand") for name, texts in written.items()
    ]
    return {record["digest"]: record for record in records}
