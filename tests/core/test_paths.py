import re

import pytest

from sega_utils.core import paths


def test_artifacts_live_below_the_results_folder(results):
    assert paths.artifact("embedded", "fashion-mnist", "real") == results / "embedded/fashion-mnist/real.safetensors"


@pytest.mark.parametrize("value", [None, ""])
def test_the_results_folder_is_the_projects_unless_set(monkeypatch, value):
    monkeypatch.delenv("SEGA_RESULTS") if value is None else monkeypatch.setenv("SEGA_RESULTS", value)
    assert paths.results_root() == paths.ROOT / "results"


def test_a_folder_of_ones_own_gets_a_short_safe_name_that_is_its_own(tmp_path):
    inside, outside = paths.results_name("folder:build/My digits"), paths.results_name(f"folder:{tmp_path}/My digits")
    assert re.fullmatch(r"my-digits-[0-9a-f]{8}", inside) and re.fullmatch(r"my-digits-[0-9a-f]{8}", outside)
    assert inside != outside and paths.results_name(inside) == inside
    assert paths.results_name(f"folder:{paths.ROOT}/build/./My digits/") == inside
    assert paths.results_name("folder:x/..") != paths.results_name("folder:x")
    assert paths.artifact("mine", "folder:build/My digits", "real").parent == paths.results_root() / "mine" / inside
    assert paths.results_name("folder:build/üä").startswith("images-")
    assert paths.results_name("cifar-10") == "cifar-10"


def test_the_command_for_a_missing_artifact_quotes_a_folders_path(results):
    with pytest.raises(FileNotFoundError, match="-p DATASET 'folder:build/My digits'"):
        paths.require("mine", "folder:build/My digits", "real")


def test_downloads_are_shown_without_the_machines_path(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGA_DATA", str(tmp_path / "elsewhere"))
    assert paths.shown(paths.downloads() / "svhn/x.mat") == "$SEGA_DATA/svhn/x.mat"
    monkeypatch.delenv("SEGA_DATA")
    assert paths.shown(paths.downloads() / "svhn/x.mat") == "data/downloads/svhn/x.mat"


def test_an_unknown_artifact_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown artifact 'reel'; known are real, clip, .*notebooks"):
        paths.artifact("embedded", "fashion-mnist", "reel")


@pytest.mark.parametrize("run", ["{run}", "paper-0.01@resnet18"])
def test_the_workflow_may_name_its_wildcards_and_a_run_of_the_grid(run, results):
    assert paths.artifact(run, "{dataset}", "real") == results / run / "{dataset}" / "real.safetensors"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\\b", "a b", "a;b", "$a", "a*", "-a", "a{b}"])
def test_a_run_or_data_set_is_one_folders_name(name):
    with pytest.raises(ValueError, match="run is .*must be the name of one folder"):
        paths.artifact(name, "fashion-mnist", "real")
    with pytest.raises(ValueError, match="dataset is .*must be the name of one folder"):
        paths.artifact("embedded", name, "real")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("{run}", "must be the name of one folder: letters, digits"),
        ("../x", "must be the name of one folder"),
        ("/abs", "must be the name of one folder"),
        ("a\0b", "must be the name of one folder"),
        ("a\n", "must be the name of one folder"),
        ("x" * 300, "'xxx.*[.][.][.]'; it must be .* at most 100 characters"),
        ("reference", "is reserved"),
        ("Reference", "is reserved"),
        (10, "run is 10, a int; it must be text: quote it"),
        (1000.0, "a float; it must be text"),
        (None, "a NoneType; it must be text"),
    ],
)
def test_a_runs_name_says_what_is_wrong_with_it(name, problem, results):
    with pytest.raises(ValueError, match=problem) as error:
        paths.run_name(name)
    assert len(str(error.value)) < 250 and not results.exists()


