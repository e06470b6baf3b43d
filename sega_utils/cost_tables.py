"""Rows of the tables about cost, from the records of the stage ``efficiency`` alone."""

from math import ceil
from statistics import mean

import numpy as np

from sega_utils.formats import interval, spread

EFFICIENCY = ("variant", "seconds_per_image", "seconds_per_kept_image", "peak_memory_gb", "params_millions", "frechet",
              "features", "precision", "recall", "agreement", "nas", "cas", "fid", "kid")  # fmt: skip
KERNELS = ("kernel", "library", "images", "seconds_ours", "seconds_theirs", "ratio", "ours_q1", "ours_q3", "theirs_q1",
           "theirs_q3", "difference")  # fmt: skip
SCALE = ("candidates", "device", "survivors", "kept", "drawing_hours", "machines_for_a_day", "search_exponent",
         "merging_hours", "shard_memory_gb", "merge_memory_gb", "disk_gb")  # fmt: skip
GROWTH = ("candidates", "kept", "drawing", "filtering", "seconds", "peak_memory_gb")


def efficiency_rows(found: list[dict]) -> list[dict]:
    """Return a row (``EFFICIENCY``) for each variant on record, cheapest first; what was not measured is empty.

    Scores (``nas``, ``cas``) are in percent, the mean over the seeds; the Frechet distance is in CLIP's features.
    """
    rows = []
    for variant in dict.fromkeys(record["param_variant"] for record in found if "param_variant" in record):
        mine = [record for record in found if record.get("param_variant") == variant]
        row = next(({"features": "CLIP"} | record for record in mine if "frechet" in record), {})
        for kind in ("nas", "cas"):
            values = [100 * record["accuracy"] for record in mine if record.get("param_score") == kind]
            row |= {kind: mean(values)} if values else {}
        rows.append({"variant": variant} | {name: row.get(name, "") for name in EFFICIENCY[1:]})
    return sorted(rows, key=lambda row: row["seconds_per_image"] or np.inf)


def kernel_rows(found: list[dict]) -> list[dict]:
    """Return a row (``KERNELS``) for each kernel and number of images on record; ``ratio`` is theirs to ours.

    Seconds are medians over the turns, ``q1`` and ``q3`` their quartiles.
    """
    mine = [record for record in found if "param_kernel" in record]
    mine.sort(key=lambda record: (record["param_kernel"], record["param_images"]))
    rows = [record | {name: record[f"param_{name}"] for name in KERNELS[:3]} for record in mine]
    rows = [row | {"ratio": row["seconds_theirs"] / row["seconds_ours"]} for row in rows]
    return [{name: row[name] for name in KERNELS} for row in rows]


def loop_rows(found: list[dict]) -> list[dict[str, str]]:
    """Return two rows for people for each comparison of training loops on record: ours, and the plain one.

    Times are medians over the turns, with quartiles; accuracies are in percent, mean ± standard deviation over the
    turns' seeds. The plain loop's row has the ratio of its time to ours, and our accuracy less its own, paired by seed,
    with 95 % interval.
    """
    mine = [record for record in found if "param_loop" in record]
    named = ("param_classifier", "param_batch_size", "param_precision", "param_compile", "param_workers")
    rows = []
    for record in sorted(mine, key=lambda record: [record[name] for name in named]):
        ratio = record["seconds_theirs"] / record["seconds_ours"]
        lead = interval(*(100 * record[name] for name in ("difference", "ci_low", "ci_high")))
        for side, loop, workers, times, gained in (
            ("ours", "ours", "", "", ""),
            ("theirs", record["param_loop"], record["param_workers"], f"{ratio:.2f}", lead),
        ):  # fmt: skip
            low, median, high = (1000 * record[name] for name in (f"{side}_q1", f"seconds_{side}", f"{side}_q3"))
            rows.append({
                "classifier": record["param_classifier"], "precision": record["param_precision"],
                "compiled": "yes" if record["param_compile"] else "no", "loop": loop, "workers": workers,
                "ms a step": f"{median:.2f} [{low:.2f}, {high:.2f}]", "ratio": times,
                "images/s": f"{1000 * record['param_batch_size'] / median:,.0f}",
                "accuracy (%)": spread(100 * record[f"accuracy_{side}"], 100 * record[f"std_{side}"]),
                "ours - plain": gained, "n": record["param_turns"],
            })  # fmt: skip
    return rows


def growth_rows(found: list[dict]) -> list[dict]:
    """Return a row (``GROWTH``) for each number of candidates on record, in ascending order."""
    rows = [record | {"candidates": record["param_candidates"]} for record in found if "param_candidates" in record]
    return [{name: row[name] for name in GROWTH} for row in sorted(rows, key=lambda row: row["candidates"])]


def exponent(rows: list[dict], *, y: str = "seconds", x: str = "candidates") -> float:
    """Return b of the line log y = a + b log x fitted to rows; 1 means that cost grows in proportion, 2 quadratically.

    Raises:
        ValueError: fewer than two different sizes.
    """
    if len({row[x] for row in rows}) < 2:
        raise ValueError(f"an exponent needs at least two different {x}; received {[row[x] for row in rows]}")
    return float(np.polyfit(np.log([row[x] for row in rows]), np.log([row[y] for row in rows]), 1)[0])


def scale_rows(found: list[dict], sizes: list[int]) -> list[dict]:
    """Return a row (``SCALE``) for each number of candidates and device: what these would take in shards and one merge.

    A device needs draws, and merges of two sizes, on record; of others there is no row.

    Drawing, reading and writing grow in proportion. The search for near-duplicates, and what it keeps, grow from the
    largest merge on record by the power of the survivors that it grew by from the next smaller one, as the search grows
    the faster the more there are: beyond that, extrapolated.
    Machines are those that draw in a day. The merge runs on one, which holds hash, score and rank of every survivor
    beside what the largest merge on record took.

    Args:
        found: records of ``shards.draw_shard`` and of ``shards.merge``.
    """
    rows = []
    for device in dict.fromkeys(record["device"] for record in found):
        mine = [record for record in found if record["device"] == device]
        draws, merges = ([record for record in mine if ("kept" in record) == merged] for merged in (False, True))
        if not draws or len({record["survivors"] for record in merges}) < 2:
            continue
        each = {y: sum(r[y] for r in draws) / sum(r[x] for r in draws)
                for y, x in (("survivors", "drawn"), ("seconds", "drawn"), ("bytes", "survivors"))}  # fmt: skip
        *_, smaller, largest = sorted(merges, key=lambda record: record["survivors"])
        power, keeping = (exponent([smaller, largest], y=y, x="survivors") for y in ("searching", "kept"))
        for n in sizes:
            survivors, drawing = n * each["survivors"], n * each["seconds"] / 3600
            growth = survivors / largest["survivors"]
            merging = largest["searching"] * growth**power + (largest["seconds"] - largest["searching"]) * growth
            kept = largest["kept"] * growth**keeping
            rows.append({
                "candidates": n, "device": device, "survivors": round(survivors), "kept": round(kept),
                "drawing_hours": drawing, "machines_for_a_day": ceil(drawing / 24), "search_exponent": power,
                "merging_hours": merging / 3600, "shard_memory_gb": max(r["peak_memory_gb"] for r in draws),
                "merge_memory_gb": largest["peak_memory_gb"] + largest["bytes_held"] * growth / 2**30,
                "disk_gb": (survivors * each["bytes"] + kept * largest["bytes"] / largest["kept"]) / 2**30,
            })  # fmt: skip
    return rows
