import contextlib
import fcntl
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from sega_utils.core import paths, records, runtime


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63])
def test_a_seed_outside_its_range_is_refused(seed):
    with pytest.raises(ValueError, match=f"seed is {seed}; allowed are 0 .. 4294967295"):
        runtime.start(seed)


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_ends_of_the_range_are_allowed(seed):
    assert runtime.start(seed, "cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:0", ""])
def test_an_unknown_device_lists_the_allowed_ones(device):
    with pytest.raises(ValueError, match="allowed are 'auto', 'cpu' and 'cuda'"):
        runtime.start(0, device)


def test_cuda_without_a_gpu_says_what_to_use_instead(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch sees no GPU; use 'auto' or 'cpu'"):
        runtime.start(0, "cuda")
    assert runtime.start(0, "auto") == torch.device("cpu")


def test_a_seed_fixes_every_generator():
    def draw(seed):
        runtime.start(seed, "cpu")
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    assert draw(3) == draw(3)
    assert all(a != b for a, b in zip(draw(3), draw(4), strict=True))
    assert torch.are_deterministic_algorithms_enabled()


def test_a_generator_is_seeded():
    draw = lambda seed: torch.rand(4, generator=runtime.generator(seed)).tolist()
    assert draw(1) == draw(1) != draw(2)


def test_bfloat16_is_for_products_only_and_only_inside():
    x = torch.rand(3, 3)
    with runtime.autocast("bfloat16", "cpu"):
        assert ((x @ x).dtype, (x + x).dtype) == (torch.bfloat16, torch.float32)
    with runtime.autocast("float32", "cpu"):
        assert (x @ x).dtype == torch.float32
    assert (x @ x).dtype == torch.float32


def test_a_gpu_that_only_emulates_bfloat16_is_not_asked_for_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla V100")
    with pytest.raises(ValueError, match="bfloat16', which Tesla V100 does not compute in; use 'float32'"):
        runtime.autocast("bfloat16", "cuda")


def test_a_description_is_text_and_names_every_library():
    description = records.describe()
    assert all(isinstance(value, str) and value for value in description.values())
    assert torch.__version__.startswith(description["version_torch"])
    assert {f"version_{name}" for name in records.LIBRARIES} <= set(description)


def test_the_commit_says_when_the_code_is_another(tmp_path, monkeypatch):
    def git(*args):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        run = subprocess.run(["git", *identity, *args], cwd=tmp_path, capture_output=True, text=True, check=True)
        return run.stdout.strip()

    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "sega_utils").mkdir()
    (tmp_path / "sega_utils/a.py").write_text("1\n")
    (tmp_path / "README.md").write_text("1\n")
    git("init", "-q"), git("add", "."), git("commit", "-qm", "one")
    (tmp_path / "README.md").write_text("2\n")
    assert records.git_commit() == git("rev-parse", "HEAD")
    (tmp_path / "sega_utils/a.py").write_text("2\n")
    assert records.git_commit() == git("rev-parse", "HEAD") + "-dirty"


def test_the_commit_is_unknown_outside_a_repository_and_without_git(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert records.git_commit() == "unknown"
    monkeypatch.setenv("PATH", "")
    assert records.git_commit() == "unknown"


def test_a_cost_is_known_once_the_block_has_ended():
    with runtime.measure() as cost:
        assert "seconds" not in cost
    assert {"seconds", "peak_memory_gb"} <= set(cost)
    assert cost["seconds"] >= 0 and cost["peak_memory_gb"] > 0


@pytest.mark.parametrize(("ci", "silent"), [("1", True), ("", False)])
def test_progress_yields_everything_and_is_silent_in_ci(monkeypatch, capsys, ci, silent):
    monkeypatch.setenv("CI", ci)
    assert list(runtime.progress(range(3), "steps")) == [0, 1, 2]
    assert (capsys.readouterr().err == "") == silent


def test_a_long_loop_tells_how_far_it_is_and_what_is_left(monkeypatch, tmp_path):
    file = tmp_path / "told"
    clock = iter(range(0, 1000, 60))
    monkeypatch.setenv("SEGA_PROGRESS", str(file))
    monkeypatch.setattr(runtime.time, "monotonic", lambda: next(clock))
    assert list(runtime.progress(range(4), "classifiers")) == [0, 1, 2, 3]
    assert file.read_text().splitlines()[:2] == [
        "classifiers: 1 of 4, about 3 min left",
        "classifiers: 2 of 4, about 2 min left",
    ]


# workers


def work(a: int, b: int) -> tuple[int, int, bool]:
    return a // b, torch.get_num_threads(), os.getpid() != int(os.environ["PARENT"])


def test_workers_use_one_thread_each_and_answer_in_the_jobs_order(monkeypatch):
    monkeypatch.setenv("PARENT", str(os.getpid()))
    assert runtime.map_workers(work, [(9, 3), (8, 2)], workers=1, label="work") == [(3, 1, True), (4, 1, True)]


def test_a_failing_job_raises_its_own_error(monkeypatch):
    monkeypatch.setenv("PARENT", "0")
    monkeypatch.setattr(runtime, "ProcessPoolExecutor", lambda workers, **options: ThreadPoolExecutor(workers))
    with pytest.raises(ZeroDivisionError):
        runtime.map_workers(work, [(9, 3), (1, 0), (8, 2)], workers=1, label="work")


def stay(file: str) -> None:
    """Hold a lock on a file until this process ends."""
    with open(file, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        print("held", flush=True)
        time.sleep(600)


def test_workers_end_when_their_parent_is_killed(tmp_path):
    file = tmp_path / "held"
    work = f"runtime.map_workers(test_runtime.stay, [({str(file)!r},)], workers=1, label='')"
    started = [sys.executable, "-c", f"import test_runtime; from sega_utils.core import runtime; {work}"]
    path = {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(started, env=os.environ | path, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "held\n"
        parent.kill()
    with open(file) as handle:
        for _ in range(300):
            with contextlib.suppress(BlockingIOError):
                return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(0.1)
    raise AssertionError("the worker outlived its parent")
