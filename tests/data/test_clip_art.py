from collections import Counter

from sega_utils.core import artifacts, paths

FOLDER = paths.DATA / "clip-art"


def test_the_embedded_clip_art_is_whole_small_and_says_who_made_each_picture():
    sums = dict(reversed(line.split("  ")) for line in (FOLDER / "SHA256SUMS").read_text().splitlines())
    pictures = {file.relative_to(FOLDER).as_posix(): file for file in FOLDER.rglob("*.png")}
    assert set(sums) == {*pictures, "AUTHORS.csv"}
    assert all(artifacts.sha256(FOLDER / name) == digest for name, digest in sums.items())
    assert sum(file.stat().st_size for file in pictures.values()) < 4e6
    rows = artifacts.load_csv(FOLDER / "AUTHORS.csv")
    assert sorted(row["file"] for row in rows) == sorted(pictures)
    assert all(row["licence"].startswith("public domain") and row["source"].endswith(".png") for row in rows)
    counts = Counter(name.rsplit("/", 1)[0] for name in pictures)
    assert len(counts) == 24 and {n for name, n in counts.items() if name.startswith("train/")} == {30}
