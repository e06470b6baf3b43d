"""The records of a run that never was, with numbers that are easy to check."""

from unittest import mock

from sega_utils import filters
from sega_utils.core import artifacts, records, schema
from sega_utils.text import attributes
from sega_utils.training import recipes

RUN, DATASET = "fake", "fashion-mnist"
# seeds 0, 1, 2; one more digit than binary fractions have
ACCURACY = {
    "No Aug": (0.79, 0.80, 0.805),
    "Std Aug": (0.81, 0.82, 0.815),
    "GAN-only": (0.815, 0.8225, 0.8175),
    "SEGA-Net": (0.84, 0.845, 0.8425),
}


def write_run(accuracy: dict[str, tuple[float, ...]] = ACCURACY, **training) -> None:
    """Write all records that tables read; ``training`` goes into every training record's parameters."""
    digests = {"real": "r" * 64, "prompts": "p" * 64, "candidates": "c" * 64}
    cost = {"seconds": 2.5, "peak_memory_gb": 0.5}

    def write(stage, name, parameters, metrics, inputs):
        records.write(RUN, DATASET, stage, name, parameters=parameters, metrics=metrics, inputs=inputs, cost=cost)

    with mock.patch.object(records, "git_commit", return_value="0" * 40):
        write(
            "clip",
            "clip",
            {"clip": "data/models/fashion-mnist-clip.safetensors"},
            {"zero_shot_accuracy": 0.8},
            {"real": digests["real"], "clip": "k" * 64},
        )
        effects = [
            {"attribute": name, "effect": 1.25 + i, "ci_low": 1.125 + i, "ci_high": 1.5 + i, "n": 100 + i}
            for i, name in enumerate(attributes.WORDS)
        ]
        write(
            "projector",
            "projector",
            {"sigma": 1.0},
            {"effects": {"prompts": effects}},
            {"prompts": digests["prompts"], "clip": "k" * 64},
        )
        synthesis = {
            "candidates": 4000,
            "kept": 1500,
            "n_syn": 257,
            "alignment": {
                "pre": {"median": 0.5, "iqr": 0.25, "n": 4000},
                "post": {"median": 0.75, "iqr": 0.125, "n": 1500},
            },
            "rejected": {name: 100 * (i + 1) for i, name in enumerate(filters.FILTERS)},
        }
        write("synthesis", "synthesis", {"sigma": 1.0}, synthesis, digests)
        for arm, values in accuracy.items():
            for seed, value in enumerate(values):
                parameters = recipes.settings_of(arm) | {"arm": arm, "seed": seed} | training
                metrics = {"accuracy": value, "fraction": 0.01, "n_real": 600, "n_test": 10_000}
                write(
                    "training",
                    f"{recipes.slug(arm)}-seed{seed}",
                    parameters,
                    metrics,
                    digests | {"weights": f"{arm}{seed}"},
                )


def change(stage: str, name: str, **values) -> None:
    """Change values of a record on disk, as if they had been measured so."""
    path = records.path(RUN, DATASET, stage, name)
    artifacts.save_json(path, schema.sealed(artifacts.load_json(path) | values))


def remove(stage: str, pattern: str = "*") -> None:
    """Delete records of a stage; it must have some."""
    found = list(records.path(RUN, DATASET, stage, "x").parent.glob(f"{pattern}.json"))
    assert found
    for path in found:
        path.unlink()
