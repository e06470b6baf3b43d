"""What is measured on trained classifiers: one record a (stage, arm, seed), and what is on record is not repeated."""

from collections.abc import Callable

import torch

from sega_utils import artifacts, classifiers, paths, recipes, records, runtime


def load_classifier(run: str, dataset: str, arm: str, seed: int) -> tuple[torch.nn.Module, str]:
    """Return a classifier that 05_training trained, frozen and in eval mode, and the digest of its weights.

    Raises:
        FileNotFoundError: it was not trained; the message names the command that trains it.
        ArtifactError: its file is damaged or holds something else.
    """
    path = paths.require(run, dataset, "classifiers") / f"{recipes.slug(arm)}-seed{seed}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"{paths.shown(path)} is missing; {recipes.how_to_train(run, dataset, arm, seed)}")
    weights, meta = artifacts.load_tensors(path)
    try:
        shape = {name: meta[name] for name in ("n_classes", "channels", "side")}
        model = classifiers.build(meta["classifier"], **shape)
        model.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise artifacts.ArtifactError(f"{paths.shown(path)} holds no classifier, or other weights than it says; delete "
                                      "it and run 05_training again") from error  # fmt: skip
    return model.eval().requires_grad_(False), meta["sha256"]


def evaluate(
    run: str, dataset: str, stage: str, arm: str, seed: int, *,
    measure: Callable[[torch.nn.Module], dict[str, float]], parameters: dict, inputs: dict,
) -> dict:  # fmt: skip
    """Measure one trained classifier and write its record ``records/<stage>/<arm>-seed<seed>.json``; return the record.

    A record of the same weights, parameters and inputs is returned as it stands.

    Args:
        measure: takes the classifier, returns metrics as finite numbers.
        parameters: everything that the metrics depend on beside the classifier; stored as ``param_*``.
        inputs: name to digest of other files that were read; stored as ``input_*``.

    Raises:
        FileNotFoundError, ArtifactError: as ``load_classifier``; whatever ``measure`` raises.
    """
    model, weights = load_classifier(run, dataset, arm, seed)
    name = f"{recipes.slug(arm)}-seed{seed}"
    asked = {"parameters": parameters | {"arm": arm, "seed": seed}, "inputs": inputs | {"weights": weights}}
    if found := records.find(run, dataset, stage, name, **asked):
        return found
    with runtime.measure() as cost:
        metrics = measure(model)
    return records.write(run, dataset, stage, name, metrics=metrics, cost=cost, **asked)
