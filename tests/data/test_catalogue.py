import pytest
import torch

from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import catalogue, published
from sega_utils.data.images import Dataset, from_uint8, take, to_uint8


@pytest.fixture(scope="module")
def train() -> Dataset:
    return catalogue.load("fashion-mnist", "train")


# the embedded images


@pytest.mark.parametrize(("split", "per_class"), [("train", 600), ("test", 1000)])
def test_the_embedded_images_are_padded_balanced_and_in_range(split, per_class):
    images, labels, names, _ = catalogue.load("fashion-mnist", split)
    assert images.shape == (10 * per_class, 1, 32, 32) and images.dtype == torch.float32
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    assert labels.dtype == torch.int64 and torch.bincount(labels).tolist() == [per_class] * 10
    assert len(names) == 10
    frame = torch.ones(32, 32, dtype=torch.bool)
    frame[2:-2, 2:-2] = False
    assert not images[..., frame].any()
    assert images[:, :, 2].any() and images[:, :, :, 29].any()


def test_the_test_set_is_the_published_one_in_its_order():
    _, labels, names, _ = catalogue.load("fashion-mnist", "test")
    assert [names[label] for label in labels[:5]] == ["ankle boot", "pullover", "trouser", "trouser", "shirt"]


def test_the_digits_that_come_with_the_project_are_whole_and_leave_some_to_validate_on():
    sets = {split: catalogue.load("mnist-5000", split) for split in ("train", "test")}
    for data, per_class in zip(sets.values(), (200, 300), strict=True):
        assert data.images.shape == (10 * per_class, 1, 32, 32) and not data.mirrors
        assert data.labels.bincount().tolist() == [per_class] * 10 and data.class_names == published.DIGITS
        assert (float(data.images.min()), float(data.images.max())) == (0.0, 1.0)
    train, test = ({image.numpy().tobytes() for image in data.images} for data in sets.values())
    assert (len(train), len(test)) == (2000, 3000) and not train & test
    assert catalogue.counts("mnist-5000", 0.01, sets["train"].labels).tolist() == [60] * 10


def test_a_digit_s_label_is_what_is_drawn():
    train, test = (catalogue.load("mnist-5000", split) for split in ("train", "test"))
    means = torch.stack([train.images[train.labels == c].mean(0).flatten() for c in range(10)])
    nearest = torch.cdist(test.images.flatten(1), means).argmin(1)
    assert (nearest == test.labels).float().mean() > 0.75  # 0.1 by chance


@pytest.mark.parametrize(
    ("dataset", "split", "message"),
    [
        ("cifar", "train", "unknown data set 'cifar'; known are fashion-mnist, .*tiny-imagenet-64, folder:PATH"),
        ("fashion-mnist", "validation", "unknown split 'validation'; known are 'train' and 'test'"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(dataset, split, message):
    with pytest.raises(ValueError, match=message):
        catalogue.load(dataset, split)


@pytest.mark.parametrize("dataset", ["folder:", "folder: ", "folder:a\0b"])
def test_a_folder_without_a_usable_path_is_refused_in_our_words(dataset):
    for function in (catalogue.mirrors, catalogue.about, catalogue.notes, lambda name: catalogue.load(name, "train")):
        with pytest.raises(ValueError, match="DATASET is 'folder:.*: 'folder:' is followed by the path of a folder"):
            function(dataset)


# fractions and subsets


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 60), (0.02, 120), (0.1, 600), (1 / 6000, 1)])
def test_a_fraction_is_of_the_published_set_not_of_its_embedded_part(train, fraction, count):
    assert catalogue.counts("fashion-mnist", fraction, train.labels).tolist() == [count] * 10


def test_a_fraction_keeps_the_shares_of_unequal_classes():
    labels = torch.tensor([0] * 10 + [1] * 40)
    assert catalogue.counts("mnist", 0.1, labels).tolist() == [1, 4]
    assert catalogue.counts("folder:x", 1.0, labels).tolist() == [10, 40]


def test_a_fraction_that_empties_a_class_says_what_is_enough():
    with pytest.raises(ValueError, match="FRACTION 0.01 leaves no image a class; use at least 0.10000"):
        catalogue.counts("mnist", 0.01, torch.tensor([0] * 10 + [1] * 400))


def tagged(labels: list[int]) -> Dataset:
    """Return a data set whose images hold their own index."""
    images = torch.arange(len(labels), dtype=torch.float32)[:, None, None, None].expand(-1, 1, 32, 32)
    return Dataset(images, torch.tensor(labels), ("a", "b", "c"))


def index_of(part: Dataset) -> set[int]:
    return set(part.images[:, 0, 0, 0].long().tolist())


def test_subsets_are_stratified_nested_and_disjoint_from_the_rest():
    whole = tagged([0, 1, 2, 2, 1, 0, 0, 0, 1, 2, 2, 2, 1])
    inner = set()
    for count in (1, 2, 4):
        part, rest = catalogue.subset(whole, count, seed=5)
        assert part.labels.tolist() == sorted(part.labels.tolist())
        assert torch.bincount(part.labels).tolist() == [count] * 3
        assert index_of(part).isdisjoint(index_of(rest)) and index_of(part) | index_of(rest) == set(range(13))
        assert all(
            whole.labels[i] == label for i, label in zip(part.images[:, 0, 0, 0].long(), part.labels, strict=True)
        )
        assert inner < index_of(part)
        inner = index_of(part)


