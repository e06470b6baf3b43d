import errno
import multiprocessing
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import ArtifactError

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([True, False])}
META = {"settings": {"seed": 1}, "step": 3}
WRITERS = {
    "tensors": lambda path: artifacts.save_tensors(path, TENSORS | {"big": torch.zeros(20_000)}),
    "text": lambda path: artifacts.save_text(path, "newer" * 20_000),
    "json": lambda path: artifacts.save_json(path, ["new"] * 20_000),
    "csv": lambda path: artifacts.save_csv(path, ({"a": 1.5} for _ in range(20_000)), ["a"]),
}
every_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


@pytest.fixture
def path(results):
    return results / "mine/file"


@pytest.fixture
def saved(path) -> bytes:
    """Return the bytes of a file of tensors that lies at ``path``."""
    artifacts.save_tensors(path, TENSORS, META)
    return path.read_bytes()


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


# what was written is what is read


def test_tensors_of_every_kind_come_back_bit_for_bit(path):
    tensors = {
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 4),
        "half": torch.randn(5).half(),
        "bfloat": torch.randn(5).bfloat16(),
        "bytes": torch.arange(256).to(torch.uint8),
        "ids": torch.tensor([2**62]),
        "nan": torch.tensor([float("nan")]),
        "transposed": torch.randn(3, 4).T,
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "channels last": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    }
    value = artifacts.save_tensors(path, tensors, META)
    loaded, meta = artifacts.load_tensors(path)
    assert meta == META | {"sha256": value}
    assert set(loaded) == set(tensors)
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded[name], tensor.detach(), rtol=0, atol=0, equal_nan=True)


def test_the_digest_is_of_names_dtypes_shapes_and_values_only():
    value = artifacts.digest({"a": torch.zeros(2, 3), "b": torch.ones(1)})
    assert value == artifacts.digest({"b": torch.ones(1), "a": torch.zeros(3, 2).T})
    others = [
        {"a": torch.zeros(3, 2), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3), "c": torch.ones(1)},
        {"a": torch.zeros(2, 3).int(), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3), "b": torch.zeros(1)},
    ]
    assert len({value, *map(artifacts.digest, others)}) == 5


def test_the_same_tensors_always_make_the_same_file(path, saved):
    for _ in range(64):
        artifacts.save_tensors(path, dict(reversed(TENSORS.items())), dict(reversed(META.items())))
        assert path.read_bytes() == saved


def test_csv_keeps_columns_and_six_digits(path):
    artifacts.save_csv(path, [{"b": 1 / 3, "a": "x,y"}, {"b": 2, "a": True}], ["a", "b"])
    assert path.read_text() == 'a,b\n"x,y",0.333333\nTrue,2\n'
    assert artifacts.load_csv(path) == [{"a": "x,y", "b": "0.333333"}, {"a": "True", "b": "2"}]


def test_csv_refuses_a_column_that_was_not_announced(path):
    with pytest.raises(ValueError, match="c"):
        artifacts.save_csv(path, [{"a": 1, "c": 2}], ["a"])
    assert files(path.parent) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_not_finite(path, value):
    with pytest.raises(ValueError):
        artifacts.save_json(path, {"a": value})
    assert not path.exists()


@pytest.mark.parametrize("text", ["[1]", "null", "3", '"text"'])
def test_json_that_is_no_object_is_refused(path, text):
    artifacts.save_text(path, text)
    with pytest.raises(ArtifactError, match=r"mine/file holds a .*, not an object .* run"):
        artifacts.load_json(path)


def test_json_comes_back(path):
    artifacts.save_json(path, {"b": [1, 2.5, None], "a": "é"})
    assert artifacts.load_json(path) == {"b": [1, 2.5, None], "a": "é"}
    assert path.read_text().endswith("}\n")


def test_sha256_is_that_of_the_bytes(path):
    artifacts.save_text(path, "abc")
    assert artifacts.sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


# a damaged file is never taken for a whole one


def test_a_file_cut_anywhere_is_refused(path, saved):
    for length in range(len(saved)):
        path.write_bytes(saved[:length])
        with pytest.raises(ArtifactError, match=r"mine/file (is damaged|does not match).*delete it and run the step"):
            artifacts.load_tensors(path)


def altered(raw: bytes, positions: range):
    """Yield the bytes with one bit flipped, at every position: the lowest, and that of a letter's case."""
    for i in positions:
        for bit in (0x01, 0x20):
            yield raw[:i] + bytes([raw[i] ^ bit]) + raw[i + 1 :]


