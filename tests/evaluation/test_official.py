import numpy as np
import pytest
import torch

from sega_utils.core import artifacts
from sega_utils.core.artifacts import ArtifactError
from sega_utils.evaluation import shift


@pytest.fixture
def folder(tmp_path):
    """Write a corruption and its labels as they are published, and the list of their digests."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "fog.npy", rng.integers(0, 256, (15, 32, 32, 3), np.uint8))
    np.save(tmp_path / "labels.npy", np.tile([2, 0, 1], 5))
    digest(tmp_path)
    return tmp_path


def digest(folder):
    lines = [f"{artifacts.sha256(path)}  {path.name}\n" for path in sorted(folder.glob("*.npy"))]
    (folder / "SHA256SUMS").write_text("".join(lines))


def test_the_images_of_each_severity_come_back(folder):
    images, labels = shift.load_official(folder, "fog")
    published = np.load(folder / "fog.npy")
    assert images.dtype == torch.uint8 and images.shape == (5, 3, 3, 32, 32) and labels.tolist() == [2, 0, 1]
    assert np.array_equal(images[3, 1].permute(1, 2, 0), published[3 * 3 + 1])


def test_the_list_may_mark_names_as_binary_and_hold_others(folder):
    file = folder / "SHA256SUMS"
    file.write_text(file.read_text().replace("  ", " *") + "\n" + "0" * 64 + "  snow.npy\n")
    shift.load_official(folder, "fog")


@pytest.mark.parametrize("name", ["fog.npy", "labels.npy"])
def test_a_cut_or_altered_file_is_refused(folder, name):
    whole = (folder / name).read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), whole + b"\0"):
        (folder / name).write_bytes(damaged)
        with pytest.raises(ArtifactError, match=rf"{name} \(.* bytes\) has sha256 .*truncated, altered or not listed"):
            shift.load_official(folder, "fog")


def test_what_is_missing_is_named(folder):
    with pytest.raises(FileNotFoundError, match="snow.npy is missing; unpack"):
        shift.load_official(folder, "snow")
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(FileNotFoundError, match=r"SHA256SUMS is missing; .*sha256sum \*.npy > SHA256SUMS"):
        shift.load_official(folder, "fog")


@pytest.mark.parametrize("line", ["fog.npy", "abc  fog.npy", "0" * 64, "0" * 64 + "  a b"])
def test_a_list_of_another_form_is_refused(folder, line):
    (folder / "SHA256SUMS").write_text(line + "\n")
    with pytest.raises(ArtifactError, match="SHA256SUMS holds .*each line must be a SHA-256 and a file name"):
        shift.load_official(folder, "fog")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("fog", np.zeros((15, 32, 32, 3)), "must be uint8"),
        ("fog", np.zeros((14, 32, 32, 3), np.uint8), "must be uint8"),
        ("fog", np.zeros((15, 28, 28, 1), np.uint8), "must be uint8"),
        ("fog", np.uint8(3), "must be uint8"),
        ("labels", np.arange(15), "same 3 labels"),
        ("labels", np.zeros(3, int), "same 3 labels"),
    ],
)
def test_an_array_of_another_kind_is_refused(folder, name, content, message):
    np.save(folder / f"{name}.npy", content)
    digest(folder)
    with pytest.raises(ArtifactError, match=message):
        shift.load_official(folder, "fog")


def test_nothing_is_unpickled_and_no_other_file_is_taken(folder):
    np.save(folder / "fog.npy", np.array([{}], object), allow_pickle=True)
    digest(folder)
    with pytest.raises(ArtifactError, match="fog.npy cannot be read"):
        shift.load_official(folder, "fog")
    (folder / "fog.npy").write_bytes(b"<html>sign in</html>")
    digest(folder)
    with pytest.raises(ArtifactError, match="fog.npy is no .npy file, it begins with b'<html>"):
        shift.load_official(folder, "fog")
