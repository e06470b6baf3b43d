"""What training loops share: steps that are counted, checked, kept and resumed; averages; networks on disk."""

import itertools

import pytest
import torch
from torch import nn

from sega_utils.core import artifacts, learning, runtime
from sega_utils.core.artifacts import ArtifactError


def steps(n: int, **options) -> learning.Steps:
    return learning.Steps(n, wrong="step {step}: a is {a}, all are {losses}", **options)


def rows(run: learning.Steps) -> list[int]:
    for step in run:
        run.note(a=torch.tensor(float(step)))
    assert all(row["a"] == row["step"] - 1 for row in run.curve)
    return [row["step"] for row in run.curve]


@pytest.fixture
def state(tmp_path):
    """Return a state of one network, stored every two steps."""
    network = nn.Linear(2, 1)
    optimiser = torch.optim.Adam(network.parameters())
    return learning.State(tmp_path / "state.safetensors", 2, {"own": network}, [optimiser], {"seed": 0})


@pytest.mark.parametrize(("n", "expected"), [(0, []), (1, [1]), (7, [3, 6, 7]), (6, [3, 6])])
def test_the_curve_has_a_row_every_so_many_steps_and_at_the_last(n, expected):
    assert rows(steps(n, every=3)) == expected


def test_the_curve_has_a_row_of_each_step_that_is_stored(state):
    assert rows(steps(5, every=3, state=state)) == [2, 3, 4, 5]
    assert rows(steps(5, every=3, state=state._replace(path=None))) == [3, 5]


@pytest.mark.parametrize(("check", "at"), [(None, 3), (1, 1), (2, 2)])
def test_a_loss_that_is_not_finite_is_told_at_the_next_check(check, at):
    run = steps(5, every=3, check=check)
    with pytest.raises(FloatingPointError, match=f"step {at}: a is nan, all are {{'step': {at}, 'a': nan}}"):
        for _ in run:
            run.note(a=torch.tensor(float("nan")))
    assert run.curve == []


def test_without_a_label_there_is_no_progress_bar(monkeypatch):
    labels = []
    monkeypatch.setattr(runtime, "progress", lambda items, label: labels.append(label) or items)
    assert list(steps(2)) == list(steps(2, label="GAN")) == [0, 1] and labels == ["GAN"]


def test_stored_steps_are_not_taken_again_and_their_curve_is_kept(state):
    run = steps(9, every=1, state=state)
    for step in run:
        if step == 5:
            break  # what was taken after the fourth step is lost
        run.note(a=torch.tensor(1.0))
    resumed = steps(9, every=1, state=state)
    assert [row["step"] for row in resumed.curve] == [1, 2, 3, 4] and list(resumed) == [4, 5, 6, 7, 8]


def test_more_steps_than_asked_for_or_other_settings_are_refused(state):
    list(steps(4, state=state))
    with pytest.raises(ArtifactError, match="holds 4 steps, more than the 3 asked for"):
        steps(3, state=state)
    with pytest.raises(ArtifactError, match="made with other settings {'seed': 0}, this run has {'seed': 1}"):
        steps(4, state=state._replace(settings={"seed": 1}))


@pytest.fixture
def clock(monkeypatch):
    """Let every look at the CPU's clock cost a second."""
    ticks = itertools.count()
    monkeypatch.setattr(learning.time, "process_time", lambda: float(next(ticks)))


def test_the_first_step_after_the_budget_is_the_last(clock):
    run = steps(None, every=2, seconds=5)  # the clock is read once a step, which begins after 1, 2, 3 ... seconds
    assert rows(run) == [2, 4, 5] and run.used == 5 and run.progress() == 1
    assert rows(steps(3, every=2, seconds=5)) == [2, 3], "whatever comes first"
    assert rows(steps(3, every=2, seconds=1)) == [1]


def test_progress_is_a_share_of_the_steps_or_of_the_seconds(clock):
    run = steps(4)
    assert [run.progress() for _ in run] == [0.25, 0.5, 0.75, 1]
    run = steps(None, seconds=4)
    assert [run.progress() for _ in run] == [0.25, 0.5, 0.75, 1]


def test_seconds_that_a_killed_training_used_count(clock, state):
    for step in steps(None, seconds=9, state=state):
        if step == 4:
            break
    used = artifacts.load_tensors(state.path)[1]["seconds"]
    resumed = steps(None, seconds=9, state=state)
    assert resumed.used == used == 6  # one for each of four steps and two storings
    assert list(resumed) == [4, 5, 6] and artifacts.load_tensors(state.path)[1]["step"] == 7
    assert list(steps(None, seconds=9, state=state)) == [], "a finished training takes no step more"
    assert list(steps(None, seconds=12, state=state)) == [7], "a larger budget goes on"


def test_without_a_budget_the_stored_state_says_nothing_of_seconds(state):
    list(steps(2, state=state))
    assert "seconds" not in artifacts.load_tensors(state.path)[1]


@pytest.mark.parametrize(("n", "seconds"), [(None, None), (3, 0), (None, -1.0), (3, float("nan"))])
def test_a_training_without_an_end_is_refused(n, seconds):
    with pytest.raises(ValueError, match=f"steps {n} and seconds {seconds}; give steps, or seconds above 0"):
        steps(n, seconds=seconds)