def test_a_byte_altered_anywhere_is_noticed(path, saved):
    for raw in altered(saved, range(len(saved))):
        path.write_bytes(raw)
        with pytest.raises(ArtifactError, match="mine/file"):
            artifacts.load_tensors(path)


def test_bytes_behind_the_end_are_noticed(path, saved):
    path.write_bytes(saved + b"\0")
    with pytest.raises(ArtifactError):
        artifacts.load_tensors(path)


@pytest.mark.parametrize("header", [None, {"format": "pt"}, {"sha256": "0" * 64, "meta": "{}"}])
def test_a_file_of_someone_else_is_refused(path, header):
    path.parent.mkdir(parents=True)
    save_file(TENSORS, path, header)
    with pytest.raises(ArtifactError, match="does not match its own digest"):
        artifacts.load_tensors(path)


@pytest.mark.parametrize("text", ["", '{"a": 1', "PK\x03\x04", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 9999])
def test_a_file_that_is_no_json_is_refused(path, text):
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ArtifactError, match="mine/file is not valid JSON .*delete it and run"):
        artifacts.load_json(path)


LOADERS = (artifacts.load_tensors, artifacts.load_json, artifacts.load_csv)


@pytest.mark.parametrize("load", LOADERS)
def test_what_is_no_file_is_named_and_not_damaged(path, load):
    path.parent.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="^results/mine/file is missing; run the step that makes it$"):
        load(path)
    path.symlink_to(path.name)
    with pytest.raises(ArtifactError, match="^results/mine/file cannot be read: .*; delete it and run"):
        load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ArtifactError, match="^results/mine/file is a folder; delete it and run"):
        load(path)


@pytest.mark.parametrize("load", LOADERS[1:])
def test_text_in_another_encoding_is_refused_with_its_line(path, load):
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"a": 1}\n{"b": "caf\xe9"}\n')
    with pytest.raises(ArtifactError, match="mine/file is not UTF-8 text: line 2 has the byte 0xe9; save it as UTF-8"):
        load(path)


def test_a_table_with_bytes_of_zero_is_refused(path):
    artifacts.save_text(path, "a,b\n1,\0\0\n")
    with pytest.raises(ArtifactError, match="bytes of zero.*delete it"):
        artifacts.load_csv(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no CSV file"),
        ("a,b\n1\n", "row 2 has 1 values for 2 columns"),
        ("a,a\n1,2\n", "column 'a' twice"),
        ('a,b\n"1,2\n', "is no CSV file"),
        (f"a\n{'x' * 200_000}\n", "is no CSV file"),
    ],
)
def test_a_table_without_one_value_a_column_is_refused(path, text, problem):
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ArtifactError, match=f"mine/file .*{problem}.*; delete it"):
        artifacts.load_csv(path)


def test_every_shipped_table_has_its_digest_and_is_read_only_as_it_was_shipped(tmp_path, monkeypatch):
    shutil.copytree(paths.DATA / "paper", tmp_path / "data/paper")
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    tables = sorted((tmp_path / "data/paper").glob("*.csv"))
    assert len(tables) == 42 and all(artifacts.load_csv(table) for table in tables)
    whole = tables[0].read_text()
    for changed in (whole[:-20], "", whole.replace("70.1", "71.0"), "<html></html>"):
        tables[0].write_text(changed)
        with pytest.raises(ArtifactError, match="ablation.csv has sha256 .*, expected .*git checkout"):
            artifacts.load_csv(tables[0])
    (tmp_path / "data/paper/more.csv").write_text(whole)
    with pytest.raises(ArtifactError, match="more.csv .*expected none, it is not listed"):
        artifacts.load_csv(tmp_path / "data/paper/more.csv")
    (tmp_path / "data/paper/SHA256SUMS").unlink()
    with pytest.raises(FileNotFoundError, match="SHA256SUMS is missing; restore it with: git checkout"):
        artifacts.load_csv(tables[1])


def test_a_checkpoint_of_other_images_is_refused():
    artifacts.check_origin({"data": "ab"}, "ab", "generator")
    for meta in ({"data": "cd"}, {}):
        with pytest.raises(ArtifactError, match="this generator was trained on other images .*TRAIN = True"):
            artifacts.check_origin(meta, "ab", "generator")


# a write that fails leaves what was there, and nothing else


@every_writer
def test_a_write_replaces_the_old_file_and_leaves_nothing_else(path, write):
    artifacts.save_text(path, "old")
    write(path)
    assert path.read_bytes() != b"old"
    assert files(path.parent) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_the_old_file(path, error):
    artifacts.save_text(path, "old")
    with pytest.raises(error), artifacts.atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert files(path.parent) == ["file"]


