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
EFFECTS = [
    {"attribute": name, "effect": 1.0 + i, "ci_low": 0.5 + i, "ci_high": 2.0 + i}
    for i, name in enumerate(("brightness", "width"))
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
    "heatmap": lambda: figures.heatmap([torch.tensor([1.0, 20.0]), torch.tensor([1.0, 30.5])], rows="ab", columns="xy"),
}


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_is_drawn_small_and_the_same_twice(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        first, second = (CHARTS[name]()._repr_png_() for _ in range(2))
    assert first == second and len(first) < 60_000
    low, high = Image.open(io.BytesIO(first)).convert("L").getextrema()
    assert low < 100 and high == 255


def test_the_accuracy_chart_shows_seeds_means_and_paired_intervals():
    figure = comparisons.accuracy_bars(TRAINED[::-1])
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == list(ARMS), "from the lowest to the highest mean"
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
    single._repr_png_(), alone._repr_png_()


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


def test_the_prompt_map_is_a_pca_with_a_fixed_direction():
    def points(embeddings):
        axes = figures.prompt_map(embeddings, PROMPT_CLASSES, CLUSTERS, NAMES).axes[0]
        return np.concatenate([c.get_offsets() for c in axes.collections if len(c.get_offsets()) > 1])

    received = points(PROMPTS)
    assert np.allclose(pdist(received), pdist(PCA(2).fit_transform(PROMPTS.numpy())))
    turned = points(torch.cat((PROMPTS[:, 8:], PROMPTS[:, :8]), 1))  # the same geometry through other numerics
    assert np.allclose(received, turned)


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
