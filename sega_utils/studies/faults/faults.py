"""The fault suite: faults through the project's loaders and commands, each judged by one rule, see docs/faults.md."""

import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from unittest import mock

from sega_utils.core import artifacts, numbers, paths
from sega_utils.studies.faults import (
    around as faults_around,
    images as faults_images,
    llm as faults_llm,
    requests as faults_requests,
    run as faults_run,
    tensors as faults_tensors,
    text as faults_text,
)
from sega_utils.studies.faults.judge import BAD, OUTCOMES, Begun, Fault, judge

# each yields the faults of one kind or of some that share their target
GENERATORS: tuple[Callable[[faults_run.Bench], Iterator[Fault]], ...] = (
    faults_text.in_records,
    faults_text.in_tables,
    faults_text.in_two_runs,
    faults_text.in_bank,
    faults_text.in_params,
    faults_requests.in_parameters,
    faults_requests.in_names,
    faults_requests.in_commands,
    faults_requests.in_executions,
    faults_llm.from_llm,
    faults_tensors.in_artifacts,
    faults_tensors.with_code,
    faults_tensors.in_embedded,
    faults_tensors.in_figures,
    faults_images.in_folders,
    faults_images.in_splits,
    faults_around.on_disk,
    faults_around.in_environment,
    faults_around.in_make,
    faults_around.in_html,
)
COLUMNS = ("kind", "fault", "into", "outcome", "message")
LONG = 300  # characters of a message that the log keeps
TABLE = ("kind", "faults", *OUTCOMES)


def log_path() -> Path:
    """Return where the log of the last suite is."""
    return paths.results_root() / "faults-log.csv"


def table_path() -> Path:
    """Return where the committed table is."""
    return paths.reference_root() / "faults.csv"


def measure(doors: dict[str, object], *, seed: int = 0, sample: int | None = None) -> list[dict]:
    """Inject the faults in a folder that is deleted afterwards, and return a row (``COLUMNS``) for each.

    Args:
        doors: what ``faults_run.Bench`` takes of rooms above this one.
        seed: of which bits, values and images are taken.
        sample: how many faults of each kind, chosen by the seed; None takes all.
    """
    import papermill  # takes seconds, which only this function should cost

    stopped = mock.patch.object(papermill, "execute_notebook", side_effect=Begun("a notebook was begun"))
    with tempfile.TemporaryDirectory(prefix="sega-faults-") as name, stopped:
        folder = paths.real(name)
        environment = {"SEGA_RESULTS": str(folder / "results"), "CI": "1"}
        with mock.patch.dict(os.environ, environment):
            faults_run.write_all()
            bench = faults_run.Bench(folder, random.Random(seed), **doors)
            found = (fault for generator in GENERATORS for fault in generator(bench))
            if sample is not None:
                found = chosen(found, sample, random.Random(seed))
            return [row_of(fault, str(folder)) for fault in found]


def chosen(found: Iterable[Fault], n: int, rng: random.Random) -> list[Fault]:
    """Return n faults of each kind, or all if it has fewer.

    Source: Vitter 1985, algorithm R: only these are held, as each may hold a file.
    """
    kinds: dict[str, list[Fault]] = {}
    seen: dict[str, int] = {}
    for fault in found:
        kept = kinds.setdefault(fault.kind, [])
        seen[fault.kind] = seen.get(fault.kind, 0) + 1
        place = rng.randrange(seen[fault.kind])
        if len(kept) < n:
            kept.append(fault)
        elif place < n:
            kept[place] = fault
    return [fault for kept in kinds.values() for fault in kept]


def row_of(fault: Fault, folder: str) -> dict[str, str]:
    """Return a fault's row of the log: of its message the first line, in which no machine's folder is."""
    outcome, message = judge(fault)
    message = next((line for line in message.splitlines() if line.strip()), "")
    message = message.replace(folder, "FOLDER").replace(str(paths.ROOT), "PROJECT")
    row = dict(zip(COLUMNS, (fault.kind, fault.name, fault.into, outcome, message[:LONG]), strict=True))
    return {column: _plain(value.replace(folder, "FOLDER")) for column, value in row.items()}


def _plain(text: str) -> str:
    return "".join(sign if sign.isprintable() and sign.isascii() else ascii(sign)[1:-1] for sign in text)


def save(rows: list[dict], path: Path) -> None:
    """Write the log."""
    artifacts.save_csv(path, rows, COLUMNS)


def counts(rows: list[dict]) -> list[dict]:
    """Return a row (``TABLE``) for each kind, and one for all, of how many faults of the log ended how."""
    kinds = sorted({row["kind"] for row in rows})
    count = lambda mine: {"faults": len(mine)} | {name: sum(r["outcome"] == name for r in mine) for name in OUTCOMES}
    found = [{"kind": kind} | count([row for row in rows if row["kind"] == kind]) for kind in kinds]
    return [*found, {"kind": "all"} | count(rows)]


def publish(log: Path) -> Path:
    """Write the committed table from a log, and return where."""
    artifacts.save_csv(table_path(), counts(artifacts.load_csv(log)), TABLE)
    return table_path()


def bad(rows: list[dict]) -> list[dict]:
    """Return the rows of a log whose faults were neither refused clearly nor harmless."""
    return [row for row in rows if row["outcome"] in BAD]


def text(rows: list[dict]) -> str:
    """Return the table of kinds, and each fault that was neither refused clearly nor harmless."""
    listed = "\n".join("{outcome}: {kind}: {into}: {fault}: {message}".format_map(row) for row in bad(rows))
    return f"{numbers.aligned(counts(rows))}\n\n{listed or 'Every fault was refused clearly or harmless.'}"
