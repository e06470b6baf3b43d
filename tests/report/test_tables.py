import csv

import numpy as np
import pytest
import scipy.stats
from fake_run import ACCURACY, DATASET, RUN, change, remove, write_run

from sega_utils import filters
from sega_utils.__main__ import main
from sega_utils.core import artifacts, paths, records
from sega_utils.evaluation import classified
from sega_utils.report import poster, tables
from sega_utils.text import attributes
from sega_utils.training import recipes

COLUMNS = {
    "accuracy": ["arm", "classifier", "fraction", "mean", "std", "n", "diff_to_std_aug", "ci_low", "ci_high"],
    "settled": ["question", "method", "beside", "points", "over", "says", "chapter"],
    "subsets": ["arm", "difference", "ci_low", "ci_high", "subsets", "each"],
    "alignment": ["stage", "median", "iqr", "n"],
    "steering": ["attribute", "effect", "ci_low", "ci_high", "n"],
    "filters": ["filter", "candidates", "rejected"],
    "corruptions": ["arm", "corruption", "severity", "seed", "accuracy"],
    "shift": ["arm", "shift", "mean", "std", "n"],
    "attacks": ["arm", "attack", "norm", "epsilon", "seed", "accuracy", "n"],
    "ablation": ["name", "arm", "value", "mean", "std", "n", "diff", "ci_low", "ci_high"],
    "efficiency": [
        "variant",
        "seconds_per_image",
        "seconds_per_kept_image",
        "peak_memory_gb",
        "params_millions",
        "frechet",
        "features",
        "precision",
        "recall",
        "agreement",
        "nas",
        "cas",
        "fid",
        "kid",
    ],
    "kernels": [
        "kernel",
        "library",
        "images",
        "seconds_ours",
        "seconds_theirs",
        "ratio",
        "ours_q1",
        "ours_q3",
        "theirs_q1",
        "theirs_q3",
        "difference",
    ],
    "scale": [
        "candidates",
        "device",
        "survivors",
        "kept",
        "drawing_hours",
        "machines_for_a_day",
        "search_exponent",
        "merging_hours",
        "shard_memory_gb",
        "merge_memory_gb",
        "disk_gb",
    ],
    "claims": ["claim", "published", "measured", "verdict", "why"],
}


@pytest.fixture
def run():
    write_run()


def test_the_files_have_the_names_and_columns_that_others_read(run, results):
    written = tables.write_tables(RUN, DATASET)
    assert written == {name: results / RUN / DATASET / "tables" / f"{name}.csv" for name in COLUMNS}
    for name, columns in COLUMNS.items():
        with open(written[name], newline="") as handle:
            assert next(csv.reader(handle)) == columns


def test_accuracy_is_in_percent_paired_by_seed_and_in_the_order_of_the_arms(run):
    rows = artifacts.load_csv(tables.write_tables(RUN, DATASET)["accuracy"])
    assert [row["arm"] for row in rows] == [arm for arm in recipes.ARMS if arm in ACCURACY]
    for row in rows:
        ours, theirs = (100 * np.array(ACCURACY[arm]) for arm in (row["arm"], "Std Aug"))
        assert float(row["mean"]) == pytest.approx(ours.mean(), rel=1e-5)
        assert float(row["std"]) == pytest.approx(ours.std(ddof=1), rel=1e-5)
        assert (row["n"], row["fraction"], row["classifier"]) == ("3", "0.01", recipes.SETTINGS["classifier"])
        received = [row[key] for key in ("diff_to_std_aug", "ci_low", "ci_high")]
        if row["arm"] == "Std Aug":
            assert received == ["", "", ""]
        else:
            interval = scipy.stats.ttest_rel(ours, theirs).confidence_interval(0.95)
            expected = [(ours - theirs).mean(), interval.low, interval.high]
            assert [float(value) for value in received] == pytest.approx(expected, rel=1e-5)


def test_the_other_tables_repeat_their_records(run):
    written = tables.write_tables(RUN, DATASET)
    assert artifacts.load_csv(written["alignment"]) == [
        {"stage": "Pre-filter", "median": "0.5", "iqr": "0.25", "n": "4000"},
        {"stage": "Post-filter", "median": "0.75", "iqr": "0.125", "n": "1500"},
    ]
    rejected = artifacts.load_csv(written["filters"])
    assert [row["filter"] for row in rejected] == list(filters.FILTERS)
    assert {row["candidates"] for row in rejected} == {"4000"}
    assert sum(int(row["rejected"]) for row in rejected) == 4000 - 1500 - 1000  # 100 + 200 + .. + 500
    steering = artifacts.load_csv(written["steering"])
    assert [row["attribute"] for row in steering] == list(attributes.WORDS)
    assert steering[1] == {"attribute": "width", "effect": "2.25", "ci_low": "2.125", "ci_high": "2.5", "n": "101"}


def test_writing_twice_gives_the_same_bytes(run):
    first = {name: path.read_bytes() for name, path in tables.write_tables(RUN, DATASET).items()}
    assert {name: path.read_bytes() for name, path in tables.write_tables(RUN, DATASET).items()} == first


