"""The project's own fault suite: thousands of faults through its loaders and commands, each judged by one rule."""

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from sega_utils.core import artifacts, numbers, paths, runtime
from sega_utils.studies import faults_images, faults_llm, faults_requests, faults_run, faults_tensors, faults_text
from sega_utils.studies.faults_judge import OUTCOMES, Begun, Fault, judge

COLUMNS = ("kind", "fault", "outcome", "message")
SHORT = {"clear": 80, "recovered": 80}  # characters of a message that the log keeps; of all others
LONG = 300
PAGE = paths.ROOT / "docs" / "faults.md"


def log_path(*, committed: bool) -> Path:
    """Return where the log is: the committed one's, or that of a suite of one's own."""
    return (paths.reference_root() if committed else paths.results_root()) / "faults.csv"


def collect(folder: Path, doors: dict[str, Callable], verbs: dict[str, tuple], seed: int) -> Iterator[Fault]:
    """Yield all faults; the tiny run must have been written.

    Args:
        folder: for what is put faults into beside the run.
        doors: ``command`` and ``execute``, the two command lines; ``figure``, which loads one for the report.
        verbs: of the first, see ``faults_requests.in_commands``.
        seed: of which bits, values and images are taken.
    """
    rng = random.Random(seed)
    command, execute = doors["command"], doors["execute"]
    yield from faults_text.in_records(rng)
    yield from faults_text.in_tables(folder, rng)
    yield from faults_text.in_runs_files()
    yield from faults_text.in_bank(folder, rng)
    yield from faults_text.in_params(folder, rng)
    yield from faults_requests.in_parameters()
    yield from faults_requests.in_names(command, execute, folder)
    yield from faults_requests.in_commands(command, verbs)
    yield from faults_requests.in_executions(execute, folder)
    yield from faults_llm.from_llm(folder, rng)
    yield from faults_tensors.in_artifacts(rng)
    yield from faults_tensors.with_code(folder)
    yield from faults_tensors.in_embedded(folder, rng)
    yield from faults_tensors.in_figures(doors["figure"], rng)
    yield from faults_images.in_folders(folder, rng)
    yield from faults_images.in_splits(rng)


def measure(
    doors: dict[str, Callable], verbs: dict[str, tuple], *, seed: int = 0, sample: int | None = None
) -> list[dict]:
    """Inject the faults in a folder that is deleted afterwards, and return a row (``COLUMNS``) for each.

    Args:
        doors, verbs, seed: as for ``collect``.
        sample: how many of the faults to take, by the seed; None takes all.
    """
    import papermill  # takes seconds, which only this function should cost

    stopped = mock.patch.object(papermill, "execute_notebook", side_effect=Begun("a notebook was begun"))
    with tempfile.TemporaryDirectory(prefix="sega-faults-") as name, stopped:
        folder = paths.real(name)
        environment = {"SEGA_RESULTS": str(folder / "results"), "CI": "1"}
        with mock.patch.dict(os.environ, environment):
            faults_run.write_all()
            found = list(collect(folder, doors, verbs, seed))
            if sample is not None:
                found = random.Random(seed).sample(found, sample)
            return [row_of(fault, str(folder)) for fault in runtime.progress(found, "faults")]


def row_of(fault: Fault, folder: str) -> dict[str, str]:
    """Return a fault's row of the log, in which no machine's folder is."""
    outcome, message = judge(fault)
    message = message.replace(folder, "<folder>").replace(str(paths.ROOT), "<project>")
    message = message[: SHORT.get(outcome, LONG)].encode("ascii", "backslashreplace").decode()
    message = "".join(sign if sign.isprintable() else "?" for sign in message)
    return dict(zip(COLUMNS, (fault.kind, fault.name, outcome, message), strict=True))


def save(rows: list[dict], path: Path) -> None:
    """Write the log."""
    artifacts.save_csv(path, [row | {"fault": ascii(row["fault"])[1:-1]} for row in rows], COLUMNS)


def counts(rows: list[dict]) -> list[dict]:
    """Return a row for each kind, and one for all, of how many faults ended how."""
    kinds = sorted({row["kind"] for row in rows})
    count = lambda mine: {"tried": len(mine)} | {name: sum(r["outcome"] == name for r in mine) for name in OUTCOMES}
    found = [{"kind": kind} | count([row for row in rows if row["kind"] == kind]) for kind in kinds]
    return [*found, {"kind": "all"} | count(rows)]


def text(rows: list[dict]) -> str:
    """Return the table of kinds, and each fault that was silent or not told clearly."""
    bad = [row for row in rows if row["outcome"] in {"silent", "unclear"}]
    listed = "\n".join(f"{row['outcome']}: {row['kind']}: {row['fault']}: {row['message']}" for row in bad)
    return f"{numbers.aligned(counts(rows))}\n\n{listed or 'No fault was silent, and each message was clear.'}"


def page(rows: list[dict]) -> str:
    """Return the page on the suite, from its log."""
    bad = [row for row in rows if row["outcome"] in {"silent", "unclear"}]
    listed = numbers.markdown([{name: row[name] for name in ("outcome", "kind", "fault", "message")} for row in bad])
    return f"""# What happens when something is wrong

`python -m sega_utils faults` puts faults into copies of the project's files, into a tiny run, into requests and into
the answers of an LLM, sends each through the loader or the command that would meet it, and judges what comes of it by
a rule, not by hand. It takes a few minutes on one core and changes nothing of yours. The log of all {len(rows):,} is
[faults.csv](../results/reference/faults.csv).

- **clear**: an error of a class that the commands foresee, or the status 1 or 2 and one line `error: ...`; its text
  names the file, the parameter or the value, and says what is allowed or what to do.
- **recovered**: the result is equal to that without the fault.
- **unclear**: an error that names neither, or of another class.
- **silent**: no error, and another result; or code that a file holds ran.

{numbers.markdown(counts(rows))}

Not tried: a full disk, a folder that cannot be written, a run killed at any moment, two runs of one name at once, and
numbers that somebody changes together with the digests that tell of it.

## What is not clear yet

{listed if bad else "Nothing: no fault was silent, and each message was clear."}
"""
