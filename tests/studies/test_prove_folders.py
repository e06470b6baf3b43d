"""Folders that the judge is checked on: seeded, of the sizes that are said, and no image in two parts."""

import numpy as np
import pytest
import torch
from PIL import Image

from sega_utils import __main__ as commands
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset
from sega_utils.studies.judge import folder as judge_folder
from sega_utils.studies.prove import drawings, folders as proofs

PARTS = (proofs.TRAIN, proofs.TEST, proofs.MORE)


@pytest.fixture
def small(monkeypatch):
    """Let folders have few images, and each data set of the catalogue be one of 20 images in each of two classes."""
    for name, n in (("EACH", 7), ("EACH_TEST", 3), ("EACH_MORE", 4), ("EACH_TEST_OF_SET", 3)):
        monkeypatch.setattr(proofs, name, n)
    images = torch.randint(256, (2, 40, 1, 32, 32), generator=torch.Generator().manual_seed(0)) / 255
    splits = {split: Dataset(images[i], torch.arange(40) % 2, ("bag", "coat")) for i, split in enumerate(PARTS[:2])}
    monkeypatch.setattr(catalogue, "load", lambda dataset, split: splits[split])


def counts(pictures: list) -> dict[str, int]:
    names = [picture.name for picture in pictures]
    return {name: names.count(name) for name in names}


@pytest.mark.parametrize("name", proofs.FOLDERS)
def test_a_seed_gives_the_same_images_and_none_is_in_two_parts(small, name):
    make = proofs.FOLDERS[name].pictures
    parts = [list(make(part, 0)) for part in PARTS]
    bits = [[picture.image.tobytes() for picture in part] for part in parts]
    assert len({*bits[0], *bits[1], *bits[2]}) == sum(map(len, bits)), "no image twice, in one part or in two"
    assert [picture.image.tobytes() for picture in make(proofs.TRAIN, 0)] == bits[0]
    assert set(bits[0]) != {picture.image.tobytes() for picture in make(proofs.TRAIN, 1)}
    assert set(counts(parts[0]).values()) == {7} and all(
        counts(part).keys() == counts(parts[0]).keys() for part in parts
    )
    assert len({(picture.name, picture.source) for part in parts for picture in part}) == sum(map(len, parts))


def test_all_training_images_that_are_not_in_the_folder_decide(small):
    assert counts(proofs.of_set("mnist-5000", proofs.MORE, 0)) == {"bag": 13, "coat": 13}
    assert counts(proofs.of_set("mnist-5000", proofs.TEST, 0)) == {"bag": 3, "coat": 3}


def test_no_pixel_of_a_photograph_trains_and_tests():
    for name, photograph in proofs.photographs().items():
        seen = [np.zeros(photograph.shape[:2], bool) for _ in range(2)]
        for tests, mask in enumerate(seen):
            found = proofs.corners(photograph, tests=bool(tests))
            assert len(found) >= proofs.EACH, name
            for y, x in found:
                part = mask[y : y + proofs.CROP, x : x + proofs.CROP]
                assert part.shape == (proofs.CROP, proofs.CROP)
                part[:] = True
        assert not (seen[0] & seen[1]).any(), name


def test_where_nothing_can_be_gained_every_pixel_tells_the_class():
    rng = np.random.default_rng(0)
    for name, colour in drawings.COLOURS.items():
        image = drawings.coloured(name, rng).reshape(-1, 3) / 255
        towards = (
            np.array(list(drawings.COLOURS.values())) / np.linalg.norm(list(drawings.COLOURS.values()), axis=1)[:, None]
        )
        assert {list(drawings.COLOURS)[i] for i in (image @ towards.T).argmax(1)} == {name}, colour


def test_only_what_tests_is_turned(monkeypatch):
    seen = []
    monkeypatch.setattr(drawings, "drawing", lambda name, rng, angle: seen.append(angle) or np.zeros((2, 2, 3)))
    make = proofs.FOLDERS["turned"].pictures
    list(make(proofs.TRAIN, 0))
    assert set(seen) == {0.0}
    seen.clear()
    list(make(proofs.TEST, 0))
    assert all(45 <= abs(angle) <= 135 for angle in seen) and min(seen) < 0 < max(seen)


@pytest.mark.parametrize("name", ["colours", "turned"])
def test_the_judge_takes_a_folder_and_leaves_hardly_anything_out(name, tmp_path, monkeypatch):
    monkeypatch.setattr(proofs, "EACH", 12)
    monkeypatch.setattr(proofs, "EACH_TEST", 8)
    folder = proofs.write(tmp_path, name, 0)
    pictures = judge_folder.look(folder)
    classes = len(pictures.names)
    assert pictures.tests is not None and pictures.images.shape[1:] == (3, 64, 64)
    assert len(pictures.files) + len(pictures.left_out) == classes * (proofs.EACH + proofs.EACH_TEST)
    assert len(pictures.left_out) < 0.02 * len(pictures.files)


def test_a_folder_says_where_its_images_are_from_and_is_written_once(small, tmp_path, capsys):
    assert commands.main(["proof-folders", str(tmp_path), "--folders", "mnist", "colours", "--seeds", "3"]) == 0
    assert capsys.readouterr().out.count("wrote ") == 2
    files = sorted((tmp_path / "mnist-seed3").rglob("*.png"))
    with Image.open(files[0]) as image:
        assert image.text["Source"].startswith("mnist-5000, test image ") and image.mode == "L"
    with Image.open(next((tmp_path / "colours-seed3" / "train" / "red").iterdir())) as image:
        assert image.text["Source"].startswith("generated, train image ")
    assert "mirror: false" in (tmp_path / "mnist-seed3" / "classes.yaml").read_text()
    files[0].unlink()
    proofs.write(tmp_path, "mnist", 3)
    assert not files[0].exists(), "what is there is kept as it is"
    assert commands.main(["proof-folders", str(tmp_path), "--folders", "digits"]) == 1
    assert "error: unknown folder 'digits'; known are fashion-mnist" in capsys.readouterr().err
