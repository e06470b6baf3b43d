"""What very many candidates take: from the draws, merges and searches on record to numbers that nobody has tried."""

from math import ceil

from sega_utils.core import numbers, records
from sega_utils.studies.scale import search
from sega_utils.studies.scale.rounds import rounds

SCALE = (
    "candidates",
    "device",
    "survivors",
    "kept",
    "drawing_hours",
    "machines_for_a_day",
    "search_exponent",
    "merging_hours",
    "shard_memory_gb",
    "merge_memory_gb",
    "disk_gb",
)


def scale_rows(found: list[dict], sizes: list[int]) -> list[dict]:
    """Return a row (``SCALE``) for each number of candidates and device: what these would take in shards and one merge.

    A device needs draws, and merges of two sizes, on record; of others there is no row.

    Drawing, reading and writing grow in proportion. The search for near-duplicates, and what it keeps, grow from the
    largest merge on record by the power of the survivors that it grew by from the next smaller one, as the search grows
    the faster the more there are: beyond that, extrapolated.
    Machines are those that draw in a day. The merge runs on one, which holds hash, score and rank of every survivor
    beside what the largest merge on record took.

    Args:
        found: records of ``draw_shard`` and of ``merge``.
    """
    rows = []
    for device in dict.fromkeys(record["device"] for record in found):
        mine = [record for record in found if record["device"] == device]
        mine = [record for record in mine if "param_parts" not in record]  # whose search is not of one process
        draws, merges = ([record for record in mine if ("kept" in record) == merged] for merged in (False, True))
        if not draws or len({record["survivors"] for record in merges}) < 2:
            continue
        each = {
            y: sum(r[y] for r in draws) / sum(r[x] for r in draws)
            for y, x in (("survivors", "drawn"), ("seconds", "drawn"), ("bytes", "survivors"))
        }
        *_, smaller, largest = sorted(merges, key=lambda record: record["survivors"])
        power, keeping = (numbers.exponent([smaller, largest], y=y, x="survivors") for y in ("searching", "kept"))
        for n in sizes:
            survivors, drawing = n * each["survivors"], n * each["seconds"] / 3600
            growth = survivors / largest["survivors"]
            merging = largest["searching"] * growth**power + (largest["seconds"] - largest["searching"]) * growth
            kept = largest["kept"] * growth**keeping
            rows.append(
                {
                    "candidates": n,
                    "device": device,
                    "survivors": round(survivors),
                    "kept": round(kept),
                    "drawing_hours": drawing,
                    "machines_for_a_day": ceil(drawing / 24),
                    "search_exponent": power,
                    "merging_hours": merging / 3600,
                    "shard_memory_gb": max(r["peak_memory_gb"] for r in draws),
                    "merge_memory_gb": largest["peak_memory_gb"] + largest["bytes_held"] * growth / 2**30,
                    "disk_gb": (survivors * each["bytes"] + kept * largest["bytes"] / largest["kept"]) / 2**30,
                }
            )
    return rows


def estimate(run: str, dataset: str, candidates: list[int]) -> list[dict]:
    """Return ``scale_rows`` of what a run has on record.

    Raises:
        ValueError: there are no draws, or no merges of two sizes, on one device.
    """
    found = records.read(run, dataset, "shards")
    if not (rows := scale_rows(found, candidates)):
        raise ValueError(
            f"{len(found)} draws and merges of shards are on record; an estimate needs draws, and "
            "merges of two sizes, on one device: make them with shard-draw and shard-merge"
        )
    return rows


PLAN = (
    "candidates",
    "device",
    "machines",
    "rounds",
    "jobs",
    "work_exponent",
    "settle_exponent",
    "imbalance",
    "drawing_hours",
    "comparing_hours",
    "settling_hours",
    "writing_hours",
    "starting_hours",
    "total_hours",
    "compare_memory_gb",
    "settle_memory_gb",
    "disk_gb",
)


