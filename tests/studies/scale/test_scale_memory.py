"""Of a candidate, the merge holds a few numbers: no stage has all images in memory, least of all as float."""

from functools import partial

import pytest
import torch
from test_scale_search import INPUTS, RUN, asked, candidates
from torch.utils._python_dispatch import TorchDispatchMode

from sega_utils.core import artifacts, records
from sega_utils.studies import shards
from sega_utils.studies.scale import buckets, rounds, search

EACH = 40  # candidates of a shard


class Largest(TorchDispatchMode):
    """Notes the bytes of the largest tensor that anything makes."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (list, tuple)) else [made]:
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.untyped_storage().nbytes())
        return made


@pytest.fixture
def few_at_a_time(monkeypatch):
    for module, name, value in ((shards, "BLOCK", EACH), (shards, "PART_SIZE", 20), (buckets, "_ROWS", 20)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(search, "_PAIRS", 10)
    monkeypatch.setattr(rounds, "FIRST", 40)
    monkeypatch.setattr(shards, "better_copies", partial(shards.better_copies, stripe=10))
    monkeypatch.setattr(shards, "load_shard_inputs", lambda run, dataset, n, device: (INPUTS, asked(n)))
    monkeypatch.setattr(records, "git_commit", lambda: "unknown")


def largest(of: int, *, parts: int) -> int:
    """Return the bytes of the largest tensor of a merge of so many shards, searched in parts or at once."""
    n = of * EACH
    columns = candidates(n)
    for shard in range(of):
        part = {name: column[shard * EACH : (shard + 1) * EACH] for name, column in columns.items()}
        counts = {"drawn": EACH, "survivors": EACH, "rejected": {"blur": 0}}
        path = shards.shard_path(*RUN, shard, of)
        artifacts.save_tensors(path, part, {"asked": asked(n), "counts": counts})
    asked_for = search.Search(*RUN, of, n, parts)
    with Largest() as noted:
        if parts:
            search.settle(asked_for, 0)
            for round in range(rounds.rounds(n)):
                for part in range(parts):
                    search.compare(asked_for, round, part)
                search.settle(asked_for, round + 1)
        shards.merge(*RUN, of=of, n=n, decided=partial(search.decided, asked_for) if parts else None)
    return noted.bytes


@pytest.mark.parametrize("parts", [0, 2])
def test_memory_grows_by_no_image_a_candidate(few_at_a_time, parts):
    few, many = (largest(of, parts=parts) for of in (2, 8))
    held = 64 if parts else 28  # bytes a candidate, as the records state them
    assert few >= 10 * 4096, "single images are seen"
    assert many - few <= held * 6 * EACH < 6 * EACH * 1024