def test_a_subset_depends_on_its_seed_alone(train):
    first, again, other = (catalogue.subset(train, 20, seed)[0].images for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("count", [0, -1, 5])
def test_more_images_a_class_than_there_are_is_refused(count):
    with pytest.raises(ValueError, match=f"{count} images a class .*allowed are 1 .. 4 with 3 classes.*FRACTION"):
        catalogue.subset(tagged([0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2]), count)


def test_each_class_may_have_its_own_count():
    part, rest = catalogue.subset(tagged([0, 0, 1, 1, 1, 2, 2]), torch.tensor([1, 3, 2]))
    assert part.labels.tolist() == [0, 1, 1, 1, 2, 2] and rest.labels.tolist() == [0]
    with pytest.raises(ValueError, match="4 images a class were asked for; allowed are 1 .. 3"):
        catalogue.subset(tagged([0, 0, 1, 1, 1, 2, 2]), torch.tensor([1, 4, 2]))


def test_a_class_without_images_allows_no_subset():
    with pytest.raises(ValueError, match="allowed are 1 .. 0"):
        catalogue.subset(tagged([0, 1, 1, 0]), 1)


def test_take_keeps_images_and_labels_together():
    part = take(tagged([0, 1, 2]), torch.tensor([2, 0]))
    assert part.images[:, 0, 0, 0].tolist() == [2, 0] == part.labels.tolist()
    assert take(part, torch.tensor([False, True])).labels.tolist() == [0]


@pytest.mark.parametrize("dataset", catalogue.DATASETS)
def test_only_digits_are_no_class_once_mirrored(dataset):
    assert catalogue.mirrors(dataset) == (dataset not in {"mnist", "mnist-5000", "svhn"})


@pytest.mark.parametrize("mirrors", [False, True])
def test_a_run_s_real_images_come_with_their_names_and_what_may_be_done_to_them(tmp_path, monkeypatch, mirrors):
    for name in "ab":
        (tmp_path / name).mkdir()
    (tmp_path / "classes.yaml").write_text(f"mirror: {str(mirrors).lower()}")
    dataset, whole = f"folder:{tmp_path}", tagged([0, 1, 2])
    tensors = {"images": to_uint8(whole.images / 255), "labels": whole.labels}
    file = paths.artifact("mine", dataset, "real")
    digest = artifacts.save_tensors(file, tensors, {"class_names": whole.class_names})
    real, meta = catalogue.load_real("mine", dataset)
    assert torch.equal(real.images * 255, whole.images) and torch.equal(real.labels, whole.labels)
    assert (real.class_names, real.mirrors, meta["sha256"]) == (whole.class_names, mirrors, digest)
    assert take(real, torch.tensor([1])).mirrors == mirrors
    assert real.unusual() == ({} if mirrors else {"mirrors": False})


@pytest.mark.parametrize(
    ("images", "labels", "names"),
    [
        (torch.zeros(3, 1, 32, 32), torch.tensor([0, 1, 2]), "abc"),
        (torch.zeros(3, 1, 32, 32, dtype=torch.uint8), torch.tensor([0, 1, 1.7]), "abc"),
        (torch.zeros(3, 1, 32, 32, dtype=torch.uint8), torch.tensor([0, 1]), "abc"),
        (torch.zeros(3, 1, 32, 32, dtype=torch.uint8), torch.tensor([0, 1, 2]), "ab"),
        (torch.zeros(3, 1, 32, 32, dtype=torch.uint8), torch.tensor([0, 1, -1]), "abc"),
    ],
)
def test_a_run_s_real_images_of_another_form_are_refused(results, images, labels, names):
    file = paths.artifact("mine", "mnist", "real")
    artifacts.save_tensors(file, {"images": images, "labels": labels}, {"class_names": list(names)})
    refused = "real.safetensors (cannot be used: (images|labels) |must hold images uint8 )"
    with pytest.raises(ArtifactError, match=refused):
        catalogue.load_real("mine", "mnist")


def test_a_subset_is_what_is_picked(train):
    chosen, others = catalogue.pick(train, 3, seed=1)
    part, rest = catalogue.subset(train, 3, seed=1)
    assert torch.equal(train.images[chosen], part.images) and torch.equal(train.labels[others], rest.labels)
    assert sorted([*chosen.tolist(), *others.tolist()]) == list(range(len(train.labels)))


# what an LLM is told


def test_sizes_of_a_data_set_share_what_is_told_and_its_bank():
    assert catalogue.about("fashion-mnist-full") == catalogue.about("fashion-mnist")
    assert catalogue.about("tiny-imagenet-64") == catalogue.about("tiny-imagenet") != catalogue.about("cifar-100")


def test_a_folder_brings_its_own_domain_descriptions_and_bank(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    text = "domain: photo of a leaf\nclasses: {a: {name: ash, description: many parts}}"
    (tmp_path / "classes.yaml").write_text(text)
    found = catalogue.about(f"folder:{tmp_path}")
    told = {"domain": "photo of a leaf", "descriptions": {"ash": "many parts"}}
    assert found == (told, tmp_path / "prompts.jsonl")
    with pytest.raises(ValueError, match="unknown data set 'folders'"):
        catalogue.about("folders")


# 8 bits


def test_every_byte_survives_the_way_to_float_and_back():
    values = torch.arange(256, dtype=torch.uint8)
    floats = from_uint8(values)
    assert floats.dtype == torch.float32 and (float(floats[0]), float(floats[-1])) == (0.0, 1.0)
    assert torch.equal(to_uint8(floats), values)


def test_quantising_rounds_and_clamps():
    assert to_uint8(torch.tensor([-0.5, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.5])).tolist() == [0, 0, 1, 255, 255]
