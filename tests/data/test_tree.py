import os
from pathlib import Path

import pytest

from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import tree


def make(root: Path, *folders: str, count: int = 5) -> Path:
    """Touch images in folders; what they hold is not read here."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            (root / folder / f"{i}.png").touch()
    return root


def names(files: list[Path]) -> list[str]:
    return sorted(file.name for file in files)


# splits


@pytest.mark.parametrize("train", ["train", "Training", "train_set"])
@pytest.mark.parametrize("test", ["test", "val", "Valid", "validation", "testing"])
def test_two_folders_of_splits_are_the_splits_whatever_they_are_called(tmp_path, train, test):
    make(tmp_path, *(f"{split}/{name}" for split in (train, test) for name in ("ants", "bees")))
    found = tree.find_files(tmp_path)
    assert [list(found[split]) for split in ("train", "test")] == [["ants", "bees"]] * 2
    assert {file.parts[-3] for file in found["test"]["ants"]} == {test}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train/a", "train/b", "val/a", "val/b", "test/a", "test/b"), "has the folders train, test, val; allowed"),
        (("train/a", "Train/a", "val/a"), "has the folders .*; allowed are two"),
        (("train/a", "train/b"), "has the folder train alone; .*a fifth of its images: DATASET=folder:.*/train"),
        (("val/a", "val/b"), "has the folder val alone"),
        (("train/a", "train/b", "test"), "test holds images but no class folders; sort them into"),
        (("train", "test"), "train, test holds images but no class folders"),
        (("train/a", "val/a", "images"), "has folders train and val and besides images; allowed are"),
        (("train/a", "train/b", "val/a"), "only one of train and val has b; both need each class"),
        (("inner/a", "inner/b"), "has 1 classes.*Do you mean DATASET=folder:.*/inner\\?"),
    ],
)
def test_another_layout_is_refused_with_what_to_do(tmp_path, folders, message):
    make(tmp_path, *folders)
    with pytest.raises(ValueError, match=message):
        tree.find_files(tmp_path)


def test_trains_are_a_class_beside_buses(tmp_path):
    make(tmp_path, "train", "bus")
    assert list(tree.find_files(tmp_path)["train"]) == ["bus", "train"]


# what is left out, and what is not


@pytest.mark.parametrize(
    "name", [".ipynb_checkpoints", ".thumbnails", "@eaDir", "__MACOSX", "lost+found", "#recycle", "$RECYCLE.BIN"]
)
def test_hidden_and_system_folders_are_left_out_at_any_depth(tmp_path, name):
    make(tmp_path, "ants", "bees", "ants/black", name, f"ants/{name}", f"ants/black/{name}", f"{name}/ants")
    found = tree.find_files(tmp_path)
    assert list(found["train"]) == ["ants", "bees"]
    assert len(found["train"]["ants"]) + len(found["test"]["ants"]) == 10


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", "._0.png", "Icon\r"])
def test_hidden_and_system_files_are_left_out(tmp_path, name):
    make(tmp_path, "ants", "bees")
    for folder in ("", "ants"):
        (tmp_path / folder / name).touch()
    assert len(tree.find_files(tmp_path)["train"]["ants"]) == 4


@pytest.mark.parametrize("folder", ["", "train", "test"])
def test_an_image_beside_the_class_folders_is_named(tmp_path, folder):
    splits = ("train/", "test/") if folder else ("",)
    make(tmp_path, *(f"{split}{name}" for split in splits for name in ("ants", "bees")))
    (tmp_path / folder / "stray.JPG").touch()
    with pytest.raises(ValueError, match="holds stray.JPG beside the class folders, so of no class; move"):
        tree.find_files(tmp_path)


# links


def test_links_to_images_and_folders_are_followed(tmp_path):
    make(tmp_path / "store", "more")
    root = make(tmp_path / "own", "ants", "bees")
    (root / "ants/more").symlink_to(tmp_path / "store/more")
    (root / "bees/5.png").symlink_to("0.png")
    found = tree.find_files(root)
    assert [len(found["train"][name]) + len(found["test"][name]) for name in ("ants", "bees")] == [10, 6]


def test_links_that_lead_nowhere_are_all_named(tmp_path):
    make(tmp_path, "ants", "bees")
    for i in range(4):
        (tmp_path / f"ants/{i}.png").unlink()
        (tmp_path / f"ants/{i}.png").symlink_to(f"../.git/annex/objects/{i}.png")
    with pytest.raises(ArtifactError, match="4 links of .* lead nowhere, or in a circle: ants/0.png -> .*annex get"):
        tree.find_files(tmp_path)


@pytest.mark.parametrize(
    ("name", "target"), [("5.png", "5.png"), ("up", ".."), ("same", "."), ("x/deep", "../../ants")]
)
def test_links_in_a_circle_are_named(tmp_path, name, target):
    make(tmp_path, "ants", "bees", "ants/x")
    (tmp_path / "ants" / name).symlink_to(target)
    with pytest.raises(ArtifactError, match=f"1 links of .* lead nowhere, or in a circle: ants/{name} -> "):
        tree.find_files(tmp_path)


def test_a_pipe_is_no_image(tmp_path):
    make(tmp_path, "ants", "bees")
    os.mkfifo(tmp_path / "ants/5.png")
    with pytest.raises(ArtifactError, match="holds ants/5.png, which are no files"):
        tree.find_files(tmp_path)


# what somebody else takes up


def test_what_is_no_image_or_of_no_class_is_left_out_with_the_reason_where_it_is_asked_for(tmp_path):
    root = make(tmp_path / "own", "train/ants", "train/bees", "test/ants", "test/bees")
    for name in ("train/ants/read me.txt", "train/bees/a.webp", "test/b.png", "lost.jpg"):
        (root / name).touch()
    (root / "test/bees/5.png").symlink_to("nowhere.png")
    os.mkfifo(root / "test/ants/5.png")
    left_out = []
    found = tree.find_files(root, left_out)
    assert {len(files) for part in found.values() for files in part.values()} == {5}
    assert {file.relative_to(root).as_posix(): why for file, why in left_out} == {
        "train/ants/read me.txt": "does not end in .png, .jpg, .jpeg",
        "train/bees/a.webp": "does not end in .png, .jpg, .jpeg",
        "test/ants/5.png": "is no file",
        "test/bees/5.png": "is a link that leads nowhere, or in a circle",
        "lost.jpg": "lies beside the class folders, so of no class",
        "test/b.png": "lies beside the class folders, so of no class",
    }
    with pytest.raises(ValueError, match="holds read me.txt; allowed are"):
        tree.find_files(root)


# names of files and of PATH


def test_names_that_are_no_utf_8_are_taken_and_can_be_printed(tmp_path):
    make(tmp_path, "ants", "bees")
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "ants" / name).touch()
    found = [tree.inside(tmp_path, file) for own in tree.ordered(tmp_path).values() for file, _ in own]
    assert "ants/caf\\xe9.png" in found and len(found) == 11
    (tmp_path / "ants" / name).rename(tmp_path / "ants" / name.replace("png", "gif"))
    with pytest.raises(ValueError, match=r"holds caf\\xe9.gif; allowed are") as caught:
        tree.find_files(tmp_path)
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("x" * 300, "no folder can be called .*xxx. .File name too long"),
        ("a\0b", "there is no folder|no folder can be called"),
        ("nowhere", "there is no folder .*; DATASET = 'folder:PATH' takes a path"),
        ("file.zip", "file.zip is a file: unpack it"),
        ("circle", "there is no folder"),
    ],
)
def test_a_path_that_is_no_folder_is_refused_in_our_words(tmp_path, path, message):
    (tmp_path / "file.zip").touch()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(FileNotFoundError, match=message):
        tree.find_files(tmp_path / path)
