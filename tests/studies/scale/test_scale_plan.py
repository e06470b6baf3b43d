"""What many candidates take in parts follows from the searches on record, by the powers between the two largest."""

import pytest

from sega_utils.studies.scale import plan, search
from sega_utils.studies.scale.rounds import rounds

DEVICE = {"device": "a"}


def drawn(n: int) -> list[dict]:
    """Return the records of a draw and of the merge of what it drew, of which half survives and a fifth is kept."""
    draw = {"drawn": n, "survivors": n // 2, "seconds": n / 100, "bytes": n * 512, "peak_memory_gb": 1.0}
    merge = {"survivors": n // 2, "kept": n // 5, "searching": n / 50, "seconds": n / 50 + n / 1000, "bytes": n * 200}
    return [DEVICE | draw, DEVICE | merge | {"bytes_held": 14 * n, "peak_memory_gb": 2.0}]


def searched(n: int, parts: int) -> list[dict]:
    """Return the records of a search whose work grows by the power of 1.5, with one slow job a round."""
    about = DEVICE | {"param_candidates": n, "param_parts": parts, "peak_memory_gb": 1.0}
    settled = [
        about | {"param_job": "settle", "param_round": k, "seconds": n / 1e5, "bytes_held": 64 * n, "survivors": n // 2}
        for k in range(rounds(n) + 1)
    ]
    each = n**1.5 / 1e6 / rounds(n) / (parts + 1)  # the slow one takes twice as long
    compared = [
        about | {"param_job": "compare", "param_round": k, "param_part": part, "compared": 5, "bytes_held": 2**30}
        | {"seconds": each * (1 + (part == 0))}
        for k in range(rounds(n))
        for part in range(parts)
    ]  # fmt: skip
    return settled + compared


def test_a_plan_is_extrapolated_from_the_two_largest_searches():
    draws = [record for n in (10_000, 40_000) for record in drawn(n)]
    found = searched(10_000, 3) + searched(40_000, 3)
    small, large = plan.searches(found)
    assert (small["candidates"], large["candidates"]) == (10_000, 40_000) and large["compared"] == 15 * rounds(40_000)
    assert large["imbalance"] == pytest.approx(3 * 2 / 4) and large["work"] == pytest.approx(8)
    (row,) = plan.plan_rows(draws, found, [4_000_000], machines=30, start=20)
    assert tuple(row) == plan.PLAN and row["work_exponent"] == pytest.approx(1.5)
    assert row["comparing_hours"] == pytest.approx(8 * 1000 * 1.5 / 30 / 3600)
    assert row["drawing_hours"] == pytest.approx(40_000 / 3600 / 30) and row["rounds"] == rounds(4_000_000)
    assert row["starting_hours"] == pytest.approx((2 * row["rounds"] + 3) * 20 / 3600)
    assert row["compare_memory_gb"] == pytest.approx(1 + 100 * 3 / 30 - 1)
    assert row["settle_memory_gb"] == pytest.approx(1 + 99 * 64 * 40_000 / 2**30)
    hours = ("drawing", "comparing", "settling", "writing", "starting")
    assert row["total_hours"] == pytest.approx(sum(row[f"{name}_hours"] for name in hours))


def test_a_search_that_lacks_a_job_or_a_second_size_is_no_plan():
    draws = [record for n in (10_000, 40_000) for record in drawn(n)]
    assert plan.searches(searched(10_000, 2)[:-1]) == []
    assert plan.plan_rows(draws, searched(40_000, 2), [10**6], machines=2, start=1) == []
    assert search.STAGE not in {"shards"}, "the one-process estimate reads no job of a search in parts"
