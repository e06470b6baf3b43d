import shutil

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import catalogue, folders, tree as layout
from sega_utils.data.decoding import decode


def draw(path, seed: int, *, mode: str = "L", size: tuple[int, int] = (8, 8)) -> None:
    """Write a noisy image that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def tree(tmp_path):
    """Return a tree of ten images in each of three classes."""
    root = tmp_path / "own"
    for c, name in enumerate(("ash_tree", "beech", "0")):
        for i in range(10):
            draw(root / name / f"{i}.png", 10 * c + i)
    return root


@pytest.fixture
def split_tree(tmp_path):
    """Return a tree of two classes with three images to train on and two to test."""
    root = tmp_path / "own"
    for c, name in enumerate("ab"):
        for i in range(5):
            draw(root / ("train" if i < 3 else "test") / name / f"{i}.png", 10 * c + i)
    return root


# what is read


def test_a_tree_without_splits_is_split_a_fifth_for_testing(tree):
    train, test = (folders.read_folder(tree, split) for split in ("train", "test"))
    assert train[0].shape == (24, 1, 32, 32) and test[0].shape == (6, 1, 32, 32) and train[0].dtype == torch.uint8
    assert train[1].bincount().tolist() == [8] * 3 and test[1].bincount().tolist() == [2] * 3
    assert train[2] == test[2] == ("0", "ash tree", "beech")
    assert train[1].tolist() != sorted(train[1].tolist())
    whole = {image.numpy().tobytes() for split in (train, test) for image in split[0]}
    assert len(whole) == 30


def test_the_split_depends_on_the_names_alone(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "moved")
    for split in ("train", "test"):
        first, again = folders.read_folder(tree, split), folders.read_folder(tmp_path / "moved", split)
        assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])


def test_folders_train_and_test_are_the_splits(split_tree):
    found = layout.find_files(split_tree)
    assert [path.name for path in found["train"]["a"]] == ["0.png", "1.png", "2.png"]
    assert folders.read_folder(split_tree, "test")[1].bincount().tolist() == [2, 2]


def test_labels_belong_to_their_images(tree):
    images, labels, names = folders.read_folder(tree, "train")
    for file in layout.find_files(tree)["train"]["beech"]:
        own = torch.from_numpy(decode(file.read_bytes()))[:1]
        (index,) = [i for i, image in enumerate(images) if torch.equal(image, own)]
        assert names[labels[index]] == "beech"


def test_one_colour_image_in_either_split_makes_all_of_them_colour(tree):
    draw(layout.find_files(tree)["train"]["beech"][0], 99, mode="RGB")
    assert [folders.read_folder(tree, split)[0].shape[1] for split in ("train", "test")] == [3, 3]


# what is refused


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"", lambda raw: b"<html>" + raw, lambda raw: raw[:20]]
)
def test_all_damaged_images_are_listed(tree, damage):
    for name in ("beech/3.png", "0/1.png"):
        (tree / name).write_bytes(damage((tree / name).read_bytes()))
    with pytest.raises(ArtifactError, match="2 files of .* no whole PNG or JPEG: .*replace or delete") as caught:
        folders.read_folder(tree, "train")
    assert "beech/3.png" in str(caught.value) and "0/1.png" in str(caught.value)


def test_a_duplicate_across_train_and_test_is_named_even_if_saved_anew(split_tree):
    Image.open(split_tree / "train/a/1.png").save(split_tree / "test/b/copy.png", compress_level=0)
    with pytest.raises(ValueError, match="1 training images of .* test images too: train/a/1.png = test/b/copy.png"):
        folders.read_folder(split_tree, "train")


def test_duplicates_within_one_split_are_the_owners_business(split_tree):
    shutil.copy(split_tree / "train/a/1.png", split_tree / "train/a/copy.png")
    assert len(folders.read_folder(split_tree, "train")[1]) == 7


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_of_too_few_images_is_named(tree, count):
    for i in range(count, 10):
        (tree / "beech" / f"{i}.png").unlink()
    with pytest.raises(ValueError, match=rf"too few images .*: beech \({count - 1} \+ 1\); needed are two classes"):
        folders.read_folder(tree, "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: shutil.rmtree(root), "there is no folder .*folder:PATH"),
        (lambda root: [shutil.rmtree(root / name) for name in ("beech", "0")], "has 1 classes"),
        (lambda root: [shutil.rmtree(root / name) for name in ("ash_tree", "beech", "0")], "has 0 classes"),
        (lambda root: [(root / name).mkdir() for name in ("train", "test")], "besides 0, ash_tree, beech; allowed"),
        (lambda root: (root / "beech/notes.txt").touch(), "holds notes.txt; allowed are files that end in .png"),
    ],
)
def test_a_tree_of_another_shape_says_what_is_allowed(tree, change, message):
    change(tree)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        folders.read_folder(tree, "test")


def test_a_class_in_one_split_only_is_named(split_tree):
    shutil.rmtree(split_tree / "test/b")
    with pytest.raises(ValueError, match="only one of train and test has b"):
        folders.read_folder(split_tree, "test")


def test_hidden_files_are_no_images(tree):
    (tree / "beech/.DS_Store").touch()
    (tree / ".git").mkdir()
    assert len(folders.read_folder(tree, "train")[1]) == 24


def test_names_of_classes_yaml_are_the_classes_in_the_order_of_the_folders(tree):
    (tree / "classes.yml").write_text("classes: {0: no leaf, beech: copper beech}")
    assert folders.read_folder(tree, "test")[2] == ("no leaf", "ash tree", "copper beech")
    (tree / "classes.yml").write_text("classes: {0: <i>leaf</i>}")
    with pytest.raises(ValueError, match="class names that cannot be used: '<i>leaf</i>'"):
        folders.read_folder(tree, "test")


def test_what_is_taken_otherwise_than_expected_is_said(split_tree):
    assert folders.notes(split_tree) == []
    (split_tree / "test").rename(split_tree / "val")
    for name in ("labels.csv", "train/README.md", "prompts.jsonl", "classes.yml", "Thumbs.db"):
        (split_tree / name).touch()
    assert folders.notes(split_tree) == [
        "The folder val is taken for testing; nothing is tuned on it.",
        "Not read: labels.csv, train/README.md. Classes are described in classes.yaml alone.",
    ]
    assert [len(folders.read_folder(split_tree, split)[1]) for split in ("train", "test")] == [6, 4]


def test_twelve_bits_in_sixteen_reach_white_in_both_splits_and_are_said(tmp_path):
    for c, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        for i in range(5):
            values = np.random.default_rng(10 * c + i).integers(0, 4096, (32, 32)).astype(np.uint16)
            values[0, 0] = 4095 if (c, i) == (0, 0) else 2048
            Image.fromarray(values).save(tmp_path / name / f"{i}.png")
    images = torch.cat([folders.read_folder(tmp_path, split)[0] for split in ("train", "test")])
    assert images.shape == (10, 1, 32, 32) and int(images.max()) == 255
    assert sorted(images[:, 0, 0, 0].tolist()) == [128] * 9 + [255], "one scale for all files"
    (said,) = folders.notes(tmp_path)
    assert said == "The files of 16 bits end at 4,095: taken as of 12 bits, in which 4,095 is white."


@pytest.mark.parametrize("ink", [(0, 0, 0, 255), (255, 255, 255, 255)])
def test_icons_of_one_ink_on_transparent_stay_different_images(tmp_path, ink):
    for c, (name, shape) in enumerate((("circles", "ellipse"), ("squares", "rectangle"))):
        for i in range(6):
            image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
            getattr(ImageDraw.Draw(image), shape)([12 - i, 12 - i, 28 + i, 28 + i], fill=ink)
            file = tmp_path / ("train" if i < 3 else "test") / name / f"{c}{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            image.save(file)
    images = torch.cat([folders.read_folder(tmp_path, split)[0] for split in ("train", "test")])
    assert len({image.numpy().tobytes() for image in images}) == 12


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"RIFF\x10\0\0\0WEBPVP8 ", "beech/3.png is a WebP image: convert it"),
        (b"version https://git-lfs.github.com/spec/v1", "beech/3.png is a pointer of Git LFS"),
        (b"hello", "beech/3.png is no image"),
    ],
)
def test_a_file_that_is_something_else_is_called_what_it_is(tree, content, said):
    (tree / "beech/3.png").write_bytes(content)
    with pytest.raises(ArtifactError, match=said) as caught:
        folders.read_folder(tree, "train")
    assert "BytesIO" not in str(caught.value)


def test_images_are_called_by_their_files_in_the_order_they_are_read(tree):
    dataset = f"folder:{tree}"
    for split in ("train", "test"):
        data = catalogue.load(dataset, split)
        files = catalogue.names(dataset, split, len(data.labels))
        for image, label, file in zip(data.images, data.labels, files, strict=True):
            assert torch.equal(image, torch.from_numpy(decode((tree / file).read_bytes())[:1]) / 255)
            assert data.class_names[label] == file.split("/")[0].replace("_", " ")
    assert catalogue.names("fashion-mnist", "test", 2) == ["test 0", "test 1"]
    assert catalogue.notes("fashion-mnist") == [] == catalogue.notes(dataset)


def test_a_fraction_of_a_folder_says_where_to_take_all_of_it(tree):
    with pytest.raises(ValueError, match="FRACTION 0.01 leaves no image a class; .*00_data: {FRACTION: 1.0}.* PARAMS"):
        catalogue.counts(f"folder:{tree}", 0.01, torch.tensor([0] * 10 + [1] * 40))


def test_images_that_show_nothing_are_named(tree):
    Image.new("L", (8, 8), 255).save(tree / "beech" / "3.png")
    with pytest.warns(UserWarning, match="1 images of .* show one colour throughout: beech/3.png; delete"):
        [folders.read_folder(tree, split) for split in ("train", "test")]


def test_a_folder_that_is_called_as_an_image_is_named(tree):
    (tree / "beech" / "3.png").unlink()
    (tree / "beech" / "3.png").mkdir()
    with pytest.raises((ArtifactError, ValueError), match="3.png"):
        folders.read_folder(tree, "train")
