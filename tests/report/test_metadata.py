import json
import re

import pytest
import torch

from sega_utils import __main__ as commands
from sega_utils.core import artifacts, numbers, paths, records
from sega_utils.report import appendix, cards, croissant, dependencies, harm, metadata
from sega_utils.report.claims import claimed_by
from sega_utils.studies import harm as study
from sega_utils.studies.entries import Entry

ADVICE = "run: python -m sega_utils metadata"


def test_the_documents_are_what_the_records_give():
    texts = metadata.documents(*metadata.PUBLISHED)
    for name, text in texts.items():
        assert (paths.ROOT / name).read_text(encoding="utf-8") == text, f"{name} is out of date; {ADVICE}"
    shown = texts["data/models/README.md"]
    for file in sorted((paths.DATA / "models").glob("*.safetensors")):
        _, meta = artifacts.load_tensors(file)
        own = shown.partition(f"## {file.stem}\n")[2].partition("\n## ")[0]
        assert meta["sha256"] in own and f"| steps | {meta['steps']:,}, seed {meta['seed']} |" in own
        assert meta["data"] in shown and "Not measured" not in own, f"no record is of {file.name}; {ADVICE}"


def test_a_card_of_another_network_says_that_it_was_not_measured(monkeypatch):
    """Records of a checkpoint that was since trained anew are not shown as the new one's."""
    read = records.read
    forget = lambda record: {k: v for k, v in record.items() if k != "input_generator"}
    monkeypatch.setattr(records, "read", lambda *where: [forget(record) for record in read(*where)])
    text = cards.page(*metadata.PUBLISHED)
    assert "Not measured by this run." in text.partition("-generator\n")[2]


def test_an_unknown_kind_of_checkpoint_is_named():
    with pytest.raises(ValueError, match="is a 'vae', which has no card; known are clip, generator, diffusion"):
        cards.card(paths.DATA / "models" / "fashion-mnist-vae.safetensors", *metadata.PUBLISHED)


def test_tolerances_stand_beside_their_claims_and_others_apart():
    claims = [row["claim"] for row in claimed_by()]
    rows = [
        {"claim": claims[0], "value": 2.0, "tolerance": "1 point"},
        {"claim": "accuracy of SEGA-Net", "value": 84.0, "tolerance": "0.5 points"},
    ]
    text = appendix.page(*metadata.PUBLISHED, rows)
    assert text.count("| 1 point |") == 1 and "| accuracy of SEGA-Net | 84.00 | 0.5 points |" in text
    assert text.count(f"| {appendix.SAME} |") == len(claims) - 1


def test_licences_are_those_of_the_installed_packages():
    rows = re.findall(r"^\| (\S+) \| (.+) \|$", (paths.ROOT / metadata.LICENCES).read_text(), re.MULTILINE)[2:]
    assert [name for name, _ in rows] == re.findall(r"^\| (\S+) \|", dependencies.page(), re.MULTILINE)[2:]
    found = {name: dependencies.installed(name) for name, _ in rows}
    wrong = {name: said for name, said in rows if found[name] and said != found[name].replace("|", r"\|")}
    assert sum(map(bool, found.values())) > 100 and not wrong, ADVICE


def test_a_package_that_is_not_installed_keeps_its_line(monkeypatch):
    monkeypatch.setattr(dependencies, "installed", lambda name: "")
    text = dependencies.page("| torch | BSD-3 |\n")
    assert "| torch | BSD-3 |" in text and f"| numpy | {dependencies.ELSEWHERE} |" in text


@pytest.fixture
def synthetic():
    """Write a tiny synthetic set of the run ``tiny``."""
    place = lambda name: paths.artifact("tiny", "fashion-mnist", name)
    images = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    artifacts.save_tensors(place("synthetic"), {"images": images}, {"n_syn": 2})
    row = {"candidate": 0, "class": "bag", "prompt": 'a "wide", open bag', "selected": True, "clip_score": 0.5}
    artifacts.save_csv(place("provenance"), [row, row | {"candidate": 1, "clip_score": -1e-3}], row)
    return place("records").parent / "croissant.json"


def test_a_run_gets_the_metadata_of_its_synthetic_set_and_leaves_the_documents(synthetic, capsys):
    assert commands.main(["metadata", "--run", "tiny"]) == 0
    assert capsys.readouterr().out == "wrote results/tiny/fashion-mnist/croissant.json\n"
    found = json.loads(synthetic.read_text())
    digests = {file["name"]: file["sha256"] for file in found["distribution"]}
    assert digests == {name: artifacts.sha256(synthetic.parent / name) for name in digests}
    kinds = {field["name"]: field["dataType"] for field in found["recordSet"][0]["field"]}
    assert kinds["candidate"] == "sc:Integer" and kinds["clip_score"] == "sc:Float"
    assert kinds["selected"] == "sc:Boolean" and kinds["prompt"] == "sc:Text"


