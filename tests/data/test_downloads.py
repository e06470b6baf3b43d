import hashlib
import urllib.error

import pytest
from torchvision import datasets

from sega_utils.core import paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import downloads

CONTENT = b"\x1f\x8b" + bytes(range(200))
FILE = downloads.File("https://example.org/set/a.gz", hashlib.md5(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Return the folder of a published data set of two files, with nothing in it and no network."""

    def refuse(url, root, filename, md5):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("SEGA_DATA", str(tmp_path / "downloads"))
    monkeypatch.setattr("torchvision.datasets.utils.download_url", refuse)
    monkeypatch.setitem(downloads.FILES, "set", [FILE, downloads.File("https://example.org/b.gz", "b" * 32, 12345)])
    return tmp_path / "downloads/set"


def test_every_url_and_digest_is_torchvisions():
    found = {name: {(file.url, file.md5) for file in files} for name, files in downloads.FILES.items()}
    for name, dataset in (("cifar-10", datasets.CIFAR10), ("cifar-100", datasets.CIFAR100)):
        assert found[name] == {(dataset.url, dataset.tgz_md5)}
    assert found["svhn"] == {(url, md5) for url, _, md5 in (datasets.SVHN.split_list[s] for s in ("train", "test"))}
    for name, dataset in (("mnist", datasets.MNIST), ("fashion-mnist", datasets.FashionMNIST)):
        assert found[name] == {(dataset.mirrors[0] + file, md5) for file, md5 in dataset.resources}


def test_a_file_that_is_there_is_returned_without_a_network(folder):
    folder.mkdir(parents=True)
    (folder / "a.gz").write_bytes(CONTENT)
    assert downloads.fetch("set", "a.gz") == folder / "a.gz"


def test_a_missing_file_is_downloaded_whole_or_not_at_all(folder, monkeypatch):
    def download(url, root, filename, md5):
        assert (url, md5) == (FILE.url, FILE.md5)
        (root / filename).write_bytes(CONTENT)

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)
    assert downloads.fetch("set", "a.gz").read_bytes() == CONTENT

    def break_off(url, root, filename, md5):
        (root / filename).write_bytes(CONTENT[:10])
        raise RuntimeError("File not found or corrupted.")

    (folder / "a.gz").unlink()
    monkeypatch.setattr("torchvision.datasets.utils.download_url", break_off)
    with pytest.raises(FileNotFoundError, match="cannot be downloaded .File not found or corrupted"):
        downloads.fetch("set", "a.gz")
    assert not list(folder.iterdir())


def test_without_a_network_all_files_their_digests_and_their_folder_are_named(folder):
    with pytest.raises(FileNotFoundError) as caught:
        downloads.fetch("set", "a.gz")
    message = str(caught.value)
    assert "no network" in message and "put these files into $SEGA_DATA/set/" in message
    assert all(text in message for text in ("a.gz", FILE.md5, FILE.url, "b.gz", "b" * 32, "12,345 bytes"))
    assert str(folder) not in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n<!DOCTYPE html><html>Sign in</html>" + bytes(500), "is a web page, saved in place of the file"),
        (b"\xef\xbb\xbf<html>", "is a web page"),
        (CONTENT[:-1], "is truncated: it has 201 of 202 bytes"),
        (b"", "is truncated: it has 0 of 202 bytes"),
        (CONTENT[:-1] + b"\0", "has md5 [0-9a-f]{32}, expected " + FILE.md5),
        (CONTENT + b"\0", "has md5"),
    ],
)
def test_a_web_page_a_truncated_file_and_another_file_are_told_apart(folder, content, message):
    folder.mkdir(parents=True)
    (folder / "a.gz").write_bytes(content)
    with pytest.raises(ArtifactError, match=f"a.gz {message}.*download it from {FILE.url}"):
        downloads.fetch("set", "a.gz")
    assert (folder / "a.gz").read_bytes() == content


def test_debians_copy_of_a_file_is_taken_too(tmp_path):
    (tmp_path / "a.gz").write_bytes(CONTENT)
    downloads.verify(tmp_path / "a.gz", downloads.File(FILE.url, "0" * 32, 300, repacked=FILE.md5))


def test_downloads_lie_in_the_project_unless_set(monkeypatch):
    monkeypatch.delenv("SEGA_DATA")
    assert paths.downloads() == paths.DATA / "downloads"
