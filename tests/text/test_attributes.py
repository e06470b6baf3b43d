import pytest
import torch

from sega_utils.text import attributes

NAMES = list(attributes.WORDS)


def block(
    height: int, width: int, *, level: float = 0.5, channels: int = 1, top: int = 3, left: int = 2
) -> torch.Tensor:
    image = torch.zeros(1, channels, 32, 32)
    image[..., top : top + height, left : left + width] = level
    return image


def measured(image: torch.Tensor) -> dict[str, float]:
    return dict(zip(NAMES, attributes.measure(image)[0].tolist(), strict=True))


def extent(pixels: int) -> float:
    """Return four standard deviations of the positions 0 .. pixels - 1."""
    return 4 * ((pixels**2 - 1) / 12) ** 0.5


@pytest.mark.parametrize(("height", "width", "level"), [(10, 4, 0.5), (4, 10, 0.9), (1, 1, 0.2), (20, 20, 1.0)])
def test_a_block_measures_what_it_was_made_of(height, width, level):
    found = measured(block(height, width, level=level))
    assert found["brightness"] == pytest.approx(level, abs=1e-6)
    assert found["width"] == pytest.approx(extent(width), abs=1e-4)
    assert found["length"] == pytest.approx(extent(height), abs=1e-4)
    assert found["fill"] == 1.0
    # each side of the outline adds one level to the Laplacian of the pixel inside it
    assert found["texture"] == pytest.approx(2 * (height + width) / (height * width), abs=1e-5)


def test_an_open_shape_fills_its_share_of_its_box():
    image = block(10, 8)
    image[..., 5:11, 4:8] = 0  # 24 of the 80 pixels
    assert measured(image)["fill"] == pytest.approx(56 / 80)


def test_two_parts_share_one_box():
    image = block(4, 4) + block(4, 4, top=20, left=20)
    assert measured(image)["fill"] == pytest.approx(32 / (21 * 22))


def test_the_place_of_the_object_does_not_matter():
    there = attributes.measure(block(10, 6, top=15, left=20))
    torch.testing.assert_close(attributes.measure(block(10, 6)), there, rtol=0, atol=1e-5)


def test_a_pattern_has_more_texture_than_a_plain_object():
    plain, stripes = block(12, 12), block(12, 12)
    stripes[..., 4:14:2, 2:14] = 0.3
    assert measured(stripes)["texture"] > 2 * measured(plain)["texture"]


def test_texture_does_not_depend_on_brightness():
    dark, light = (measured(block(12, 12, level=level))["texture"] for level in (0.3, 0.9))
    assert dark == pytest.approx(light, abs=1e-5)


def test_what_is_no_brighter_than_the_threshold_is_background():
    faint = block(10, 4, level=attributes.FOREGROUND)
    assert attributes.measure(faint).tolist() == attributes.measure(torch.zeros(1, 1, 32, 32)).tolist() == [[0.0] * 5]


def test_three_equal_channels_measure_as_one_and_a_batch_as_its_images():
    grey, colour = block(10, 4), block(10, 4, channels=3)
    torch.testing.assert_close(attributes.measure(grey), attributes.measure(colour), rtol=0, atol=1e-5)
    batch = torch.cat((grey, block(5, 9, level=0.8)))
    assert attributes.measure(batch).shape == (2, len(NAMES)) and attributes.measure(batch).dtype == torch.float32
    torch.testing.assert_close(attributes.measure(batch)[:1], attributes.measure(grey), rtol=0, atol=1e-6)


def test_terciles_are_equal_sized_in_every_class_and_in_the_order_of_the_values():
    rng = torch.Generator().manual_seed(0)
    class_ids = torch.randperm(180, generator=rng) % 3
    values = torch.rand(180, 2, generator=rng) + class_ids[:, None] * 10  # classes do not overlap
    bins = attributes.terciles(values, class_ids)
    for c in range(3):
        for a in range(2):
            mine, theirs = bins[class_ids == c, a], values[class_ids == c, a]
            assert torch.bincount(mine).tolist() == [20, 20, 20]
            assert theirs[mine == 0].max() < theirs[mine == 1].min()
            assert theirs[mine == 1].max() < theirs[mine == 2].min()


@pytest.mark.parametrize("n", range(1, 12))
def test_terciles_of_any_number_differ_by_one_at_most(n):
    bins = attributes.terciles(torch.arange(n).float()[:, None], torch.zeros(n, dtype=torch.int64))[:, 0]
    assert bins.tolist() == sorted(bins.tolist())
    counts = torch.bincount(bins, minlength=3)
    assert counts.max() - counts.min() <= 1 and counts.sum() == n


def test_ties_are_split_in_their_order_so_that_the_thirds_stay_equal():
    bins = attributes.terciles(torch.tensor([[1.0], [0.0], [1.0], [1.0], [1.0], [1.0]]), torch.zeros(6).long())
    assert bins[:, 0].tolist() == [0, 0, 1, 1, 2, 2]


def test_every_attribute_has_a_word_at_both_ends_and_no_word_twice():
    words = [word for names in attributes.WORDS.values() for word in names if word]
    assert all(len(names) == 3 and names[0] and names[2] for names in attributes.WORDS.values())
    assert len(words) == len(set(words))