def test_a_missing_record_removes_its_rows_and_invents_none(run):
    remove("training", "no-aug-*")
    remove("synthesis")
    (projector,) = records.read(RUN, DATASET, "projector")
    effects = [row for row in projector["effects"]["prompts"] if row["attribute"] != "fill"]
    change("projector", "projector", effects={"prompts": effects})
    written = {name: artifacts.load_csv(path) for name, path in tables.write_tables(RUN, DATASET).items()}
    assert [row["arm"] for row in written["accuracy"]] == ["Std Aug", "GAN-only", "SEGA-Net"]
    assert written["alignment"] == written["filters"] == []
    assert [row["attribute"] for row in written["steering"]] == ["brightness", "width", "length", "texture"]


def test_without_std_aug_there_is_no_difference(run):
    remove("training", "std-aug-*")
    rows = classified.accuracy_rows(RUN, DATASET)
    assert [row["arm"] for row in rows] == ["No Aug", "GAN-only", "SEGA-Net"]
    assert {row[key] for row in rows for key in ("diff_to_std_aug", "ci_low", "ci_high")} == {""}


def test_a_single_seed_has_neither_spread_nor_interval():
    write_run({"Std Aug": (0.81,), "SEGA-Net": (0.84,)})
    rows = classified.accuracy_rows(RUN, DATASET)
    assert [row["mean"] for row in rows] == pytest.approx([81, 84]) and [row["n"] for row in rows] == [1, 1]
    assert {row[key] for row in rows for key in ("std", "diff_to_std_aug", "ci_low", "ci_high")} == {""}
    assert "84.00 " in tables.accuracy_text(RUN, DATASET)


@pytest.mark.parametrize("lacking", ["sega-net-seed1", "std-aug-seed2"])
def test_a_missing_seed_is_an_error_and_no_table_is_written(run, lacking):
    remove("training", lacking)
    with pytest.raises(ValueError, match="beside Std Aug.*the same seeds.*run the missing ones with 05_training"):
        tables.write_tables(RUN, DATASET)
    assert not paths.artifact(RUN, DATASET, "tables").exists()


def test_records_of_mixed_settings_are_an_error_and_no_table_is_written(run):
    change("training", "sega-net-seed1", param_steps=500)
    with pytest.raises(artifacts.ArtifactError, match="param_steps"):
        tables.write_tables(RUN, DATASET)
    assert not paths.artifact(RUN, DATASET, "tables").exists()


