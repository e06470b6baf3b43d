import pytest
import torch

from sega_utils.data import catalogue
from sega_utils.data.images import Dataset
from sega_utils.text import attributes, looks

N = 30  # images of each set, no two alike in one attribute, alike in all others
GROUNDS = {"black": 0.0, "white": 1.0, "blue": (0.1, 0.2, 0.7)}


def one_varies(attribute: str, ground="black", noise: float = 0.0) -> Dataset:
    """Return images of a block, noisy or not, on a ground of one colour, in which one attribute varies."""
    rng = torch.Generator().manual_seed(0)
    masks, levels = torch.zeros(N, 32, 32, dtype=torch.bool), torch.full((N,), 0.5)
    texture = torch.zeros(N, 32, 32)
    for i in range(N):
        height, width = 12, 12
        if attribute == "width":
            width = 4 + i * 20 // N
        if attribute == "length":
            height = 4 + i * 20 // N
        masks[i, 4 : 4 + height, 4 : 4 + width] = True
        if attribute == "fill":  # holes, one standard deviation from the middle, so that the extents stay
            side = 1 + i * 3 // N
            holes = [edge - side // 2 + k for edge in (6, 13) for k in range(side)]
            masks[i, torch.tensor(holes)[:, None], torch.tensor(holes)] = False
        if attribute == "brightness":
            levels[i] = 0.4 + 0.2 * i / N
        if attribute == "texture":
            texture[i, 5:15:2, 5:15] = 0.2 * i / N
    ground = torch.tensor(GROUNDS[ground]).expand(3).view(1, 3, 1, 1)
    grain = noise * torch.randn(N, 1, 32, 32, generator=rng)
    objects = (levels[:, None, None] + texture)[:, None] + grain
    images = torch.where(masks[:, None], objects.expand(-1, 3, -1, -1), ground).clamp(0, 1)
    return Dataset(images, torch.zeros(N, dtype=torch.int64), ("block",))


def used(data: Dataset) -> list[str]:
    return [look.attribute for look in looks.varying(data) if not look.reason]


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("attribute", attributes.WORDS)
def test_only_the_attribute_that_varies_is_used(attribute, ground):
    # a wider block, or one with a hole, has more edge for its area, and so more texture
    allowed = {attribute} | ({"texture"} if attribute in looks.SHAPES else set())
    found = used(one_varies(attribute, ground, noise=0.01))
    assert attribute in found and set(found) <= allowed


def test_what_no_eye_can_see_is_refused_with_its_numbers():
    data = one_varies("brightness")
    data = data._replace(images=torch.where(data.images > 0, 0.4 + 0.2 * data.images, 0.0))
    (look,) = (look for look in looks.varying(data) if look.attribute == "brightness")
    assert look.reason == "the thirds look alike" and 0 < look.difference < look.visible == 0.1


def test_words_that_hang_on_the_threshold_are_refused():
    """A faint ramp beside the object is object or background, as the line is drawn."""
    rng = torch.Generator().manual_seed(0)
    images = torch.zeros(N, 1, 32, 32)
    images[:, :, 8:20, 6:14] = 0.6
    images[:, :, 8:20, 14:28] = (0.02 * torch.randn(N, 1, 1, 14, generator=rng) + 0.1).clamp(0.07, 0.13)
    data = Dataset(images, torch.zeros(N, dtype=torch.int64), ("block",))
    reasons = {look.attribute: look.reason for look in looks.varying(data)}
    assert reasons["width"] == "it hangs on where the object ends"


def test_shapes_need_a_background():
    images = torch.rand(N, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    data = Dataset(images, torch.zeros(N, dtype=torch.int64), ("noise",))
    reasons = {look.attribute: look.reason for look in looks.varying(data)}
    assert {reasons[name] for name in looks.SHAPES} == {"the background is of many colours"}


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_images_have_no_thirds(n):
    data = one_varies("width")
    assert not used(data._replace(images=data.images[:n], labels=data.labels[:n]))


def test_a_larger_image_needs_a_larger_difference():
    data = one_varies("width")
    large = data._replace(images=data.images.repeat_interleave(2, 2).repeat_interleave(2, 3))
    visible = {look.attribute: look.visible for look in looks.varying(large)}
    assert visible["width"] == 4.0 and visible["brightness"] == 0.1


def test_fashion_mnist_uses_nearly_all_words_and_refuses_by_class():
    """The subset of the embedded run: 60 images a class; 47 of 50 pairs of words are used."""
    train = catalogue.load("fashion-mnist", "train")
    real, _ = catalogue.subset(train, catalogue.counts("fashion-mnist", 0.01, train.labels), 0)
    refused = {(look.class_name, look.attribute) for look in looks.varying(real) if look.reason}
    assert refused == {("t-shirt", "length"), ("trouser", "length"), ("ankle boot", "fill")}
    counts = {row["attribute"]: row["classes"] for row in looks.summary(looks.varying(real))}
    assert counts["brightness"] == counts["width"] == counts["texture"] == "10 of 10" and counts["fill"] == "9 of 10"


# the foreground


def test_fashion_mnist_is_measured_as_ever_to_the_bit():
    """The shipped CLIP learned from captions of pixels brighter than 0.1; all of its images stand on black."""
    for split in ("train", "test"):
        images = catalogue.load("fashion-mnist", split).images
        assert torch.equal(attributes.foreground(images), images.mean(1) > attributes.FOREGROUND)


def test_measures_of_fashion_mnist_are_those_that_the_shipped_clip_was_trained_with():
    """The rule as it was: pixels brighter than 0.1, edges over brightness, a threshold of 0.1 for both."""
    images = catalogue.load("fashion-mnist", "train").images
    grey = images.mean(1)
    mask = (grey > 0.1).float()
    count = mask.sum((1, 2)).clamp(min=1)
    bright = (grey * mask).sum((1, 2)) / count
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    edges = ((around - 4 * grey[:, 1:-1, 1:-1]).abs() * mask[:, 1:-1, 1:-1]).sum((1, 2))
    measured = attributes.measure(images)
    assert torch.equal(measured[:, 0], bright)
    assert torch.equal(measured[:, 4], edges / count / bright.clamp(min=0.1))


@pytest.mark.parametrize("ground", ["white", "blue"])
def test_the_colour_of_the_ground_does_not_move_the_shapes(ground):
    for attribute in looks.SHAPES:
        black, other = (attributes.measure(one_varies(attribute, where).images) for where in ("black", ground))
        torch.testing.assert_close(black[:, 1:4], other[:, 1:4], rtol=0, atol=1e-5)


def test_faint_noise_on_black_is_black():
    images = one_varies("width").images
    noisy = (images + 0.05 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert not attributes.background(noisy).any()
    assert torch.equal(attributes.foreground(noisy), attributes.foreground(images))


# colours

NAMED = {
    "red": (0.9, 0.1, 0.1),
    "orange": (1.0, 0.55, 0.0),
    "brown": (0.4, 0.2, 0.05),
    "yellow": (0.9, 0.9, 0.1),
    "green": (0.1, 0.6, 0.2),
    "blue": (0.1, 0.3, 0.9),
    "purple": (0.5, 0.1, 0.7),
    "pink": (1.0, 0.2, 0.6),
}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("ground", [0.0, 1.0])
def test_a_colour_is_that_of_the_object(name, ground):
    images = torch.full((1, 3, 32, 32), ground)
    images[0, :, 8:20, 8:20] = torch.tensor(NAMED[name]).view(3, 1, 1)
    assert looks.colours(images) == [name]
    assert looks.colours(images.mean(1, keepdim=True)) == [""]


@pytest.mark.parametrize("grey", [0.0, 0.05, 0.5, 1.0])
def test_black_grey_and_white_are_no_colours(grey):
    assert looks.name_colour(grey, grey, grey) == looks.name_colour(grey, grey, grey * 0.9) == ""


def test_every_colour_has_a_name_and_all_names_are_in_use():
    steps = torch.linspace(0, 1, 11).tolist()
    names = {looks.name_colour(r, g, b) for r in steps for g in steps for b in steps}
    assert names == {"", *looks.COLOURS}
    assert not set(looks.COLOURS) & {word for words in attributes.WORDS.values() for word in words}


def test_one_colour_is_no_variation_and_a_rare_one_is_none():
    assert looks.colours_used(["red"] * 20) == []
    assert looks.colours_used(["red"] * 20 + ["blue"]) == []
    assert looks.colours_used(["red"] * 20 + ["blue"] * 2) == ["red", "blue"]
    assert looks.colours_used(["red"] * 60 + ["blue"] * 2) == []
