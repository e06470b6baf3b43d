import shutil
import struct

import pytest
import torch

from sega_utils import data, paths
from sega_utils.artifacts import ArtifactError


@pytest.fixture(scope="module")
def train() -> data.Dataset:
    return data.load("fashion-mnist", "train")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a copy of the embedded files that a test may damage."""
    shutil.copytree(paths.DATA / "fashion-mnist", tmp_path / "data/fashion-mnist")
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    return tmp_path / "data/fashion-mnist"


# the embedded images


@pytest.mark.parametrize(("split", "per_class"), [("train", 600), ("test", 1000)])
def test_the_embedded_images_are_padded_balanced_and_in_range(split, per_class):
    images, labels, names = data.load("fashion-mnist", split)
    assert images.shape == (10 * per_class, 1, 32, 32) and images.dtype == torch.float32
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    assert labels.dtype == torch.int64 and torch.bincount(labels).tolist() == [per_class] * 10
    assert len(names) == 10
    frame = torch.ones(32, 32, dtype=torch.bool)
    frame[2:-2, 2:-2] = False
    assert not images[..., frame].any()
    assert images[:, :, 2].any() and images[:, :, :, 29].any()


def test_the_test_set_is_the_published_one_in_its_order():
    _, labels, names = data.load("fashion-mnist", "test")
    assert [names[label] for label in labels[:5]] == ["ankle boot", "pullover", "trouser", "trouser", "shirt"]


@pytest.mark.parametrize(("dataset", "split", "message"), [
    ("cifar", "train", "unknown data set 'cifar'; known are fashion-mnist"),
    ("fashion-mnist", "validation", "unknown split 'validation'; known are 'train' and 'test'"),
])  # fmt: skip
def test_an_unknown_name_lists_the_known_ones(dataset, split, message):
    with pytest.raises(ValueError, match=message):
        data.load(dataset, split)


@pytest.mark.parametrize("name", ["test-images-idx3-ubyte.gz", "test-labels-idx1-ubyte.gz"])
@pytest.mark.parametrize("damage", [
    lambda raw: b"\x00" + raw[1:], lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), lambda raw: raw[:-1], lambda raw: b"",
    lambda raw: raw[:2000] + bytes([raw[2000] ^ 1]) + raw[2001:],
])  # fmt: skip
def test_an_altered_data_file_is_refused_by_its_digest(folder, name, damage):
    file = folder / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ArtifactError, match=f"{name} has sha256 [0-9a-f]{{64}}, expected .*git checkout"):
        data.load("fashion-mnist", "test")


def test_a_missing_data_file_is_named(folder):
    (folder / "test-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="test-labels-idx1-ubyte.gz is missing; restore it with: git checkout"):
        data.load("fashion-mnist", "test")


def test_a_data_file_without_a_digest_is_refused(folder):
    sums = folder / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(True) if "test-images" not in line))
    with pytest.raises(ArtifactError, match="expected None"):
        data.load("fashion-mnist", "test")


# the IDX format


def idx(*shape: int, kind: int = 8, payload: bytes = bytes(range(6))) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + payload


def test_idx_is_read_row_by_row_and_writable():
    array = data.parse_idx(idx(2, 3))
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]] and array.flags.writeable


def test_an_idx_file_cut_anywhere_is_refused():
    whole = idx(1, 2, 3)
    for length in range(len(whole)):
        with pytest.raises(ArtifactError, match="IDX"):
            data.parse_idx(whole[:length])


@pytest.mark.parametrize("raw", [
    idx(2, 3) + b"\0", idx(2, 3, kind=9), b"\x1f\x8b\x08\x00" + idx(2, 3), idx(2**31, 2**31, 4, payload=b""),
])  # fmt: skip
def test_an_idx_file_of_another_length_or_kind_is_refused(raw):
    with pytest.raises(ArtifactError, match="IDX"):
        data.parse_idx(raw)


# fractions and subsets


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 60), (0.1, 600), (1.0, 6000), (1 / 6000, 1)])
def test_a_fraction_of_the_full_set_is_counted_a_class(fraction, count):
    assert data.per_class("fashion-mnist", fraction) == count


@pytest.mark.parametrize("fraction", [0.0, -0.01, 0.00001])
def test_a_fraction_too_small_for_the_classes_says_what_is_enough(fraction):
    with pytest.raises(ValueError, match=f"FRACTION {fraction} leaves no image a class; use at least 0.00017"):
        data.per_class("fashion-mnist", fraction)
    assert data.per_class("fashion-mnist", 0.00017) == 1


def test_a_fraction_of_an_unknown_data_set_is_refused():
    with pytest.raises(ValueError, match="unknown data set 'cifar'"):
        data.per_class("cifar", 0.01)


def tagged(labels: list[int]) -> data.Dataset:
    """Return a data set whose images hold their own index."""
    images = torch.arange(len(labels), dtype=torch.float32)[:, None, None, None].expand(-1, 1, 32, 32)
    return data.Dataset(images, torch.tensor(labels), ("a", "b", "c"))


def index_of(part: data.Dataset) -> set[int]:
    return set(part.images[:, 0, 0, 0].long().tolist())


def test_subsets_are_stratified_nested_and_disjoint_from_the_rest():
    whole = tagged([0, 1, 2, 2, 1, 0, 0, 0, 1, 2, 2, 2, 1])
    inner = set()
    for count in (1, 2, 4):
        part, rest = data.subset(whole, count, seed=5)
        assert part.labels.tolist() == sorted(part.labels.tolist())
        assert torch.bincount(part.labels).tolist() == [count] * 3
        assert index_of(part).isdisjoint(index_of(rest)) and index_of(part) | index_of(rest) == set(range(13))
        assert all(whole.labels[i] == label for i, label in zip(part.images[:, 0, 0, 0].long(), part.labels, strict=True))
        assert inner < index_of(part)
        inner = index_of(part)


def test_a_subset_depends_on_its_seed_alone(train):
    first, again, other = (data.subset(train, 20, seed)[0].images for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("count", [0, -1, 5])
def test_more_images_a_class_than_there_are_is_refused(count):
    with pytest.raises(ValueError, match=f"{count} images a class .*allowed are 1 .. 4 with 3 classes.*FRACTION"):
        data.subset(tagged([0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2]), count)


def test_a_class_without_images_allows_no_subset():
    with pytest.raises(ValueError, match="allowed are 1 .. 0"):
        data.subset(tagged([0, 1, 1, 0]), 1)


def test_take_keeps_images_and_labels_together():
    part = data.take(tagged([0, 1, 2]), torch.tensor([2, 0]))
    assert part.images[:, 0, 0, 0].tolist() == [2, 0] == part.labels.tolist()
    assert data.take(part, torch.tensor([False, True])).labels.tolist() == [0]


# 8 bits


def test_every_byte_survives_the_way_to_float_and_back():
    values = torch.arange(256, dtype=torch.uint8)
    floats = data.from_uint8(values)
    assert floats.dtype == torch.float32 and (float(floats[0]), float(floats[-1])) == (0.0, 1.0)
    assert torch.equal(data.to_uint8(floats), values)


def test_quantising_rounds_and_clamps():
    assert data.to_uint8(torch.tensor([-0.5, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.5])).tolist() == [0, 0, 1, 255, 255]