def test_the_text_says_how_many_how_long_on_what_and_where(run, results, capsys):
    assert main(["tables", "--run", RUN, "--dataset", DATASET]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[4].split() == ["SEGA-Net", "84.25", "±", "0.25", "+2.75", "[+2.13,", "+3.37]", "3", "2.50"]
    assert len({line.index("±") for line in lines[1:5]}) == 1, "columns must be aligned"
    for part in (
        "600 training images (0.01 of the published set)",
        "10,000 test images",
        "12 classifiers in 30 seconds",
        "CPU",
        "results/fake/fashion-mnist/notebooks",
        "results/fake/fashion-mnist/report.html",
    ):
        assert part in text
    assert str(results) not in text


def test_the_text_names_every_device(run):
    change("training", "sega-net-seed1", device="another GPU")
    text = tables.accuracy_text(RUN, DATASET)
    assert "another GPU" in text and "CPU, 1 threads" in text


def test_the_command_says_what_is_missing_or_wrong(capsys):
    assert main(["tables", "--run", "none"]) == 1
    assert "results/none/fashion-mnist/records/training holds no records; make them with: make run" in (
        capsys.readouterr().err
    )
    assert main(["tables", "--run", "../up"]) == 1
    assert "must be the name of one folder" in capsys.readouterr().err


ANSWER, RESULTS = (f"{begin}\nold | text\n{end}\n" for begin, end in tables.MARKERS.values())


def test_the_readme_gets_answer_and_tables_between_their_markers(run, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{ANSWER}\nBetween.\n\n{RESULTS}\nThe rest | stays.\n", encoding="utf-8")
    tables.update_readme(RUN, DATASET, readme)
    text = readme.read_text(encoding="utf-8")
    (begin, end), (first, last) = tables.MARKERS.values()
    assert text.startswith(f"# Title\n\n{begin}\n**Do synthetic images help")
    assert f"\n{first}\nBeside Std Aug, SEGA-Net has +2.75 [+2.13, +3.37] points (3 seeds, " in text
    assert "yet.** Of 0 primary comparisons, " in text
    assert f"; 14 are not measured yet. {tables.PRIMARIES}\n\n| question |" in text
    assert f" |\n{end}\n\nBetween.\n" in text
    assert (
        "Beside GAN-only, it has +2.42 [" in text
        and "7 cannot be compared.\n\n| arm | accuracy (%), 10,000 test" in text
    )
    assert text.endswith(f"\n{last}\n\nThe rest | stays.\n") and "old" not in text
    assert "\n| SEGA-Net | 84.25 ± 0.25 | +2.75 [+2.13, +3.37] | 3 | 2.50 |\n" in text
    for part in (
        "600 training images (0.01 of the published set)",
        "10,000 test images",
        "12 classifiers in 30 seconds",
        "CPU",
    ):
        assert part in text
    tables.update_readme(RUN, DATASET, readme)
    assert readme.read_text(encoding="utf-8") == text, "a second time changes nothing"


@pytest.mark.parametrize(
    "text",
    [
        *("none", ANSWER, RESULTS, *tables.MARKERS["results"]),
        ANSWER + "".join(reversed(tables.MARKERS["results"])),
        ANSWER + RESULTS + tables.MARKERS["answer"][0],
    ],
)
def test_a_readme_without_its_markers_is_left_alone(run, tmp_path, text):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ValueError, match="once each; put them back"):
        tables.update_readme(RUN, DATASET, readme)
    assert readme.read_text() == text and list(tmp_path.glob(".README*")) == []


def test_the_readme_of_the_project_shows_what_its_committed_records_give(tmp_path):
    shown = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    readme = tmp_path / "README.md"
    readme.write_text(shown, encoding="utf-8")
    tables.update_readme("reference/embedded", "fashion-mnist", readme)
    assert readme.read_text(encoding="utf-8") == shown, "run: python -m sega_utils tables --readme"


def test_the_poster_stands_beside_our_records(run):
    rows = {
        row["row"]: row
        for row in tables.beside_poster(RUN, DATASET)
        if row["table"] in {poster.CLEAN, poster.ALIGNMENT}
    }
    assert all(tuple(row) == poster.BESIDE for row in rows.values())
    assert list(rows) == [
        "No Aug",
        "Std Aug",
        "GAN-only",
        "Stable Diffusion",
        "SEGA-Net",
        "SEGA-Net minus Std Aug",
        "Pre-filter",
        "Post-filter",
    ]
    assert (rows["SEGA-Net"]["poster"], rows["SEGA-Net"]["ours"]) == ("96.5 ± 0.2", "84.25 ± 0.25 (n = 3)")
    differs = rows["SEGA-Net"]["what differs"]
    for part in ("1 % of the training images", recipes.SETTINGS["classifier"], "1,000 steps", "ablation has 90.6"):
        assert part in differs
    assert "ablation" not in rows["Std Aug"]["what differs"], "the poster gives it only once"
    gain = rows["SEGA-Net minus Std Aug"]
    assert (gain["poster"], gain["ours"]) == ("+3.3", "+2.75 [+2.13, +3.37]")
    assert (rows["Post-filter"]["poster"], rows["Post-filter"]["ours"]) == ("0.75 / 0.11", "0.75 / 0.12 (n = 1,500)")
    assert "fashion-mnist-clip.safetensors (our stand-in)" in rows["Pre-filter"]["what differs"]
    assert (rows["Stable Diffusion"]["ours"], rows["Stable Diffusion"]["what differs"]) == ("not measured", "")


def test_what_differs_follows_the_records(run):
    remove("training")
    write_run({"SEGA-Net": (0.9, 0.91)}, classifier="resnet20", steps=7000)
    rows = {
        row["row"]: row
        for row in tables.beside_poster(RUN, DATASET)
        if row["table"] in {poster.CLEAN, poster.ALIGNMENT}
    }
    assert "resnet20" in rows["SEGA-Net"]["what differs"] and "7,000 steps" in rows["SEGA-Net"]["what differs"]
    assert rows["Std Aug"]["ours"] == rows["SEGA-Net minus Std Aug"]["ours"] == "not measured"


def test_a_data_set_that_the_poster_lacks_has_no_rows():
    assert (
        poster.beside(
            "mnist", {"training": [], "clip": []}, dict.fromkeys(("accuracy", "alignment", "shift", "ablation"), [])
        )
        == []
    )


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("datasets", 5),
        ("clean_accuracy", 25),
        ("domain_shift", 15),
        ("adversarial", 15),
        ("semantic_alignment", 10),
        ("efficiency", 5),
        ("ablation", 30),
    ],
)
def test_the_published_numbers_are_complete(table, rows):
    found = artifacts.load_csv(paths.DATA / "paper" / f"{table}.csv")
    assert len(found) == rows and all(value for row in found for value in row.values())


def test_what_is_kept_stands_beside_what_is_drawn():
    row = {"attribute": "brightness", "effect": 2.0, "ci_low": 1.5, "ci_high": 2.5, "n": 1200}
    other = row | {"attribute": "width"}
    shown = tables.drawn_and_kept({"drawn": [row, other], "kept": [row | {"effect": 1.75, "n": 800}]})
    assert shown[0] == {
        "attribute": "brightness",
        "drawn": "+2.00 [+1.50, +2.50] (n = 1,200)",
        "kept": "+1.75 [+1.50, +2.50] (n = 800)",
    }
    assert shown[1]["kept"] == ""


def test_images_of_ones_own_have_no_claims_of_the_poster():
    assert tables.claimed(RUN, "folder:somewhere") == []
