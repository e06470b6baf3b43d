import re

import pytest

from sega_utils.core import paths
from sega_utils.studies import grid, grid_results
from sega_utils.training import recipes

PUBLISHED = 0.5558e9  # multiplications of ResNet-18 on one 32x32 image, stride 1 at first: twice that many operations


def settings(arm: str = "Std Aug", **own) -> dict:
    return recipes.settings_of(arm, {"steps": 10, "batch_size": 32} | own)


def test_a_classifier_takes_three_forward_passes_an_image():
    found = grid_results.of_classifier(settings(classifier="resnet18"))
    assert found == pytest.approx(3 * 2 * PUBLISHED * 32 * 10, rel=0.02)


@pytest.mark.parametrize(
    ("own", "factor"),
    [({"steps": 20}, 2), ({"batch_size": 64}, 2), ({"arm": "GAN-only", "ratio": 0.5}, 1), ({"arm": "No Aug"}, 1)],
)
def test_operations_grow_with_the_images_of_all_steps(own, factor):
    assert grid_results.of_classifier(settings(**own)) == pytest.approx(factor * grid_results.of_classifier(settings()))


def test_a_wider_generator_takes_more():
    options = {"steps": 10, "depth": 1, "z_dim": 8}
    narrow, wide = (grid_results.of_gan(width=width, **options) for width in (16, 32))
    assert 2 < wide / narrow < 4
    assert grid_results.of_gan(width=16, **options | {"steps": 20}) == 2 * narrow


def test_the_page_of_the_grid_says_what_it_costs(results):
    said = grid_results.cost_text(grid.read()).splitlines()[-1]
    jobs, hours, rate = re.search(r"^([\d,]+) jobs. GPU hours: ([\d,]+) computed, at (\d+) TFLOP/s", said).groups()
    page = (paths.ROOT / "docs" / "grid.md").read_text(encoding="utf-8")
    assert f"The whole table has {jobs} jobs. Their trainings would take {hours} GPU hours" in page
    assert f"at {rate} TFLOP/s that a GPU is assumed to sustain" in page