def write_forever(path: Path, started) -> None:
    with artifacts.atomic(path) as temporary:
        temporary.write_text("half of the n")
        started.set()
        multiprocessing.Event().wait()


def test_what_a_killed_write_leaves_is_removed_by_the_next_but_not_while_it_is_at_work(path):
    artifacts.save_text(path, "old")
    context = multiprocessing.get_context("fork")
    started = context.Event()
    writer = context.Process(target=write_forever, args=(path, started), daemon=True)
    writer.start()
    assert started.wait(60)
    artifacts.save_text(path, "newer")
    (left,) = [name for name in files(path.parent) if name.endswith(".tmp")]
    assert left.startswith(".file.")
    writer.kill()
    writer.join()
    artifacts.save_text(path.with_name("other"), "another file's writer does not mind it")
    assert files(path.parent) == [left, "file", "other"] and path.read_text() == "newer"
    artifacts.save_text(path, "newest")
    assert files(path.parent) == ["file", "other"] and path.read_text() == "newest"


ADVICE = {
    errno.EROFS: "file system is read-only; choose another with the environment variable SEGA_RESULTS",
    errno.EACCES: "not writable; choose another with the environment variable SEGA_RESULTS",
    errno.EPERM: "not writable; choose another with the environment variable SEGA_RESULTS",
    errno.ENOSPC: "disk is full; free some space and run the same command again",
    errno.EIO: "disk fails; look at it",
    errno.EDQUOT: "quota is used up; free some space and run the same command again",
}


@every_writer
@pytest.mark.parametrize("moment", ["mkdir", "write", "fsync", "replace"])
@pytest.mark.parametrize("code", ADVICE, ids=errno.errorcode.get)
def test_a_refusing_file_system_is_explained_and_nothing_is_half_written(path, monkeypatch, write, moment, code):
    artifacts.save_text(path, "old")

    def refuse(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    def open_and_refuse(name, mode="r", *args, **kwargs):
        if mode in {"r", "xb"}:  # reading, or claiming the name that is to be written to
            return open(name, mode, *args, **kwargs)
        Path(name).touch()
        refuse()

    with monkeypatch.context() as broken, pytest.raises(OSError, match=ADVICE[code]) as caught:
        if moment == "mkdir":
            broken.setattr(Path, "mkdir", refuse)
        elif moment == "write":
            broken.setattr(artifacts, "open", open_and_refuse, raising=False)
            broken.setattr(Path, "open", lambda self, *args, **kwargs: open_and_refuse(self, *args, **kwargs))
            broken.setattr(Path, "write_text", lambda self, *args, **kwargs: open_and_refuse(self, "w"))
        else:
            broken.setattr(os, moment, refuse)
        write(path)
    assert caught.value.errno == code
    assert "results/mine/file" in str(caught.value)
    assert path.read_text() == "old"
    assert files(path.parent) == ["file"]


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """Mount a real file system of 64 KiB and make it the results folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    monkeypatch.setenv("SEGA_RESULTS", str(folder))
    yield folder
    subprocess.run(["umount", folder], check=True)


@every_writer
def test_a_disk_that_is_really_full(disk, write):
    artifacts.save_text(disk / "file", "old")
    with pytest.raises(OSError, match="cannot write results/file: the disk is full"):
        write(disk / "file")
    assert (disk / "file").read_text() == "old"
    assert files(disk) == ["file"]


@every_writer
def test_a_file_system_that_is_really_read_only(disk, write):
    artifacts.save_text(disk / "file", "old")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for path in (disk / "file", disk / "new/file"):
        with pytest.raises(OSError, match="the file system is read-only; choose another"):
            write(path)
    assert files(disk) == ["file"]


def test_a_folder_of_the_system_is_no_folder_of_results(monkeypatch):
    monkeypatch.setenv("SEGA_RESULTS", "/proc/x")
    with pytest.raises(PermissionError, match="cannot write results/a.json: .*SEGA_RESULTS"):
        artifacts.save_json(paths.results_root() / "a.json", {})


def test_tensors_whose_digest_is_known_are_not_read_to_check_them_again(tmp_path):
    path = tmp_path / "x.safetensors"
    digest = artifacts.save_tensors(path, {"x": torch.zeros(100)})
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + b"\x01")
    assert artifacts.load_tensors(path, known=digest)[0]["x"][:99].sum() == 0
    for known in ("", "0" * 64):
        with pytest.raises(artifacts.ArtifactError, match="does not match its own digest"):
            artifacts.load_tensors(path, known=known)
