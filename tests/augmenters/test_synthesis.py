import pytest
import torch

from sega_utils.augmenters import pools, sega
from sega_utils.augmenters.base import noise_of, plan, quota, select
from sega_utils.augmenters.sega import draw
from sega_utils.data.images import to_uint8


@pytest.fixture
def pool(generator, prompts):
    """Return 60 planned candidates, their images, and a function that draws any of them."""
    torch.manual_seed(0)
    model = sega.build_projector(prompts["embeddings"].shape[1], generator.z_dim).eval().requires_grad_(False)
    planned = plan(prompts["class_ids"], 60, seed=2)

    def redraw(index, **changes):
        rows = {name: column[index] for name, column in planned.items()}
        return draw(generator, model, embeddings=prompts["embeddings"], **{"sigma": 0.8} | rows | changes)

    return planned, redraw(torch.arange(60)), redraw


# the latent of a seed


def test_a_seed_alone_fixes_its_latent():
    seeds = torch.tensor([5, 2**62, 0, 5])
    noise = noise_of(seeds, 64)
    assert noise.shape == (4, 64) and noise.dtype == torch.float32
    assert torch.equal(noise[0], noise[3]) and not torch.equal(noise[0], noise[2])
    assert torch.equal(noise_of(seeds[1:2], 64)[0], noise[1])
    assert torch.equal(noise[0], torch.randn(64, generator=torch.Generator().manual_seed(5)))


def test_latents_of_many_seeds_are_standard_normal():
    noise = noise_of(torch.arange(2000), 8)
    assert noise.mean().abs() < 4 / 16000**0.5  # four standard errors
    assert (noise.var() - 1).abs() < 4 * (2 / 16000) ** 0.5


# candidates


def test_a_candidate_is_redrawn_from_its_prompt_and_seed(pool):
    planned, images, redraw = pool
    assert images.shape == (60, 1, 32, 32) and 0 <= images.min() and images.max() <= 1
    assert len(images.flatten(1).unique(dim=0)) == 60
    for i in (0, 17, 59):
        again = redraw(torch.tensor([i]))
        torch.testing.assert_close(
            again[0], images[i], rtol=0, atol=1e-6
        )  # sums run in another order in a batch of one
        assert torch.equal(to_uint8(again[0]), to_uint8(images[i]))


def test_prompt_class_and_seed_each_change_the_image(pool):
    planned, images, redraw = pool
    for name in ("prompt_ids", "class_ids", "seeds"):
        changed = redraw(torch.tensor([0]), **{name: planned[name][:1] + 1})
        assert not torch.allclose(changed[0], images[0], rtol=0, atol=1e-6), name


def test_without_sigma_the_seed_does_not_matter(pool):
    planned, _, redraw = pool
    one, two = (redraw(torch.arange(6), sigma=0.0, seeds=torch.arange(6) + k) for k in (0, 1000))
    assert torch.equal(one, two)


# the plan


@pytest.mark.parametrize("n", [1, 7, 60, 61, 100])
def test_candidates_are_spread_evenly_over_classes_and_prompts(n):
    class_ids = torch.tensor([0, 1, 2, 0, 1, 2, 2, 2])  # 2, 2 and 4 prompts
    planned = plan(class_ids, n, seed=0)
    assert all(column.shape == (n,) and column.dtype == torch.int64 for column in planned.values())
    assert torch.equal(class_ids[planned["prompt_ids"]], planned["class_ids"])
    even = lambda counts: int(counts.max() - counts.min()) <= 1
    assert even(torch.bincount(planned["class_ids"], minlength=3))
    used = torch.bincount(planned["prompt_ids"], minlength=8)
    assert all(even(used[class_ids == c]) for c in range(3))


def test_no_seed_is_used_twice_also_between_runs():
    class_ids = torch.tensor([0, 1])
    seeds = torch.cat([plan(class_ids, 500, seed=seed)["seeds"] for seed in (0, 1, 2**32 - 1)])
    assert len(seeds.unique()) == 1500