@pytest.mark.parametrize("name", ["embedded", "0012", "1e3", "123", "2024_01_15", "paper-0.01@resnet18", "x" * 100])
def test_a_name_that_looks_like_a_number_is_a_name(name):
    assert paths.run_name(name) == name


def test_a_link_that_leads_to_itself_is_shown_and_missing(results):
    link = paths.artifact("mine", "fashion-mnist", "real")
    link.parent.mkdir(parents=True)
    link.symlink_to(link.name)
    with pytest.raises(FileNotFoundError, match="results/mine/fashion-mnist/real.safetensors is missing; make it with"):
        paths.require("mine", "fashion-mnist", "real")


@pytest.mark.parametrize("name", [name for name, (_, notebook) in paths.ARTIFACTS.items() if notebook])
def test_a_missing_artifact_names_its_file_and_the_command_that_makes_it(results, name):
    file, notebook = paths.ARTIFACTS[name]
    with pytest.raises(FileNotFoundError) as caught:
        paths.require("mine", "fashion-mnist", name)
    message = str(caught.value)
    assert f"results/mine/fashion-mnist/{file} is missing" in message
    assert f"sega_utils.execute notebooks/{notebook}.ipynb -p RUN mine -p DATASET fashion-mnist" in message
    assert (paths.NOTEBOOKS / f"{notebook}.ipynb").exists()
    assert str(results) not in message


def test_an_artifact_that_exists_is_returned(results):
    path = paths.artifact("mine", "fashion-mnist", "real")
    path.parent.mkdir(parents=True)
    path.touch()
    assert paths.require("mine", "fashion-mnist", "real") == path


def test_shown_paths_name_no_machine_and_are_found_again(results):
    inside, tracked = results / "mine/fashion-mnist/clip.json", paths.DATA / "fashion-mnist/SHA256SUMS"
    assert paths.shown(inside) == "results/mine/fashion-mnist/clip.json"
    assert paths.shown(tracked) == "data/fashion-mnist/SHA256SUMS"
    assert [paths.located(paths.shown(path)) for path in (inside, tracked)] == [inside, tracked]


def test_a_path_elsewhere_is_shown_by_its_name_and_located_as_it_is(tmp_path):
    assert paths.shown(tmp_path / "clip.safetensors") == "clip.safetensors"
    assert paths.located(str(tmp_path / "clip.safetensors")) == tmp_path / "clip.safetensors"


def test_a_checkpoint_is_the_data_sets_own_unless_one_is_named(tmp_path):
    own = paths.pretrained("fashion-mnist", "generator")
    assert own == paths.DATA / "models/fashion-mnist-generator.safetensors"
    assert paths.pretrained("cifar-10", "generator", paths.shown(own)) == own
    for kind in ("clip", "generator", "diffusion"):
        with pytest.raises(FileNotFoundError, match=f"cifar-10-{kind}.* no {kind} for cifar-10 .*TRAIN = True"):
            paths.pretrained("cifar-10", kind)
    with pytest.raises(FileNotFoundError, match="gone.safetensors is missing; set TRAIN"):
        paths.pretrained("fashion-mnist", "clip", str(tmp_path / "gone.safetensors"))


@pytest.mark.parametrize("name", ["folder:", "folder:  ", "folder:a\0b"])
def test_a_folder_without_a_path_is_refused(name):
    with pytest.raises(ValueError, match="DATASET is .*it must be folder:PATH"):
        paths.own_folder(name)


def test_a_folder_of_results_with_too_long_a_name_holds_nothing(monkeypatch):
    monkeypatch.setenv("SEGA_RESULTS", f"/tmp/{'x' * 300}")
    with pytest.raises(FileNotFoundError, match="results/mine/.* is missing; make it with"):
        paths.require("mine", "fashion-mnist", "real")


def test_a_link_that_leads_nowhere_is_shown_by_its_own_name(results):
    results.mkdir()
    (results / "lost").symlink_to("/gone/elsewhere")
    assert paths.shown(results / "lost") == "results/lost"