def test_an_update_moves_weights_and_then_the_rate():
    network = nn.Linear(1, 1, bias=False)
    before = network.weight.item()
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (step + 1))
    for _ in range(2):  # a gradient that was left over would count twice
        learning.update(network.weight.sum(), optimiser, schedules=(schedule,))
    assert network.weight.item() == pytest.approx(before - 0.1 - 0.05)


@pytest.mark.parametrize("statistics", [False, True])
def test_weights_are_averaged_and_statistics_where_asked(statistics):
    average, network = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    for module, value in ((average, 0), (network, 8)):
        for tensor in module.state_dict().values():
            tensor.fill_(value)
    learning.follow(average, network, 1000, 0.75, statistics=statistics)
    assert average.weight == average.bias == 2 and average.num_batches_tracked == 8
    assert average.running_mean == average.running_var == (2 if statistics else 8)


@pytest.mark.parametrize("half", [False, True])
def test_a_saved_network_comes_back_frozen_with_what_is_known_of_it(tmp_path, half):
    network, path = nn.BatchNorm1d(3), tmp_path / "network.safetensors"
    nn.init.normal_(network.weight)
    sha256 = learning.save_network(path, network, {"width": 3}, half=half)
    loaded = learning.load_network(path, lambda meta, _: nn.BatchNorm1d(meta["width"]), what="norm")
    assert loaded.meta == {"width": 3, "sha256": sha256} and not loaded.training and not loaded.weight.requires_grad
    expected = network.weight.half().float() if half else network.weight
    assert torch.equal(loaded.weight, expected) and loaded.num_batches_tracked.dtype == torch.int64


@pytest.mark.parametrize("meta", [{}, {"width": 2}, {"width": None}])
def test_a_file_of_another_kind_is_refused(tmp_path, meta):
    path = tmp_path / "network.safetensors"
    artifacts.save_tensors(path, nn.BatchNorm1d(3).state_dict(), meta)
    with pytest.raises(ArtifactError, match="network.safetensors holds no norm"):
        build = lambda meta, _: nn.BatchNorm1d(meta["width"])
        learning.load_network(path, build, what="norm")


# networks of a run


def build(meta, _):
    return nn.Linear(meta["inputs"], 1)


@pytest.fixture
def stored(results):
    """Return how to write a network into a run that has real images."""
    folder = results / "mine/fashion-mnist"
    real = {"images": torch.zeros(2, 1, 32, 32, dtype=torch.uint8), "labels": torch.arange(2)}
    sha256 = artifacts.save_tensors(folder / "real.safetensors", real)

    def write(tensors=None, **meta):
        tensors = nn.Linear(3, 1).state_dict() | (tensors or {})
        artifacts.save_tensors(folder / "generator.safetensors", tensors, {"inputs": 3, "data": sha256} | meta)
        return folder / "generator.safetensors"

    return write


def test_a_network_of_the_runs_own_images_is_loaded_also_in_half_precision(stored):
    assert learning.load_network(stored(), build, what="network").meta["inputs"] == 3
    network = learning.load_network(stored({"weight": torch.ones(1, 3).half()}), build, what="network")
    assert network.weight.dtype == torch.float32 and not network.training


@pytest.mark.parametrize(
    ("tensors", "meta", "message"),
    [
        ({}, {"data": "0" * 64}, "this network was trained on other images"),
        ({"bias": torch.tensor([float("nan")])}, {}, "bias holds numbers that are not finite"),
        ({"bias": torch.zeros(1, dtype=torch.float64)}, {}, "holds no network .*bias is torch.float64, expected torch"),
        ({"bias": torch.zeros(1, dtype=torch.int64)}, {}, "holds no network .*bias is torch.int64, expected torch"),
        ({"bias": torch.zeros(2)}, {}, "holds no network .*; delete it and run"),
        ({"more": torch.zeros(2)}, {}, "holds no network .*; delete it and run"),
        ({}, {"inputs": "3"}, "holds no network .*; delete it and run"),
        ({}, {"inputs": 4}, "holds no network .*; delete it and run"),
    ],
)
def test_a_network_of_another_run_or_kind_is_named(stored, tensors, meta, message):
    with pytest.raises(ArtifactError, match=message):
        learning.load_network(stored(tensors, **meta), build, what="network")


def test_a_state_of_other_networks_is_refused(state):
    rows(steps(4, state=state))
    other = state._replace(networks={"own": nn.Linear(5, 1)})
    with pytest.raises(ArtifactError, match="state.safetensors holds the state of other networks; delete it to start"):
        steps(4, state=other)


def test_a_network_of_other_images_is_named_by_its_file(stored):
    with pytest.raises(ArtifactError, match="results/mine/fashion-mnist/generator.safetensors: this network was"):
        learning.load_network(stored(data="0" * 64), build, what="network")


def test_a_bit_that_flipped_in_a_published_checkpoint_is_noticed(tmp_path):
    """Its archive has checksums, which torch does not look at."""
    file = tmp_path / "G.pth"
    torch.save({"x": torch.zeros(1000)}, file)
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    with pytest.raises(ArtifactError, match="G.pth"):
        learning.load_plain(file)