def test_a_class_without_prompts_is_refused():
    with pytest.raises(ValueError, match=r"classes \[1, 2\] have no prompt; every class needs at least one"):
        plan(torch.tensor([0, 3, 3]), 10, seed=0)


# the choice


@pytest.mark.parametrize(
    ("n", "n_classes", "counts"), [(257, 10, [26] * 7 + [25] * 3), (6, 3, [2, 2, 2]), (1, 3, [1, 0, 0]), (0, 2, [0, 0])]
)
def test_the_quota_is_as_even_as_can_be(n, n_classes, counts):
    assert quota(n, n_classes) == counts and sum(counts) == n


def test_600_real_images_ask_for_257_synthetic_ones():
    n_syn = round(3 / 7 * 600)
    assert n_syn == 257 == sum(quota(n_syn, 10))
    assert n_syn / (n_syn + 600) == pytest.approx(0.3, abs=0.001)


def test_the_first_kept_candidates_of_each_class_are_chosen():
    class_ids = torch.tensor([0, 1, 2] * 5)
    keep = torch.ones(15, dtype=torch.bool)
    keep[[0, 4, 7]] = False
    assert select(keep, class_ids, n=7, n_classes=3).tolist() == [3, 6, 9, 1, 10, 2, 5]


def test_an_exhausted_pool_names_the_classes_and_what_to_do():
    class_ids = torch.tensor([0, 1, 2] * 5)
    keep = class_ids != 1
    keep[1] = True
    with pytest.raises(
        ValueError, match=r"\(class 1: 1 kept, 3 needed\): draw more candidates \(OVERSAMPLE\) or loosen"
    ):
        select(keep, class_ids, n=9, n_classes=3)
    with pytest.raises(
        ValueError, match="class 0: 5 kept, 6 needed; class 1: 1 kept, 6 needed; class 2: 5 kept, 6 needed"
    ):
        select(keep, class_ids, n=18, n_classes=3)
    assert len(select(keep, class_ids, n=3, n_classes=3)) == 3
    with pytest.raises(ValueError, match="class 3: 0 kept, 1 needed"):
        select(keep, class_ids, n=4, n_classes=4)


# copies of test images


def test_kept_candidates_that_are_a_test_image_are_left_out_with_the_reason():
    coarse = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(coarse, 32, mode="bicubic").clamp(0, 1)
    test = torch.cat([images[10:], images[2:4].flip(3), images[3:4], images[5:6]])
    kept = torch.tensor([True] * 5 + [False] * 5)
    table = {"kept": kept.tolist(), "reason": [""] * 5 + ["blur"] * 5}
    pool = {"images": to_uint8(images[:10]), "class_ids": torch.zeros(10, dtype=torch.int64)}
    left, pairs = pools.leave_out_copies(pool, kept, table, test, n=5)
    assert left.tolist() == [True, True, False, False, True] + [False] * 5 == table["kept"]
    assert table["reason"] == ["", "", "test_duplicate", "test_duplicate", ""] + ["blur"] * 5
    assert table["test_duplicate_of"] == [-1, -1, 2, 3] + [-1] * 6
    assert pairs.rows.tolist() == [[2, 2], [3, 3], [3, 4]] and pairs.kinds[0] == "mirrored"
    assert kept.tolist() == [True] * 5 + [False] * 5, "the filters' own mask is as it was"


def test_only_candidates_that_can_be_chosen_are_searched_for_copies():
    coarse = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(coarse, 32, mode="bicubic").clamp(0, 1)
    pool = {"images": to_uint8(images), "class_ids": torch.arange(9) % 3}
    table = {"kept": [True] * 9, "reason": [""] * 9}
    left, pairs = pools.leave_out_copies(pool, torch.ones(9, dtype=torch.bool), table, images[[0, 3, 7, 8]], n=2)
    assert pairs.rows.tolist() == [[0, 0], [3, 1]], "6, which stands in for 0, is none; 7 and 8 cannot be chosen"
    assert left.tolist() == [False, True, True, False] + [True] * 5
