import io
import warnings

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from scipy.spatial.distance import pdist
from scipy.stats import ttest_rel
from sklearn.decomposition import PCA

from sega_utils.report import comparisons, figures

RNG = np.random.default_rng(0)
ARMS = ("No Aug", "Std Aug", "SEGA-Net")
SCORES = {arm: RNG.normal(0.80 + 0.02 * i, 0.003, 5) for i, arm in enumerate(ARMS)}
TRAINED = [
    {"param_arm": arm, "param_seed": seed, "accuracy": float(value)}
    for arm, values in SCORES.items()
    for seed, value in enumerate(values)
]
CLASS_IDS = torch.arange(200) % 3
KEEP = torch.arange(200) % 4 != 0
VALUES = RNG.normal(0.5, 0.1, 200).tolist()
NAMES = ("shirt", "costs $5 or $6", "bag")
PROMPTS = torch.from_numpy(RNG.normal(size=(36, 16)))
PROMPT_CLASSES, CLUSTERS = torch.arange(36) // 12, torch.arange(36) // 4
CURVE = [{"step": 10 * i, "contrast": 3.0 / (i + 1), "regular": 0.1 * i} for i in range(50)]
INTERVAL = ("diff", "ci_low", "ci_high")
EFFECTS = [
    {"attribute": name, "effect": 1.0 + i, "ci_low": 0.5 + i, "ci_high": 2.0 + i}
    for i, name in enumerate(("brightness", "width"))
]

CHANGED = [
    {"name": name, "arm": "", "value": value, "mean": mean, "std": 0.2, "n": 3}
    | ({"diff": mean - 84, "ci_low": mean - 85, "ci_high": mean - 83} if mean != 84 else dict.fromkeys(INTERVAL, ""))
    for name, value, mean in (
        ("tau", 0.03, 84.5),
        ("tau", 0.3, 84.0),
        ("ratio_add", 0.1, 82.0),
        ("ratio_add_real", 0.1, 85.0),
    )
]
COSTS = [
    {"variant": "SEGA-Net", "seconds_per_kept_image": 0.001, "frechet": 0.03, "cas": 73.0},
    {"variant": "real images", "seconds_per_kept_image": "", "frechet": "", "cas": 77.0},
]

