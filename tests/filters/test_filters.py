"""Filters: kernels against the libraries they replace, the pair search against all pairs, the keep mask by hand."""

import cv2
import imagehash
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from sega_utils import filters
from sega_utils.data import catalogue
from sega_utils.data.images import to_uint8
from sega_utils.filters import hashes, rules

FLAT = torch.linspace(0, 255, 256)[:, None, None, None].expand(-1, 1, 32, 32) / 255


def noise(n, channels=1, seed=0, side=32):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def two_valued():
    """Checkerboards, stripes, halves and random bits, in several pairs of grey values: equal coefficients abound."""
    row, column = torch.arange(32)[:, None], torch.arange(32)[None]
    masks = [(row // k + column // k) % 2 for k in (1, 2, 4, 8, 16)]
    masks += [(row // k) % 2 + 0 * column for k in (1, 2, 4, 8, 16)] + [0 * row + (column // k) % 2 for k in (3, 16)]
    masks += [((row - 15.5) ** 2 + (column - 15.5) ** 2 < r * r).long() for r in (3, 9, 14)]
    masks += list((noise(20)[:, 0] > 0.5).long())
    values = torch.tensor([[0, 255], [255, 0], [17, 18], [100, 201]])
    return (values[:, torch.stack(masks)].reshape(-1, 1, 32, 32) / 255).float()


def gradients():
    ramp = torch.arange(32.0) / 31
    return torch.stack(
        [
            ramp.expand(32, 32),
            ramp.expand(32, 32).T,
            torch.outer(ramp, ramp),
            1 - ramp.expand(32, 32),
            (ramp[:, None] + ramp) / 2,
            (ramp - 0.5).abs().expand(32, 32),
        ]
    )[:, None]


def fashion(n=300):
    return catalogue.load("fashion-mnist", "test").images[:n]


def doubled(images):
    """Images of 64 pixels: smooth ones, in which single pixels still matter."""
    smooth = torch.nn.functional.interpolate(images, 64, mode="bicubic").clamp(0, 1)
    return (0.9 * smooth + 0.1 * noise(len(images), images.shape[1], seed=9, side=64)).clamp(0, 1)


KINDS = {
    "fashion": fashion,
    "noise": lambda: noise(300),
    "colour": lambda: noise(300, 3),
    "flat": lambda: FLAT.contiguous(),
    "flat colour": lambda: (noise(300, 3)[:, :, :1, :1] * 255).round().div(255).expand(-1, -1, 32, 32).contiguous(),
    "two-valued": two_valued,
    "gradients": gradients,
    "nearly flat": lambda: (FLAT + 0.02 * noise(256)).clamp(0, 1),
    "64": lambda: doubled(fashion()),
    "64, two-valued": lambda: two_valued().repeat_interleave(2, 2).repeat_interleave(2, 3),
    "64, flat": lambda: FLAT.repeat(1, 1, 2, 2),
    "64, colour": lambda: noise(300, 3, side=64),
}


@pytest.fixture(params=KINDS)
def images(request):
    return KINDS[request.param]()


def pillow(images):
    """The images as 8-bit Pillow ones."""
    return [
        Image.fromarray(i.squeeze(-1) if i.shape[-1] == 1 else i) for i in to_uint8(images).permute(0, 2, 3, 1).numpy()
    ]


def reference_hashes(images):
    return np.stack([imagehash.phash(image).hash.ravel() for image in pillow(images)])


def test_phash_equals_imagehash(images):
    assert np.array_equal(filters.phash(images).numpy(), reference_hashes(images))


@pytest.mark.parametrize("split", ["train", "test"])
def test_phash_equals_imagehash_on_every_embedded_image(split):
    images = catalogue.load("fashion-mnist", split).images
    assert np.array_equal(filters.phash(images).numpy(), reference_hashes(images))


def test_hamming_counts_differing_bits():
    a, b = filters.phash(noise(5)), filters.phash(noise(7, seed=1))
    assert filters.hamming(a, b).tolist() == [[int((x != y).sum()) for y in b] for x in a]


def test_ssim_equals_scikit_image(images):
    others = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    near = (images + 0.05 * noise(len(images), images.shape[1], 2, images.shape[-1])).clamp(0, 1)
    for a, b in ((images, others), (images, near)):
        expected = [
            structural_similarity(x, y, data_range=1, channel_axis=0)
            for x, y in zip(a.double().numpy(), b.double().numpy(), strict=True)
        ]
        np.testing.assert_allclose(filters.ssim(a, b).numpy(), expected, rtol=0, atol=1e-6)


def test_ssim_stays_close_to_scikit_image_in_single_precision():
    for a, b in ((fashion(200)[:100], fashion(200)[100:]), (noise(100), noise(100, seed=1)), (FLAT, FLAT.flip(0))):
        expected = [
            structural_similarity(x, y, data_range=1, channel_axis=0) for x, y in zip(a.numpy(), b.numpy(), strict=True)
        ]
        np.testing.assert_allclose(filters.ssim(a, b).numpy(), expected, rtol=0, atol=1e-5)


def test_ssim_of_an_image_with_itself_is_exactly_one(images):
    assert (filters.ssim(images, images) == 1).all()


def test_blur_score_equals_opencv(images):
    grey = [np.asarray(i.convert("L")) for i in pillow(images)]
    expected = [cv2.Laplacian(i, cv2.CV_64F).var() / max(i.var(), 1e-9) for i in grey]
    np.testing.assert_allclose(filters.blur_score(images).numpy(), expected, rtol=1e-4, atol=0)


def test_blur_score_does_not_take_a_dark_image_for_a_blurred_one():
    levels = (fashion(50) * 255).round()
    dark, bright = (levels // 2 * factor / 255 for factor in (1, 2))  # the same picture, at half and at full contrast
    torch.testing.assert_close(filters.blur_score(dark), filters.blur_score(bright), rtol=1e-4, atol=0)


def test_blur_score_falls_when_an_image_is_blurred():
    sharp = fashion(50)
    blurred = torch.nn.functional.avg_pool2d(sharp, 3, 1, 1)
    assert (filters.blur_score(blurred) < filters.blur_score(sharp)).all()


def all_pairs(images, others, max_distance, min_ssim, same):
    """The definition: every pair, one SSIM each."""
    distance = filters.hamming(filters.phash(images), filters.phash(others))
    i, j = torch.where((distance <= max_distance).triu(1) if same else distance <= max_distance)
    similar = filters.ssim(images[i], others[j]) >= min_ssim
    return torch.stack([i, j], 1)[similar].tolist()


def with_copies(images):
    """Images, exact copies of some, and slightly changed copies of others."""
    n = len(images) // 4
    changed = (images[n : 2 * n] + 0.02 * noise(n, images.shape[1], 5, images.shape[-1])).clamp(0, 1)
    return torch.cat([images, images[:n], changed])


@pytest.mark.parametrize(
    "make",
    [
        lambda: fashion(100),
        lambda: noise(40, 3),
        two_valued,
        lambda: FLAT[:40],
        lambda: doubled(fashion(100)),
        lambda: noise(40, 3, side=64),
    ],
)
@pytest.mark.parametrize("max_distance, min_ssim", [(0, 1.0), (0, -1), (4, 0.9), (10, 0.6), (16, 0.8), (64, 0.3)])
def test_near_duplicates_are_those_of_all_pairs(make, max_distance, min_ssim):
    images = with_copies(make())
    found = filters.near_duplicates(images, max_distance=max_distance, min_ssim=min_ssim)
    assert found.dtype == torch.int64
    assert found.tolist() == all_pairs(images, images, max_distance, min_ssim, same=True)
    others = images.flip(0)[:50]
    between = filters.near_duplicates(images, max_distance=max_distance, min_ssim=min_ssim, against=others)
    assert between.tolist() == all_pairs(images, others, max_distance, min_ssim, same=False)


def test_near_duplicates_finds_every_planted_copy():
    images = with_copies(noise(200))
    expected = [[i, 200 + i] for i in range(50)] + [[50 + i, 250 + i] for i in range(50)]
    assert filters.near_duplicates(images, max_distance=10, min_ssim=0.9).tolist() == expected


@pytest.mark.parametrize("max_distance", [0, 2, 4, 7, 63, 64])
@pytest.mark.parametrize("size", [4, 32, 1000])
def test_close_hashes_yields_every_pair_once_whatever_the_tiles(max_distance, size):
    generator = torch.Generator().manual_seed(0)
    bits = torch.rand(150, 64, generator=generator) < 0.5
    for copy in range(50, 150):  # each at 0 .. 9 bits from an earlier one
        bits[copy] = bits[copy - 50]
        bits[copy, torch.randperm(64, generator=generator)[: copy % 10]] ^= True
    for same, others in ((True, bits), (False, bits.flip(0)[:70])):
        close = filters.hamming(bits, others) <= max_distance
        expected = (close.triu(1) if same else close).nonzero().tolist()
        parts = hashes.close_hashes(bits, others, max_distance=max_distance, same=same, size=size)
        assert sorted([i, j] for part in parts for i, j in torch.stack(part, 1).tolist()) == expected


class FakeClip:
    """Embeds an image as its mean brightness and darkness, normalised."""

    def encode_images(self, images):
        mean = images.mean((1, 2, 3))
        return torch.nn.functional.normalize(torch.stack([mean, 1 - mean], 1), dim=1)


def test_clip_score_is_the_cosine_with_the_own_class():
    images = FLAT[[0, 255, 128]].contiguous()
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    every = filters.class_scores(images, clip=FakeClip(), class_embeddings=embeddings)
    own = filters.clip_score(images, torch.tensor([0, 0, 1]), clip=FakeClip(), class_embeddings=embeddings)
    torch.testing.assert_close(every[:2], torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert torch.equal(own, every[[0, 1, 2], [0, 0, 1]])


@pytest.mark.parametrize("percentile", [0, 5, 37.5, 100])
def test_calibrate_is_the_percentile_of_each_class(percentile):
    scores, classes = noise(1).flatten()[:300], torch.arange(300) % 3
    expected = [np.percentile(scores[classes == c].numpy(), percentile) for c in range(3)]
    thresholds = filters.calibrate(scores, classes, n_classes=3, percentile=percentile)
    np.testing.assert_allclose(thresholds.numpy(), expected, rtol=1e-6)
    for c in range(3):  # of 100 images each: the share below is the percentile but for one image
        assert abs((scores[classes == c] < thresholds[c]).sum() - percentile) <= 1


def candidates():
    """Eight candidates of two classes, each but 0, 6 and 7 made to fail one filter."""
    sharp, real = noise(5, seed=1), noise(3, seed=2)
    images = torch.stack([sharp[0], sharp[1], sharp[2], FLAT[90], real[2], sharp[0], sharp[3], sharp[1]])
    own = torch.tensor([0.9, 0.1, 0.5, 0.9, 0.9, 0.8, 0.7, 0.6])
    class_ids = torch.tensor([0, 0, 1, 1, 0, 0, 1, 0])
    scores = torch.zeros(8, 2).scatter(1, class_ids[:, None], own[:, None])
    scores[2, 0] = 0.6
    return (
        images,
        class_ids,
        dict(
            class_scores=scores,
            alignment_threshold=torch.tensor([0.2, 0.3]),
            blur_threshold=torch.tensor([1.0, 2.0]),
            real_images=real,
            max_distance=8,
            min_ssim=0.9,
        ),
    )


def test_apply_filters_gives_each_rejected_image_its_first_reason():
    images, class_ids, arguments = candidates()
    keep, table = filters.apply_filters(images, class_ids, **arguments)
    assert table["reason"] == ["", "alignment", "class", "blur", "real_duplicate", "duplicate", "", ""]
    assert keep.tolist() == table["kept"] == [reason == "" for reason in table["reason"]]
    assert table["real_duplicate_of"] == [-1, -1, -1, -1, 2, -1, -1, -1]
    assert table["duplicate_of"] == [-1, -1, -1, -1, -1, 0, -1, -1]  # 7 copies 1, which had been rejected
    assert table["best_class"] == [0, 0, 0, 1, 0, 0, 1, 0]
    assert table["clip_score"] == pytest.approx([0.9, 0.1, 0.5, 0.9, 0.9, 0.8, 0.7, 0.6])
    assert table["blur_score"] == pytest.approx(filters.blur_score(images).tolist())
    assert {len(column) for column in table.values()} == {8}


@pytest.mark.parametrize("off", filters.FILTERS)
def test_apply_filters_without_one_keeps_what_only_that_one_rejects(off):
    images, class_ids, arguments = candidates()
    _, table = filters.apply_filters(images, class_ids, **arguments, use=[f for f in filters.FILTERS if f != off])
    expected = ["", "alignment", "class", "blur", "real_duplicate", "duplicate", "", ""]
    expected = ["" if reason == off else reason for reason in expected]
    if off == "alignment":
        expected[1] = "duplicate"  # of 7, which scores better
    assert table["reason"] == expected
    assert f"{off}_of" not in table


def test_apply_filters_without_any_keeps_all():
    images, class_ids, arguments = candidates()
    keep, table = filters.apply_filters(images, class_ids, **arguments, use=())
    assert keep.all() and table["reason"] == [""] * 8


def test_of_equally_scored_copies_the_first_stays():
    images, class_ids, arguments = noise(1).repeat(3, 1, 1, 1), torch.zeros(3, dtype=torch.int64), candidates()[2]
    arguments["class_scores"] = torch.tensor([[0.5, 0], [0.5, 0], [0.5, 0]])
    assert filters.apply_filters(images, class_ids, **arguments)[1]["duplicate_of"] == [-1, 0, 0]


def test_a_copy_of_a_removed_copy_stays():
    first = noise(1)
    second = 0.8 * first + 0.2 * noise(1, seed=8)
    third = 0.8 * second + 0.2 * noise(1, seed=9)
    near = min(filters.ssim(first, second), filters.ssim(second, third))
    far = filters.ssim(first, third)
    assert far < near
    images, class_ids, arguments = torch.cat([third, first, second]), torch.zeros(3, dtype=torch.int64), candidates()[2]
    arguments |= dict(class_scores=torch.tensor([[0.5, 0], [0.9, 0], [0.7, 0]]), max_distance=64)
    arguments["min_ssim"] = float(near + far) / 2
    keep, table = filters.apply_filters(images, class_ids, **arguments)
    assert keep.tolist() == [True, True, False] and table["duplicate_of"] == [-1, -1, 1]


def test_empty_batches_give_empty_results():
    images, class_ids, (_, _, arguments) = noise(0), torch.zeros(0, dtype=torch.int64), candidates()
    embeddings = torch.eye(2)
    assert filters.phash(images).shape == (0, 64)
    assert filters.ssim(images, images).shape == filters.blur_score(images).shape == (0,)
    assert filters.near_duplicates(images, max_distance=4, min_ssim=0.9).shape == (0, 2)
    assert filters.near_duplicates(noise(3), max_distance=4, min_ssim=0.9, against=images).shape == (0, 2)
    assert filters.near_duplicates(images, max_distance=4, min_ssim=0.9, against=noise(3)).shape == (0, 2)
    assert filters.clip_score(images, class_ids, clip=FakeClip(), class_embeddings=embeddings).shape == (0,)
    keep, table = filters.apply_filters(images, class_ids, **arguments | {"class_scores": torch.zeros(0, 2)})
    assert keep.shape == (0,) and set(map(len, table.values())) == {0}
    keep, _ = filters.apply_filters(
        noise(1), torch.tensor([0]), **arguments | {"class_scores": torch.ones(1, 2), "real_images": images}
    )
    assert keep.all()


@pytest.mark.parametrize(
    "images, received",
    [
        (np.zeros((1, 1, 32, 32), np.float32), "ndarray"),
        (noise(1)[0], r"\(1, 32, 32\)"),
        (noise(1)[..., :28, :28], r"\(1, 1, 28, 28\)"),
        (noise(1, side=64)[..., :32], r"\(1, 1, 64, 32\)"),
        (noise(2).view(1, 2, 32, 32), r"\(1, 2, 32, 32\)"),
        (to_uint8(noise(1)), "uint8"),
        (noise(1).double(), "float64"),
        (noise(1) * 255, "values in"),
        (noise(1) - 1, "values in"),
        (torch.full((1, 1, 32, 32), float("nan")), "nan"),
    ],
)
def test_images_out_of_contract_are_refused(images, received):
    embeddings = torch.eye(2)
    for function in (
        filters.phash,
        filters.blur_score,
        lambda images: filters.ssim(images, noise(1)),
        lambda images: filters.ssim(noise(1), images),
        lambda images: filters.near_duplicates(images, max_distance=4, min_ssim=0.9),
        lambda images: filters.near_duplicates(noise(1), max_distance=4, min_ssim=0.9, against=images),
        lambda images: filters.class_scores(images, clip=FakeClip(), class_embeddings=embeddings),
    ):
        with pytest.raises(ValueError, match=received) as error:
            function(images)
        assert "float32 tensor (N, C, S, S), C = 1 or 3, S = 32 or 64" in str(error.value)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"use": ("blur", "sharpness")}, r"\['sharpness'\]; allowed are alignment, class, blur, real_duplicate, dupl"),
        ({"class_scores": torch.zeros(3, 2)}, r"class_scores must be finite and \(8, n_classes\); received \(3, 2\)"),
        ({"class_scores": torch.full((8, 2), float("nan"))}, "look for NaN"),
        ({"class_scores": torch.zeros(8, 1)}, r"class_ids must be in 0 .. 0; received 0 .. 1"),
        ({"alignment_threshold": torch.zeros(3)}, r"alignment_threshold must be \(2,\)"),
        ({"blur_threshold": torch.tensor(1.0)}, r"blur_threshold must be \(2,\)"),
        ({"max_distance": 65}, "max_distance is 65; allowed"),
        ({"max_distance": 4.0}, "max_distance is 4.0; allowed"),
        ({"min_ssim": 1.5}, "min_ssim is 1.5; allowed are -1 .. 1"),
        ({"min_ssim": float("nan")}, "min_ssim is nan"),
        ({"real_images": noise(2, 3)}, r"same channels and sides; received \(., 1, 32, 32\) and \(2, 3, 32, 32\)"),
        ({"real_images": noise(2, side=64)}, r"same channels and sides; received .* and \(2, 1, 64, 64\)"),
    ],
)
def test_apply_filters_refuses_what_does_not_fit(changed, message):
    images, class_ids, arguments = candidates()
    with pytest.raises(ValueError, match=message):
        filters.apply_filters(images, class_ids, **arguments | changed)


def test_other_arguments_out_of_contract_are_refused():
    scores, classes = torch.rand(4), torch.tensor([0, 0, 2, 2])
    with pytest.raises(ValueError, match=r"no real image of class \[1\]"):
        filters.calibrate(scores, classes, n_classes=3, percentile=5)
    with pytest.raises(ValueError, match="percentile is 101"):
        filters.calibrate(scores, classes, n_classes=3, percentile=101)
    with pytest.raises(ValueError, match="finite"):
        filters.calibrate(scores / 0, classes, n_classes=3, percentile=5)
    with pytest.raises(ValueError, match=r"class_ids must be int64 \(4,\); received torch.int32"):
        filters.calibrate(scores, classes.int(), n_classes=3, percentile=5)
    with pytest.raises(ValueError, match=r"received \(2, 1, 32, 32\) and \(3, 1, 32, 32\)"):
        filters.ssim(noise(2), noise(3))
    with pytest.raises(ValueError, match=r"\(n_classes, d\); received \(2,\)"):
        filters.class_scores(noise(1), clip=FakeClip(), class_embeddings=torch.ones(2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_what_the_cpu_does(images):
    on_gpu = images.cuda()
    assert torch.equal(filters.phash(on_gpu).cpu(), filters.phash(images))
    torch.testing.assert_close(filters.ssim(on_gpu, on_gpu.flip(0)).cpu(), filters.ssim(images, images.flip(0)))
    torch.testing.assert_close(filters.blur_score(on_gpu).cpu(), filters.blur_score(images))
    found = filters.near_duplicates(on_gpu, max_distance=6, min_ssim=0.7)
    assert found.is_cuda and torch.equal(found.cpu(), filters.near_duplicates(images, max_distance=6, min_ssim=0.7))


def test_a_random_control_keeps_as_many_of_each_group_but_others():
    groups = torch.arange(300) % 3
    kept = torch.arange(300) < 90
    kept[groups == 2] = False
    control = rules.at_random(kept, groups, seed=0)
    assert [int(control[groups == g].sum()) for g in range(3)] == [30, 30, 0]
    assert not torch.equal(control, kept) and torch.equal(control, rules.at_random(kept, groups, seed=0))
