"""Our training loop beside a plain one, of torchvision's transforms and a DataLoader: time and accuracy in one run.

    python -m sega_utils.loop_benchmark --steps 300 --turns 5
    python -m sega_utils.loop_benchmark --run paper-1 --dataset fashion-mnist-full --device cuda --turns 5 \\
        --tuned notebooks/params/tuned-resnet18.yaml --steps 2000 --precision float32 bfloat16 --workers 4 8

It needs the real images of a run (00_data), writes records into that run and prints them as a table.
"""

import argparse
import sys
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from statistics import mean, stdev

import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from sega_utils import (
    classifiers, cost_tables, data, formats, metrics, parameters, paths, recipes, records, runtime,
)  # fmt: skip
from sega_utils.benchmark import quartiles, timed
from sega_utils.training import prepare, train_classifier

ARM = "Std Aug"  # what a plain loop does without further ado
LIBRARY = "torchvision + DataLoader"


class Pictures(torch.utils.data.Dataset):
    """A data set as torchvision's are: pixels in memory; a picture is made, cropped and flipped when asked for."""

    def __init__(self, real: data.Dataset):
        self.pixels = data.to_uint8(real.images).permute(0, 2, 3, 1).squeeze(-1).numpy()
        self.labels = real.labels.tolist()
        crop, flip = v2.RandomCrop(real.images.shape[2:], padding=2), v2.RandomHorizontalFlip(real.mirrors / 2)
        self.change = v2.Compose([crop, flip, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.change(Image.fromarray(self.pixels[index])), self.labels[index]


def train_plain(
    real: data.Dataset, *, pictures: Pictures, batch_size: int, workers: int, device: torch.device | str = "cpu",
    **options,
) -> torch.nn.Module:  # fmt: skip
    """Train what ``training.train_classifier`` trains with the same arguments, by a plain loop; return it in eval mode.

    Args:
        pictures: the images of ``real``.
        workers: processes that load batches; 0 loads them between the steps.
        options: as ``training.prepare``, which gives both loops their network, optimiser, schedule and precision.

    Raises:
        ValueError: a batch is larger than the data set, or as ``training.prepare``.
    """
    if len(pictures) < batch_size:
        raise ValueError(f"a batch of {batch_size} is more than the {len(pictures)} images; choose a smaller one")
    model, optimise = prepare(real, device=device, **options)
    loader = DataLoader(pictures, batch_size, shuffle=True, drop_last=True, num_workers=workers,
                        persistent_workers=workers > 0, pin_memory=torch.device(device).type == "cuda")  # fmt: skip
    for images, labels in islice(chain.from_iterable(repeat(loader)), options["steps"]):  # epoch after epoch
        optimise(images.to(device, non_blocking=True), labels.to(device, non_blocking=True))
    return model.eval()


def measure_loops(
    run: str, dataset: str, settings: dict, *, workers: int = 2, turns: int = 5, seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict:  # fmt: skip
    """Train with both loops in turns, each time with another seed, and return the record.

    Seconds are those of a whole training, with the start of the workers, divided by its steps; what is slow only once
    (compilation, the first use of a GPU) comes before. The accuracies on the test set show that both do the same.

    Args:
        settings: of the arm ``ARM``, see ``recipes.settings_of``.
        turns: trainings of each loop, at least 2; the loop that began one turn is second in the next.

    Raises:
        ValueError: fewer turns, or as ``train_plain``.
        FileNotFoundError, ArtifactError: the run has no real images, or damaged ones.
    """
    if turns < 2:
        raise ValueError(f"turns is {turns}; allowed is 2 or more: one has no spread to compare accuracies with")
    real, meta = data.load_real(run, dataset)
    test = data.load(dataset, "test")
    names = ("classifier", "steps", "batch_size", "lr", "weight_decay", *recipes.SPEED)
    options = {name: (recipes.SPEED | settings)[name] for name in names}
    loops = {"ours": train_classifier,
             "theirs": partial(train_plain, pictures=Pictures(real), workers=workers)}  # fmt: skip
    seconds: dict[str, list[float]] = {side: [] for side in loops}
    accuracy: dict[str, dict[int, float]] = {side: {} for side in loops}
    with runtime.measure() as cost:
        for train in loops.values():
            train(real, **options | {"steps": 2}, seed=seed, device=device)
        for turn in runtime.progress(range(turns), "turns"):
            for side in sorted(loops, reverse=turn % 2 == 1):
                spent, model = timed(partial(loops[side], real, **options, seed=seed + turn, device=device))
                seconds[side].append(spent / options["steps"])
                accuracy[side][seed + turn] = classifiers.accuracy(model, test.images, test.labels)
    values = quartiles(list(zip(seconds["ours"], seconds["theirs"], strict=True)))
    for side, found in accuracy.items():
        values |= {f"accuracy_{side}": mean(found.values()), f"std_{side}": stdev(found.values())}
    paired = metrics.paired_difference(accuracy["ours"], accuracy["theirs"])
    values |= {name: paired[name] for name in ("difference", "ci_low", "ci_high")}
    name = "-".join(f"{options[k]}" for k in ("classifier", "batch_size", "precision"))
    return records.write(
        run, dataset, "efficiency", f"loop-{name}{'-compiled' if options['compile'] else ''}-{workers}-workers",
        metrics=values | {"n_real": len(real.labels), "n_test": len(test.labels)}, cost=cost,
        parameters=options | {"loop": LIBRARY, "workers": workers, "turns": turns, "seed": seed},
        inputs={"real": meta["sha256"]},
    )  # fmt: skip


@runtime.command
def main(arguments: list[str] | None = None) -> None:
    """Measure, write records, print the table."""
    parser = argparse.ArgumentParser("python -m sega_utils.loop_benchmark", description=main.__doc__)
    parser.add_argument("--run", default="embedded")
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--tuned", type=Path, default=paths.PARAMS / "tuned.yaml", help=f"settings; those of {ARM}")
    parser.add_argument("--steps", type=int, help="optimiser steps of each training, instead of the settings'")
    parser.add_argument("--precision", nargs="+", help="of both loops, instead of the settings'; several in turn")
    parser.add_argument("--compile", action="store_true", help="compile the network for both loops")
    parser.add_argument("--workers", type=int, nargs="+", default=[2], help="of the DataLoader; several in turn")
    parser.add_argument("--turns", type=int, default=5, help="trainings of each loop, each with another seed")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    args = parser.parse_args(arguments)
    tuned = parameters.load_yaml(args.tuned)
    if ARM not in tuned:
        raise ValueError(f"{paths.shown(args.tuned)} lacks the arm {ARM!r}")
    asked = {"steps": args.steps, "compile": args.compile or None}
    settings = recipes.SPEED | tuned[ARM] | {name: value for name, value in asked.items() if value is not None}
    device = runtime.start(0, args.device)
    found = [
        measure_loops(args.run, args.dataset, recipes.settings_of(ARM, settings | {"precision": precision}),
                      workers=workers, turns=args.turns, device=device)
        for precision in args.precision or [settings["precision"]] for workers in args.workers
    ]  # fmt: skip
    print(formats.aligned(cost_tables.loop_rows(found)))


if __name__ == "__main__":
    sys.exit(main())
