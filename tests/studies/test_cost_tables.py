"""Rows of the cost tables: each cell comes from a record, and is empty without it."""

import pytest
from matplotlib.figure import Figure

from sega_utils.core import numbers
from sega_utils.report import figures
from sega_utils.studies import benchmark, efficiency, loops, shards

MEASURED = [
    {"param_variant": "diffusion", "seconds_per_image": 0.5, "seconds_per_kept_image": 0.5, "frechet": 0.2, "fid": 9.0},
    {"param_variant": "GAN-only", "seconds_per_image": 0.01, "seconds_per_kept_image": 0.02, "frechet": 0.1},
]
SCORES = [
    {"param_variant": variant, "param_score": kind, "accuracy": value}
    for variant, kind, value in [("GAN-only", "cas", 0.5), ("GAN-only", "cas", 0.75), ("real images", "cas", 0.875)]
]
KERNELS = [
    {
        "param_kernel": kernel,
        "param_library": "theirs",
        "param_images": n,
        "seconds_ours": 0.5,
        "seconds_theirs": 4.0,
        "ours_q1": 0.4,
        "ours_q3": 0.6,
        "theirs_q1": 3.0,
        "theirs_q3": 5.0,
        "difference": 0.0,
    }
    for kernel, n in [("pHash", 10_000), ("SSIM", 1000), ("pHash", 1000)]
]
LOOPS = [
    {
        "param_loop": "plain",
        "param_classifier": "net",
        "param_batch_size": 64,
        "param_precision": precision,
        "param_compile": False,
        "param_workers": 2,
        "param_turns": 3,
        "seconds_ours": 0.002,
        "ours_q1": 0.001,
        "ours_q3": 0.004,
        "seconds_theirs": 0.008,
        "theirs_q1": 0.007,
        "theirs_q3": 0.009,
        "accuracy_ours": 0.875,
        "std_ours": 0.01,
        "accuracy_theirs": 0.87,
        "std_theirs": 0.02,
        "difference": 0.005,
        "ci_low": -0.01,
        "ci_high": 0.02,
    }
    for precision in ("float32", "bfloat16")
]
GROWTH = [
    {
        "param_candidates": n,
        "kept": n // 2,
        "drawing": n * 1e-3,
        "filtering": n**1.5 * 1e-4,
        "seconds": n**1.25,
        "peak_memory_gb": 1.0,
    }
    for n in (1000, 100, 300)
]


def test_a_variant_has_its_costs_and_the_mean_of_its_scores():
    rows = {row["variant"]: row for row in efficiency.efficiency_rows(MEASURED + SCORES + KERNELS + GROWTH)}
    assert list(rows) == ["GAN-only", "diffusion", "real images"], "cheapest first, without a cost last"
    assert all(tuple(row) == efficiency.EFFICIENCY for row in rows.values())
    assert (rows["GAN-only"]["cas"], rows["GAN-only"]["nas"]) == (62.5, "")
    assert (rows["diffusion"]["features"], rows["diffusion"]["fid"], rows["diffusion"]["cas"]) == ("CLIP", 9.0, "")
    assert {rows["real images"][name] for name in ("seconds_per_image", "frechet", "features")} == {""}


def test_without_a_record_its_cells_are_empty():
    assert efficiency.efficiency_rows([]) == benchmark.kernel_rows(MEASURED) == shards.growth_rows(SCORES) == []
    row, _ = efficiency.efficiency_rows(SCORES)
    assert row["variant"] == "GAN-only" and row["cas"] == 62.5 and row["seconds_per_image"] == row["frechet"] == ""


def test_kernels_are_in_order_with_the_ratio_of_the_medians():
    rows = benchmark.kernel_rows(MEASURED + KERNELS)
    assert [(row["kernel"], row["images"]) for row in rows] == [("SSIM", 1000), ("pHash", 1000), ("pHash", 10_000)]
    assert all(tuple(row) == benchmark.KERNEL_ROWS and row["ratio"] == 8 for row in rows)


def test_loops_stand_one_above_the_other_with_ratio_and_difference_of_accuracy():
    rows = loops.loop_rows(KERNELS + LOOPS)
    assert [row["precision"] for row in rows] == ["bfloat16"] * 2 + ["float32"] * 2
    ours, plain = rows[:2]
    assert (ours["loop"], ours["ms a step"], ours["images/s"]) == ("ours", "2.00 [1.00, 4.00]", "32,000")
    assert (plain["loop"], plain["ms a step"], plain["images/s"]) == ("plain", "8.00 [7.00, 9.00]", "8,000")
    assert (ours["accuracy (%)"], plain["accuracy (%)"]) == ("87.50 ± 1.00", "87.00 ± 2.00")
    assert (plain["ratio"], plain["ours - plain"]) == ("4.00", "+0.50 [-1.00, +2.00]")
    assert (ours["workers"], ours["ratio"], ours["ours - plain"]) == ("", "", "") and plain["workers"] == 2


def test_the_exponent_is_that_of_a_power_law():
    rows = shards.growth_rows(GROWTH + KERNELS)
    assert [row["candidates"] for row in rows] == [100, 300, 1000]
    powers = [numbers.exponent(rows, y=name) for name in ("drawing", "filtering", "seconds")]
    assert powers == pytest.approx([1, 1.5, 1.25])
    assert rows[0]["per_1000_more"] == ""
    assert rows[2]["per_1000_more"] == pytest.approx(1000 * (1000**1.25 - 300**1.25) / 700)
    with pytest.raises(ValueError, match=r"at least two different candidates; received \[100\]"):
        numbers.exponent(rows[:1])


def test_charts_show_every_row():
    curves = figures.growth_curves(shards.growth_rows(GROWTH))
    assert isinstance(curves, Figure) and "n to the power of 1.50" in str(curves.axes[0].get_legend_handles_labels()[1])
    left, right = figures.worth(efficiency.efficiency_rows(MEASURED + SCORES)).axes
    assert [text.get_text() for text in left.texts] == ["GAN-only", "diffusion"]
    assert [text.get_text() for text in right.texts] == ["GAN-only"]
    assert right.get_legend_handles_labels()[1] == ["real images"]