def test_a_run_without_a_synthetic_set_is_told_which_notebook_makes_it(capsys):
    assert commands.main(["metadata", "--run", "tiny"]) == 1
    assert "04_synthesis.ipynb -p RUN tiny" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", [f"data/{folder}/croissant.json" for folder in ("fashion-mnist", "mnist-5000", "prompts")]
)
def test_the_files_that_croissant_lists_are_there_with_these_digests(name):
    found = json.loads((paths.ROOT / name).read_text(encoding="utf-8"))
    folder = (paths.ROOT / name).parent
    assert found["conformsTo"] == "http://mlcommons.org/croissant/1.1" and found["distribution"]
    for file in found["distribution"]:
        assert file["sha256"] == artifacts.sha256(folder / file["contentUrl"])
        assert file["contentSize"] == f"{(folder / file['contentUrl']).stat().st_size} B"


def test_croissant_is_valid_and_its_records_can_be_read(synthetic):
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    commands.main(["metadata", "--run", "tiny"])
    first = {}
    for file in (paths.DATA / "fashion-mnist", paths.DATA / "prompts", synthetic.parent):
        dataset = mlcroissant.Dataset(jsonld=str(file / "croissant.json"))  # raises what is wrong
        first |= {part.id: next(iter(dataset.records(part.id))) for part in dataset.metadata.record_sets}
    assert first["classes"] == {"classes/label": 0, "classes/name": "t-shirt"}
    digits = mlcroissant.Dataset(jsonld=str(paths.DATA / "mnist-5000" / "croissant.json"))
    assert [row["classes/name"] for row in digits.records("classes")][7] == "seven"
    assert len(first["fashion-mnist"]["fashion-mnist/prompts"]) == 12
    assert first["candidates"]["candidates/prompt"] == b'a "wide", open bag'


def records_of(*measured: tuple[str, object, dict[int, float]]) -> list[dict]:
    return [
        {
            "param_ablation": name,
            "param_value": value,
            "param_arm": "SEGA-Net",
            "param_seed": seed,
            "accuracy": accuracy,
        }
        for name, value, scores in measured
        for seed, accuracy in scores.items()
    ]


def test_a_share_is_paired_with_none_by_seed():
    found = records_of(
        ("ratio_replace", 0, {0: 0.80, 1: 0.82, 2: 0.81}),
        ("ratio_replace", 0.5, {0: 0.70, 1: 0.721, 2: 0.711}),
        ("ratio_replace", 0.7, {0: 0.70}),
        ("ratio_add", 0.5, {0: 0.9, 1: 0.9}),
    )
    (row,) = study.replaced(found)
    paired = numbers.paired_difference({0: 70.0, 1: 72.1, 2: 71.1}, {0: 80.0, 1: 82.0, 2: 81.0})
    assert {key: row[key] for key in paired} == pytest.approx(paired)
    assert (row["value"], row["without"]) == (0.5, pytest.approx(81)) and row["difference"] == pytest.approx(
        -9.9333, abs=1e-4
    )
    assert (row["verdict"], row["n"]) == (study.BEHIND, 3)
    assert study.added(found) == [], "the control of more real images is missing"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.1, 1, study.AHEAD), (-1, -0.1, study.BEHIND), (-1, 1, study.UNCLEAR), (0, 1, study.UNCLEAR)],
)
def test_a_verdict_is_the_side_of_zero_that_the_interval_lies_on(low, high, said):
    assert study.verdict({"ci_low": low, "ci_high": high}) == said


def test_each_fraction_is_compared_with_the_arm_of_that_fraction():
    scores = {"SEGA-Net": 0.8, "Std Aug": 0.7}
    found = [
        record | {"param_arm": arm, "accuracy": value + 0.01 * record["param_seed"]}
        for arm, value in scores.items()
        for record in records_of(("fraction", 0.01, {0: 0, 1: 0}), ("fraction", 0.1, {0: 0, 1: 0}))
    ]
    rows = study.fewer(found, "Std Aug")
    assert [row["value"] for row in rows] == [0.01, 0.1] and {round(row["difference"], 6) for row in rows} == {10}
    assert study.beside(found, [(Entry("fraction", 0.1, "SEGA-Net"), Entry("fraction", 0.1, "No Aug"))]) == []


def test_sentences_follow_the_rows():
    row = {"value": 0.5, "difference": -1.0, "ci_low": -2.0, "ci_high": -0.5, "verdict": study.BEHIND}
    unclear = row | {"value": 0.1, "verdict": study.UNCLEAR}
    text = harm.said([row, unclear], harm.share)
    assert text == (
        "*With* is behind at 50 % (-1.00 [-2.00, -0.50]). At 1 of 2 values, the interval contains zero. "
        "At none does the interval show it ahead."
    )
    assert harm.said([], harm.share) == "Not measured yet."


def test_without_ablations_there_is_no_page():
    with pytest.raises(FileNotFoundError, match="make ablations"):
        harm.page("empty", "fashion-mnist")


def test_the_context_is_the_one_of_the_specification():
    pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    from mlcroissant._src.core.context import Context
    from mlcroissant._src.core.rdf import make_context

    assert croissant.CONTEXT == make_context(Context(conforms_to="http://mlcommons.org/croissant/1.1"))
