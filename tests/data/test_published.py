import gzip
import io
import os
import pickle
import shutil
import zipfile
from functools import partial

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from published_files import archive, idx, pickled, python2

from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import published


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a copy of the embedded files that a test may damage."""
    shutil.copytree(paths.DATA / "fashion-mnist", tmp_path / "data/fashion-mnist")
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    return tmp_path / "data/fashion-mnist"


# the embedded files


@pytest.mark.parametrize("name", ["test-images-idx3-ubyte.gz", "test-labels-idx1-ubyte.gz"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"\x00" + raw[1:],
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        lambda raw: raw[:-1],
        lambda raw: b"",
        lambda raw: raw[:2000] + bytes([raw[2000] ^ 1]) + raw[2001:],
    ],
)
def test_an_altered_data_file_is_refused_by_its_digest(folder, name, damage):
    file = folder / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ArtifactError, match=f"{name} has sha256 [0-9a-f]{{64}}, expected .*git checkout"):
        published.read_embedded("test")


def test_a_missing_data_file_is_named(folder):
    (folder / "test-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="test-labels-idx1-ubyte.gz is missing; restore it with: git checkout"):
        published.read_embedded("test")


def test_a_data_file_without_a_digest_is_refused(folder):
    sums = folder / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(True) if "test-images" not in line))
    with pytest.raises(ArtifactError, match="expected none, it is not listed"):
        published.read_embedded("test")


# the IDX format


def test_idx_is_read_row_by_row_and_writable():
    array = published.parse_idx(idx(2, 3))
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]] and array.flags.writeable


def test_an_idx_file_cut_anywhere_is_refused():
    whole = idx(1, 2, 3)
    for length in range(len(whole)):
        with pytest.raises(ArtifactError, match="IDX"):
            published.parse_idx(whole[:length])


@pytest.mark.parametrize(
    "raw", [idx(2, 3) + b"\0", idx(2, 3, kind=9), b"\x1f\x8b\x08\x00" + idx(2, 3), idx(2**31, 2**31, 4, payload=b"")]
)
def test_an_idx_file_of_another_length_or_kind_is_refused(raw):
    with pytest.raises(ArtifactError, match="IDX"):
        published.parse_idx(raw)


@pytest.mark.parametrize("dimensions", [0, 4, 255])
def test_an_idx_file_of_a_strange_number_of_dimensions_is_refused_in_our_words(dimensions):
    raw = b"\0\0\x08" + bytes([dimensions]) + (1).to_bytes(4) * dimensions + b"\7"
    with pytest.raises(ArtifactError, match=f"promises {dimensions} dimensions; images have 3, labels 1"):
        published.parse_idx(raw)


@pytest.mark.parametrize("labels", [np.array([0, 1.7]), np.array([np.nan]), np.array([[1]]), np.array(["1"])])
def test_labels_that_are_no_whole_numbers_are_refused(labels):
    with pytest.raises(ArtifactError, match="labels must be whole numbers .N,.; received"):
        published.whole_labels(labels)


def test_whole_labels_become_int64_whatever_they_were():
    found = published.whole_labels(np.array([0.0, 2.0]))
    assert found.dtype == torch.int64 and found.tolist() == [0, 2]


def test_images_of_another_shape_are_not_padded():
    with pytest.raises(ArtifactError, match=r"images must be .N, 28, 28.; received .2, 30, 28."):
        published.padded(np.zeros((2, 30, 28), np.uint8))


def test_a_list_of_digests_that_is_cut_off_is_refused(folder):
    sums = folder / "SHA256SUMS"
    sums.write_text(sums.read_text()[:30])
    with pytest.raises(ArtifactError, match="expected none, it is not listed; restore it with: git"):
        published.read_embedded("test")


# MNIST and Fashion-MNIST in full


@pytest.mark.parametrize("folder", ["mnist", "fashion-mnist"])
def test_idx_sets_are_padded_to_32(publish, folder):
    publish(folder, "t10k-images-idx3-ubyte.gz", gzip.compress(idx(2, 28, 28, payload=bytes([7]) * 1568)))
    publish(folder, "t10k-labels-idx1-ubyte.gz", gzip.compress(idx(2, payload=b"\3\1")))
    images, labels, names = published.read_idx("test", folder=folder, class_names=published.DIGITS)
    assert images.shape == (2, 1, 32, 32) and int(images.sum()) == 7 * 1568 and (images[:, :, 2:30, 2:30] == 7).all()
    assert labels.tolist() == [3, 1] and names == published.DIGITS


# CIFAR: dicts pickled by Python 2, protocol 2, in a tar archive


def batch(start: int, key: str = "labels") -> bytes:
    data = (np.arange(2 * 3072).reshape(2, 3072) + start).astype(np.uint8)
    return pickled({"batch_label": "a batch", key: [start, start + 1], "data": data, "filenames": ["a.png", "b.png"]})


def cifar10(**others: bytes) -> bytes:
    files = {f"data_batch_{i}": batch(i) for i in range(1, 6)} | {"test_batch": batch(9)}
    files["batches.meta"] = pickled({"num_cases_per_batch": 2, "label_names": ["airplane", "automobile"]})
    return archive({f"cifar-10-batches-py/{name}": raw for name, raw in files.items()} | others)


def test_cifar_10_is_read_batch_by_batch_channel_by_channel(publish):
    publish("cifar-10", "cifar-10-python.tar.gz", cifar10())
    images, labels, names = published.read_cifar("train", folder="cifar-10")
    assert images.shape == (10, 3, 32, 32) and names == ("airplane", "automobile")
    assert labels.tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    assert images[0, 0, 0, :3].tolist() == [1, 2, 3] and images[2, 1, 1, 0] == (2 + 1024 + 32) % 256
    assert published.read_cifar("test", folder="cifar-10")[1].tolist() == [9, 10]


def test_cifar_100_is_read_with_its_fine_labels(publish):
    files = {
        "train": batch(5, "fine_labels"),
        "test": batch(7, "fine_labels"),
        "meta": pickled({"fine_label_names": ["apple", "maple_tree"], "coarse_label_names": ["x"]}),
    }
    publish("cifar-100", "cifar-100-python.tar.gz", archive({f"cifar-100-python/{k}": v for k, v in files.items()}))
    images, labels, names = published.read_cifar("test", folder="cifar-100")
    assert images.shape == (2, 3, 32, 32) and labels.tolist() == [7, 8] and names == ("apple", "maple tree")


def test_a_hostile_archive_writes_nothing(publish, tmp_path):
    outside = tmp_path / "outside"
    publish("cifar-10", "cifar-10-python.tar.gz", cifar10(**{"../../outside": b"x", str(outside): b"x"}))
    before = sorted(tmp_path.rglob("*"))
    published.read_cifar("test", folder="cifar-10")
    assert sorted(tmp_path.rglob("*")) == before and not outside.exists()


def test_an_archive_that_lacks_a_batch_names_it(publish):
    publish("cifar-10", "cifar-10-python.tar.gz", archive({"cifar-10-batches-py/batches.meta": pickled({})}))
    with pytest.raises(ArtifactError, match="cifar-10-python.tar.gz holds no test_batch"):
        published.read_cifar("test", folder="cifar-10")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (pickle.dumps(partial(os.system, "true"), 2), "asks for functools.partial"),
        (b"\x80\x02cposix\nsystem\n" + python2("true") + b"\x85R.", "asks for posix.system"),
        (b"\x80\x02cnumpy\nload\n" + python2("x") + b"\x85R.", "asks for numpy.load"),
        (
            b"\x80\x02cnumpy\ndtype\n" + python2("O8") + python2(0) + python2(1) + b"\x87R.",
            "array of 'O8', expected u1",
        ),
        (b"\x80\x02cnumpy\nndarray\n" + python2(9) + b"\x85R.", "not callable"),
        (pickled([1]), "it holds list, expected dict"),
        (batch(1)[:-40], "truncated|ran out|past"),
        (b"", "ran out"),
    ],
)
def test_a_pickle_of_anything_else_is_refused(tmp_path, raw, message):
    with pytest.raises(ArtifactError, match=f"(?i)holds no CIFAR batch .*({message})"):
        published.unpickle(raw, tmp_path / "batch")


# SVHN and Tiny-ImageNet


def test_svhn_is_read_image_by_image_and_its_ten_is_zero(publish):
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), np.uint8)
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"X": images, "y": np.array([[1], [10], [9], [2]], np.uint8)})
    publish("svhn", "test_32x32.mat", stream.getvalue())
    read, labels, names = published.read_svhn("test")
    assert np.array_equal(read[2], images[..., 2].transpose(2, 0, 1))
    assert [names[label] for label in labels] == ["one", "zero", "nine", "two"]


@pytest.fixture
def tiny_imagenet(publish):
    """Publish three classes, two of the same first word, with two training images and one validation image each."""

    def jpeg(level: int, mode: str = "RGB") -> bytes:
        stream = io.BytesIO()
        Image.new("RGB", (64, 64), (level,) * 3).convert(mode).save(stream, "JPEG", quality=100)
        return stream.getvalue()

    stream, top = io.BytesIO(), "tiny-imagenet-200"
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{top}/wnids.txt", "n3\nn1\nn2\n")
        words = "n0\tentity\nn1\tcrane\nn2\tcrane, derrick\nn3\tgoldfish, Carassius auratus\n"
        archive.writestr(f"{top}/words.txt", words)
        rows = ""
        for i in (1, 2, 3):
            for j in (0, 1):
                archive.writestr(f"{top}/train/n{i}/images/n{i}_{j}.JPEG", jpeg(50 * i, "L" if j else "RGB"))
            archive.writestr(f"{top}/train/n{i}/n{i}_boxes.txt", "n1_0.JPEG\t0\t0\t62\t62\n")
            archive.writestr(f"{top}/val/images/val_{i}.JPEG", jpeg(50 * i))
            rows = f"val_{i}.JPEG\tn{i}\t0\t0\t62\t62\n" + rows
        archive.writestr(f"{top}/val/val_annotations.txt", rows)
        archive.writestr(f"{top}/test/images/test_0.JPEG", jpeg(0))
        archive.writestr("../../outside", "x")
    publish("tiny-imagenet", "tiny-imagenet-200.zip", stream.getvalue())


@pytest.mark.parametrize("size", [32, 64])
def test_tiny_imagenet_is_read_in_the_order_of_its_lists(tiny_imagenet, size):
    images, labels, names = published.read_tiny_imagenet("train", size=size)
    assert images.shape == (6, 3, size, size) and names == ("goldfish", "crane", "derrick")
    assert labels.tolist() == [1, 1, 2, 2, 0, 0] and images[:, 0, 5, 5].tolist() == [50, 50, 100, 100, 150, 150]


def test_tiny_imagenets_test_images_are_its_validation_images(tiny_imagenet, tmp_path):
    images, labels, _ = published.read_tiny_imagenet("test")
    assert labels.tolist() == [0, 2, 1] and images[:, 2, 9, 9].tolist() == [150, 100, 50]
    assert not (tmp_path / "outside").exists()


def test_a_listed_file_of_something_else_is_named(folder):
    file, sums = folder / "test-labels-idx1-ubyte.gz", folder / "SHA256SUMS"
    file.write_bytes(gzip.compress(b"not IDX"))
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(file.name)]
    sums.write_text("\n".join([*lines, f"{artifacts.sha256(file)}  {file.name}"]) + "\n")
    with pytest.raises(
        ArtifactError, match="test-labels-idx1-ubyte.gz cannot be used: .*; download it again, or restore"
    ):
        published.read_embedded("test")
