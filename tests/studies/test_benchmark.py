"""The benchmark compares equals, sees a difference if there is one, and records what it timed."""

from contextlib import nullcontext

import pytest
import torch

from sega_utils.__main__ import main
from sega_utils.augmenters.base import save_generator
from sega_utils.core import paths, records, runtime
from sega_utils.studies import benchmark

RUN = ("bench", "fashion-mnist")


@pytest.fixture
def run(generator):
    save_generator(paths.artifact(*RUN, "generator"), generator, {})


@pytest.fixture(scope="module")
def images():
    images = torch.rand(12, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    return torch.cat((images, (images[:3] * 0.99)))  # near-duplicates


# a variance of about a hundred thousand has two digits behind the point in single precision
@pytest.mark.parametrize(
    "kernel, tolerance", [("pHash", 0), ("SSIM", 1e-5), ("Laplacian", 0.1), ("near-duplicates", 0)]
)
def test_a_kernel_gives_what_its_library_gives(images, kernel, tolerance):
    ours, theirs, difference = benchmark.KERNELS[kernel][1](images)
    assert difference(ours(), theirs()) <= tolerance
    other = benchmark.KERNELS[kernel][1](torch.cat((images[1:], images[2:3])))[0]
    assert difference(other(), theirs()) > tolerance, "other images are another result"


def test_the_search_is_compared_pair_by_pair(images):
    _, theirs, difference = benchmark.duplicates_beside(images)
    assert difference(torch.tensor([[0, 12], [1, 13], [2, 14]]), theirs()) == 0
    assert difference(torch.tensor([[0, 12], [1, 13], [3, 14]]), theirs()) == 2


def test_a_record_holds_medians_between_their_quartiles(run):
    record = benchmark.measure_kernel(*RUN, "SSIM", 5, repeats=3, least=0)
    assert record == records.read(*RUN, "efficiency")[0] and record["name"] == "kernel-ssim-5"
    assert (record["param_images"], record["param_library"], record["turns"]) == (5, "scikit-image", 3)
    for side in ("ours", "theirs"):
        assert 0 < record[f"{side}_q1"] <= record[f"seconds_{side}"] <= record[f"{side}_q3"]
    assert record["difference"] < 1e-5


def test_no_turn_is_begun_after_the_limit(run):
    assert benchmark.measure_kernel(*RUN, "pHash", 5, repeats=1000, limit=1e-9, least=0)["turns"] == 1


def test_a_quick_call_is_repeated_and_its_mean_taken(monkeypatch):
    calls = []
    monkeypatch.setattr(runtime, "measure", lambda: nullcontext({"seconds": 0.25}))
    assert benchmark.timed(lambda: calls.append(0) or len(calls), least=0.5) == (0.25, 2)
    assert benchmark.timed(lambda: calls.append(0) or len(calls)) == (0.25, 3)


def test_sizes_that_are_left_out_have_no_rows(run, capsys):
    arguments = ["--run", RUN[0], "--dataset", RUN[1], "--repeats", "1"]
    assert main(["benchmark", *arguments, "--images", "4"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].split()[:3] == ["kernel", "library", "images"] and len(lines) == 1 + len(benchmark.KERNELS)
    assert main(["benchmark", *arguments]) == 0 and not capsys.readouterr().out


@pytest.mark.parametrize("kernel, n, repeats", [("md5", 4, 1), ("SSIM", 1, 1), ("SSIM", 4, 0)])
def test_what_cannot_be_timed_is_refused(run, kernel, n, repeats):
    with pytest.raises(ValueError, match=f"kernel is '{kernel}', n is {n}, repeats is {repeats}; allowed are pHash"):
        benchmark.measure_kernel(*RUN, kernel, n, repeats=repeats)


def test_a_run_without_a_generator_names_the_command_that_makes_it(capsys):
    assert main(["benchmark", "--run", "none", "--images", "4"]) == 1
    assert "02_generator.ipynb -p RUN none" in capsys.readouterr().err