CHARTS = {
    "accuracy_bars": lambda: comparisons.accuracy_bars(TRAINED),
    "histograms": lambda: figures.histograms(VALUES, KEEP, CLASS_IDS, torch.full((3,), 0.45), class_names=NAMES),
    "prompt_map": lambda: figures.prompt_map(PROMPTS, PROMPT_CLASSES, CLUSTERS, NAMES),
    "curves": lambda: figures.curves(CURVE, title="losses"),
    "no curve": lambda: figures.curves([], x="step", title="losses"),
    "effects": lambda: figures.effects({"plain": EFFECTS[:1], "prompts": EFFECTS}),
    "severity_curves": lambda: comparisons.severity_curves(
        {"noise": {"a": [3, 2, 1], "b": [2, 2, 2]}, "blur": {"a": [1, 1, 0]}}
    ),
    "ablation_curves": lambda: comparisons.ablation_curves(CHANGED),
    "ablation_bars": lambda: comparisons.ablation_bars(CHANGED),
    "worth": lambda: figures.worth(COSTS),
    "heatmap": lambda: figures.heatmap([torch.tensor([1.0, 20.0]), torch.tensor([1.0, 30.5])], rows="ab", columns="xy"),
}


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_says_in_words_what_it_shows(name):
    alt = CHARTS[name]().alt
    assert len(alt) > 30 and alt.endswith(".") and "\n" not in alt
    if name != "no curve":
        assert any(character.isdigit() for character in alt), "numbers, not only what kind of chart it is"


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_is_drawn_small_and_the_same_twice(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        first, second = (CHARTS[name]().png() for _ in range(2))
    assert first == second and len(first) < 60_000
    low, high = Image.open(io.BytesIO(first)).convert("L").getextrema()
    assert low < 100 and high == 255


def test_the_accuracy_chart_shows_seeds_means_and_paired_intervals():
    figure = comparisons.accuracy_bars(TRAINED[::-1])
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == list(ARMS), "from the lowest to the highest mean"
    assert "the baseline" in texts(figure), "Std Aug has a row, too"
    places = [text for text in right.texts if "[" in text.get_text()]
    assert places and all(text.xy[0] > 1 for text in places), "numbers stand in the margin, clear of the zero line"
    dots = [line.get_xdata() for line in left.lines if len(line.get_xdata()) == 5]
    assert all(np.allclose(sorted(dot), sorted(100 * SCORES[arm])) for dot, arm in zip(dots, ARMS, strict=True))
    for container, arm in zip(right.containers, ("No Aug", "SEGA-Net"), strict=True):
        interval = ttest_rel(100 * SCORES[arm], 100 * SCORES["Std Aug"]).confidence_interval(0.95)
        drawn = container[2][0].get_segments()[0][:, 0]
        assert np.allclose(drawn, (interval.low, interval.high))
        assert f"{100 * SCORES[arm].mean():.2f}" in texts(figure)


def test_the_accuracy_chart_of_single_seeds_or_without_the_baseline_has_no_intervals():
    single = comparisons.accuracy_bars([row for row in TRAINED if row["param_seed"] == 0])
    alone = comparisons.accuracy_bars([row for row in TRAINED if row["param_arm"] != "Std Aug"])
    assert len(single.axes[1].containers) == len(alone.axes[1].containers) == 0
    single.png(), alone.png()


def test_the_accuracy_chart_refuses_missing_seeds_and_nothing():
    with pytest.raises(ValueError, match="the same seeds"):
        comparisons.accuracy_bars(TRAINED[:-1])
    with pytest.raises(ValueError, match="run 05_training first"):
        comparisons.accuracy_bars([])


def test_histograms_count_every_image_of_their_class():
    figure = CHARTS["histograms"]()
    for c, axes in enumerate(figure.axes):
        kept, rejected = (sum(patch.get_height() for patch in container) for container in axes.containers)
        mine = CLASS_IDS == c
        assert (kept, rejected) == (int((mine & KEEP).sum()), int((mine & ~KEEP).sum()))
        assert list(axes.lines[0].get_xdata()) == pytest.approx([0.45, 0.45])
    assert len(figure.axes) == 3 and set(NAMES) <= set(texts(figure))


def test_histograms_of_seven_classes_leave_no_empty_panel():
    ids = torch.arange(200) % 7
    figure = figures.histograms(VALUES, KEEP, ids, torch.zeros(7), class_names="abcdefg")
    assert len(figure.axes) == 7


def test_the_prompt_map_has_the_axes_of_the_classes_centres_with_a_fixed_direction():
    def points(embeddings):
        axes = figures.prompt_map(embeddings, PROMPT_CLASSES, CLUSTERS, NAMES).axes[0]
        return np.concatenate([c.get_offsets() for c in axes.collections if len(c.get_offsets()) > 1])

    received = points(PROMPTS)
    centres = np.stack([PROMPTS[PROMPT_CLASSES == c].numpy().mean(0) for c in range(3)])
    assert np.allclose(pdist(received), pdist(PCA(2).fit(centres).transform(PROMPTS.numpy())))
    turned = points(torch.cat((PROMPTS[:, 8:], PROMPTS[:, :8]), 1))  # the same geometry through other numerics
    assert np.allclose(received, turned)


def test_the_names_on_the_prompt_map_stand_at_the_centres_and_apart():
    places = np.array([[0.0, 0.0], [0.01, 0.01], [0.5, 0.5]])
    moved = figures.apart(places.copy(), np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert np.allclose(moved[[0, 2]], places[[0, 2]]) and moved[1] == pytest.approx([0.01, 0.045])
    axes = CHARTS["prompt_map"]().axes[0]
    named = {text.get_text(): text.get_position() for text in axes.texts}
    points = [c.get_offsets() for c in axes.collections if len(c.get_offsets()) > 1]
    for c, name in enumerate(NAMES):
        assert named[name][0] == pytest.approx(np.concatenate(points[3 * c : 3 * c + 3])[:, 0].mean())


def test_the_prompt_map_marks_each_clusters_centre():
    axes = CHARTS["prompt_map"]().axes[0]
    points = [c.get_offsets() for c in axes.collections]
    for mine, centre in zip(points[::2], points[1::2], strict=True):
        assert len(mine) == 4 and np.allclose(np.mean(mine, 0), centre[0])
    assert len(points) == 2 * 9


def test_curves_have_a_panel_for_each_column():
    figure = CHARTS["curves"]()
    assert [axes.get_title("left") for axes in figure.axes] == ["contrast", "regular"]
    assert list(figure.axes[1].lines[0].get_ydata()) == [row["regular"] for row in CURVE]
    assert "losses: none was recorded" in texts(CHARTS["no curve"]())


def test_effects_are_drawn_with_their_own_intervals():
    axes = CHARTS["effects"]().axes[0]
    segments = axes.containers[1][2][0].get_segments()
    assert [list(segment[:, 0]) for segment in segments] == [[0.5, 2.0], [1.5, 3.0]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["brightness", "width"]


def test_a_heatmap_writes_its_numbers_and_shades_by_column():
    figure = CHARTS["heatmap"]()
    assert {"1.00", "20.00", "30.50"} <= set(texts(figure))
    assert figure.axes[0].images[0].get_array().tolist() == [[0, 0], [0, 1]], "a column of equal numbers has one shade"


def test_a_heatmap_shades_by_row_shows_percent_and_breaks_long_heads():
    figure = figures.heatmap(
        [[0.5, 1], [0.25, 0.125]], rows="ab", columns=("Std Aug + MixUp", "x"), percent=True, shade="row"
    )
    assert {"50.0 %", "12.5 %", "Std Aug +\nMixUp"} <= set(texts(figure))
    assert figure.axes[0].images[0].get_array().tolist() == [[0, 1], [1, 0]]
    assert "b: lowest x, 12.5 %, highest Std Aug + MixUp, 25.0 %" in figure.alt
    with pytest.raises(ValueError, match="allowed are column and row"):
        figures.heatmap([[1]], rows="a", columns="x", shade="all")


def test_curves_of_ablations_share_a_range_and_have_readable_names_a_reference_and_a_legend():
    figure = comparisons.ablation_curves(CHANGED)
    left, right = figure.axes
    assert left.get_ylim() == right.get_ylim() and left.get_xscale() == "log" and right.get_xscale() == "linear"
    assert left.get_title("left") == "temperature of the contrast\n(tau)"
    dashed = [line for axes in figure.axes for line in axes.lines if line.get_linestyle() == "--"]
    assert [list(line.get_ydata()) for line in dashed] == [[84, 84], [84, 84]], "SEGA-Net as it is"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["SEGA-Net, changed", "SEGA-Net as it is", "real images only"]


@pytest.mark.parametrize("name", ["worth", "ablation_curves"])
def test_no_label_is_longer_than_its_axis(name):
    figure = CHARTS[name]()
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.yaxis.label.get_window_extent().height <= 1.02 * axes.get_window_extent().height