def searches(found: list[dict]) -> list[dict]:
    """Return what each whole search on record took, by ascending number of survivors.

    ``imbalance`` is how much longer the rounds' slowest jobs took than their mean; ``held`` are bytes of a job.

    Args:
        found: records of ``search.settle`` and ``search.compare``.
    """
    rows = []
    for key in dict.fromkeys((r["param_candidates"], r["param_parts"], r["device"]) for r in found):
        mine = [r for r in found if (r["param_candidates"], r["param_parts"], r["device"]) == key]
        settled, compared = ([r for r in mine if r["param_job"] == job] for job in ("settle", "compare"))
        n, parts, device = key
        if len(settled) != rounds(n) + 1 or len(compared) != rounds(n) * parts:
            continue
        seconds = [[r["seconds"] for r in compared if r["param_round"] == k] for k in range(rounds(n))]
        work = sum(map(sum, seconds))
        rows.append(
            {"candidates": n, "parts": parts, "device": device}
            | {
                "survivors": next(r["survivors"] for r in settled if "survivors" in r),
                "compared": sum(r["compared"] for r in compared),
            }
            | {"work": work, "settling": sum(r["seconds"] for r in settled)}
            | {"imbalance": parts * sum(map(max, seconds)) / work}
            | {
                f"{job}_{of}": max(r[name] for r in some)
                for job, some in (("compare", compared), ("settle", settled))
                for of, name in (("memory_gb", "peak_memory_gb"), ("held", "bytes_held"))
            }
        )
    return sorted(rows, key=lambda row: (row["survivors"], row["parts"]))


def plan_rows(drawn: list[dict], searched: list[dict], sizes: list[int], *, machines: int, start: float) -> list[dict]:
    """Return a row (``PLAN``) for each number of candidates and device: what these take on machines that share files.

    Each machine has one job of a round. Comparing grows with the survivors by the power that it grew by between the two
    largest searches on record, divided among the machines as unevenly as in the largest; settling, on one machine
    while the others wait, by a power of its own; all else in proportion. Beyond what is on record it is extrapolated.

    Args:
        drawn: records of ``draw_shard`` and ``merge``; searched: of ``search.settle`` and ``search.compare``.
        start: seconds that a job waits for its machine and takes to begin, an assumption.
    """
    rows = []
    for scale in scale_rows(drawn, sizes):
        mine = {row["survivors"]: row for row in searches(searched) if row["device"] == scale["device"]}
        if len(mine) < 2:
            continue
        *_, smaller, largest = mine.values()
        merges = [r for r in drawn if "kept" in r and r["device"] == scale["device"]]
        writing = max(merges, key=lambda r: r["survivors"])
        work, settle = (numbers.exponent([smaller, largest], y=y, x="survivors") for y in ("work", "settling"))
        growth, n_rounds = scale["survivors"] / largest["survivors"], rounds(scale["candidates"])
        held = growth * largest["parts"] / machines - 1  # by how much more a job of a round holds
        hours = {
            "drawing_hours": scale["drawing_hours"] / machines,
            "comparing_hours": largest["work"] * growth**work * largest["imbalance"] / machines / 3600,
            "settling_hours": largest["settling"] * growth**settle / 3600,
            "writing_hours": (writing["seconds"] - writing["searching"]) * scale["kept"] / writing["kept"] / 3600,
            "starting_hours": (2 * n_rounds + 3) * start / 3600,
        }
        memory = {
            f"{job}_memory_gb": largest[f"{job}_memory_gb"] + max(0, more) * largest[f"{job}_held"] / 2**30
            for job, more in (("compare", held), ("settle", growth - 1))
        }
        row = {name: scale[name] for name in ("candidates", "device", "disk_gb")} | hours | memory
        row |= {"machines": machines, "rounds": n_rounds, "jobs": n_rounds * (machines + 1) + machines + 2}
        row |= {"work_exponent": work, "settle_exponent": settle, "imbalance": largest["imbalance"]}
        row |= {"total_hours": sum(hours.values())}
        rows.append({name: row[name] for name in PLAN})
    return rows


def in_parts(run: str, dataset: str, candidates: list[int], *, machines: int, start: float) -> list[dict]:
    """Return ``plan_rows`` of what a run has on record; none without searches of two sizes on one device."""
    found = (records.read(run, dataset, stage) for stage in ("shards", search.STAGE))
    return plan_rows(*found, candidates, machines=machines, start=start)
