"""Every notebook, at sizes that say nothing: on a folder of one's own images, three of scikit-learn's digits, and on
images of 64 pixels, in files as Tiny-ImageNet's are."""

import shutil

import pytest
import yaml
from published_files import tiny_imagenet

from sega_utils.core import artifacts, parameters, paths, records, runtime
from sega_utils.data import folders
from sega_utils.evaluation import masking
from sega_utils.studies import benchmark
from sega_utils.training import attacks

KEPT = 40  # images of each digit
ARMS, SEEDS = ["Std Aug", "SEGA-Net"], [0, 1]
BRIEF = {"classifier": "resnet8-half", "steps": 30, "batch_size": 16}
# an untrained generator draws nothing that a filter on looks would keep
SIZES = {
    "00_data": {"FRACTION": 1.0},
    "01_clip": {"TRAIN": True, "STEPS": 3},
    "01_prompts": {},
    "02_generator": {"TRAIN": True, "STEPS": 2, "WIDTH": 16, "N_EVAL": 100},
    "03_projector": {"STEPS": 2, "N_EVAL": 100},
    "04_synthesis": {"OVERSAMPLE": 4, "AMOUNT": 1.0, "FILTERS": ["duplicate"], "MAX_DISTANCE": 0, "MIN_SSIM": 1.0},
    "05_training": {"ARMS": ARMS, "SEEDS": SEEDS},
    "06_shift": {"ARMS": ARMS, "SEEDS": SEEDS, "N_TEST": 12, "CORRUPTIONS": ["fog"]},
    "07_adversarial": {
        "ARMS": ARMS,
        "SEEDS": [0],
        "EPSILONS": [0.0, 8.0],
        "N_TEST": 12,
        "AUTOATTACK_EPSILONS": [64.0],
        "N_AUTOATTACK": 12,
    },
    "08_ablations": {},
    "09_efficiency": {
        "TRAIN": True,
        "STEPS": 2,
        "SAMPLING_STEPS": 2,
        "N_IMAGES": 60,
        "KERNEL_IMAGES": [20],
        "REPEATS": 1,
        "CANDIDATES": [30, 60],
        "SCORE_STEPS": 4,
    },
    "14_report": {},
}


@pytest.fixture
def folder(tmp_path):
    """Write three digits only, with their names, descriptions and recorded prompts."""
    folder = tmp_path / "my digits"
    folders.write_digits(folder)
    for name in map(str, range(3, 10)):
        shutil.rmtree(folder / name)
    for name in map(str, range(3)):
        for file in sorted((folder / name).iterdir())[KEPT:]:
            file.unlink()
    about = yaml.safe_load((folder / "classes.yaml").read_text())
    about["classes"] = {name: entry for name, entry in about["classes"].items() if name in {"0", "1", "2"}}
    (folder / "classes.yaml").write_text(yaml.safe_dump(about))
    return folder


def execute(name: str, given: dict) -> None:
    """Run a notebook's cells here, so that what is patched stays patched and nothing is imported twice."""
    notebook = paths.NOTEBOOKS / f"{name}.ipynb"
    given, scope = parameters.check(given, parameters.read(notebook)), {}
    for cell in artifacts.load_json(notebook)["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), name, "exec"), scope)
            scope |= given if "parameters" in cell["metadata"].get("tags", []) else {}


@pytest.fixture
def run_on(results, tmp_path, monkeypatch):
    """Return a function that runs every notebook on a data set and returns the folder of its results."""
    monkeypatch.setattr(runtime, "map_workers", lambda function, jobs, **_: [function(*job) for job in jobs])
    # of a dozen images, two that withstand one step and many alike already look masked; test_masking has the check
    monkeypatch.setattr(masking, "refuse", lambda *_, **__: None)
    once = benchmark.timed  # how long a kernel takes is no matter here
    monkeypatch.setattr(benchmark, "timed", lambda side, least: once(side))
    tuned = tmp_path / "arms.yaml"
    tuned.write_text(yaml.safe_dump({arm: BRIEF for arm in ARMS}))

    def run(dataset, **changed):
        for name, sizes in SIZES.items():
            given = {"RUN": "mine", "DATASET": dataset} | sizes | changed.get(name[3:], {})
            execute(name, given | ({"TUNED": str(tuned)} if name == "05_training" else {}))
        return results / "mine" / paths.results_name(dataset)

    return run


def test_the_whole_pipeline_runs_on_images_of_64_pixels(run_on, publish):
    tiny_imagenet(publish, names=("goldfish", "tabby", "school bus"), each=16)
    # the CLIP that is trained here knows few words: its prompts of a class are too much alike for three clusters
    written = run_on("tiny-imagenet-64", prompts={"M": 1})
    assert "did synthetic images help?" in (written / "report.html").read_text(encoding="utf-8")
    for file, name in (("real", "images"), ("candidates", "images"), ("synthetic", "images"), ("corrupted", "fog_5")):
        tensors, _ = artifacts.load_tensors(written / paths.ARTIFACTS[file][0])
        assert tensors[name].shape[1:] == (3, 64, 64), file
    assert len(records.read("mine", "tiny-imagenet-64", "training")) == len(ARMS) * len(SEEDS)


def test_the_whole_pipeline_runs_on_own_images(run_on, folder):
    where = {"RUN": "mine", "DATASET": f"folder:{folder}"}
    written = run_on(where["DATASET"])
    assert "did synthetic images help?" in (written / "report.html").read_text(encoding="utf-8")
    stages = {folder.name for folder in (written / "records").iterdir()}
    assert stages == {
        "data",
        "clip",
        "prompts",
        "generator",
        "projector",
        "synthesis",
        "training",
        "shift",
        "attacks",
        "ablation",
        "efficiency",
    }
    trained = records.read(*where.values(), "training")
    assert {(r["param_arm"], r["param_seed"]) for r in trained} == {(arm, seed) for arm in ARMS for seed in SEEDS}
    assert {(r["n_real"], r["n_test"]) for r in trained} == {(3 * KEPT * 4 // 5, 3 * KEPT // 5)}
    assert {row["attack"] for row in artifacts.load_csv(written / "tables" / "attacks.csv")} == set(attacks.ATTACKS)
    rows = artifacts.load_csv(written / "tables" / "shift.csv")
    assert {row["shift"] for row in rows} == {"clean", "mean corruption"}  # nobody knows to what these images shift
    assert {row["class"] for row in artifacts.load_csv(written / "synthetic.csv")} == {"zero", "one", "two"}
