"""A prompt bank: recorded LLM answers as JSON lines, each with the request it belongs to and a digest of itself."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from sega_utils import artifacts, paths
from sega_utils.artifacts import digest_json


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
            raise artifacts.ArtifactError(f"line {number} of {paths.shown(bank)} is truncated, altered or there twice; "
                                          "delete it and record its class again, or restore the file")  # fmt: skip
        records[record["digest"]] = record
    return records
