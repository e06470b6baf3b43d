"""Our training loop beside a plain one, of torchvision's transforms and a DataLoader: time and accuracy in one run."""

from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader

from sega_utils.core import numbers, paths, records, runtime
from sega_utils.core.numbers import interval, spread
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, to_uint8
from sega_utils.studies.benchmark import quartiles, timed
from sega_utils.training import classifiers, recipes
from sega_utils.training.classifiers import prepare, train_classifier

OPTIONS = ("classifier", "steps", "batch_size", "lr", "weight_decay", *recipes.SPEED)
ARM = "Std Aug"  # what a plain loop does without further ado
LIBRARY = "torchvision + DataLoader"


class Pictures(torch.utils.data.Dataset):
    """A data set as torchvision's are: pixels in memory; a picture is made, cropped and flipped when asked for."""

    def __init__(self, real: Dataset):
        from torchvision.transforms import v2  # torchvision takes seconds to import

        self.pixels = to_uint8(real.images).permute(0, 2, 3, 1).squeeze(-1).numpy()
        self.labels = real.labels.tolist()
        crop, flip = v2.RandomCrop(real.images.shape[2:], padding=2), v2.RandomHorizontalFlip(real.mirrors / 2)
        self.change = v2.Compose([crop, flip, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.change(Image.fromarray(self.pixels[index])), self.labels[index]


def train_plain(
    real: Dataset, *, pictures: Pictures, batch_size: int, workers: int, device: torch.device | str = "cpu", **options
) -> torch.nn.Module:
    """Train what ``classifiers.train_classifier`` trains with the same arguments, by a plain loop; return it in eval.

    Args:
        pictures: the images of ``real``.
        workers: processes that load batches; 0 loads them between the steps.
        options: as ``classifiers.prepare``, which gives both loops their network, optimiser, schedule and precision.

    Raises:
        ValueError: a batch is larger than the data set, or as ``classifiers.prepare``.
    """
    if len(pictures) < batch_size:
        raise ValueError(f"a batch of {batch_size} is more than the {len(pictures)} images; choose a smaller one")
    model, optimise = prepare(real, device=device, **options)
    loader = DataLoader(
        pictures,
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.device(device).type == "cuda",
    )
    for images, labels in islice(chain.from_iterable(repeat(loader)), options["steps"]):  # epoch after epoch
        optimise(images.to(device, non_blocking=True), labels.to(device, non_blocking=True))
    return model.eval()


def beside(accuracy: dict[str, dict[int, float]]) -> dict[str, float]:
    """Return the means, spreads and paired difference of two loops' accuracies, each by seed."""
    values = {}
    for side, found in accuracy.items():
        summary = numbers.summary(found.values())
        values |= {f"accuracy_{side}": summary["mean"], f"std_{side}": summary["std"]}
    paired = numbers.paired_difference(accuracy["ours"], accuracy["theirs"])
    return values | {name: paired[name] for name in ("difference", "ci_low", "ci_high")}


def measure_loops(
    run: str,
    dataset: str,
    settings: dict,
    *,
    workers: int = 2,
    turns: int = 5,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict:
    """Train with both loops in turns, each time with another seed, and return the record.

    Seconds are those of a whole training, with the start of the workers, divided by its steps; what is slow only once
    (compilation, the first use of a GPU) comes before. The accuracies on the test set show that both do the same.

    Args:
        settings: of the arm ``ARM``, see ``recipes.settings_of``.
        turns: trainings of each loop, at least 2; the loop that began one turn is second in the next.

    Raises:
        ValueError: fewer turns, or as ``train_plain``. FileNotFoundError, ArtifactError: no real images, or damaged.
    """
    if turns < 2:
        raise ValueError(f"turns is {turns}; allowed is 2 or more: one has no spread to compare accuracies with")
    (real, meta), test = catalogue.load_real(run, dataset), catalogue.load(dataset, "test")
    options = {name: (recipes.SPEED | settings)[name] for name in OPTIONS}
    loops = {"ours": train_classifier, "theirs": partial(train_plain, pictures=Pictures(real), workers=workers)}
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
    values = quartiles(list(zip(seconds["ours"], seconds["theirs"], strict=True))) | beside(accuracy)
    name = "-".join(str(options[k]) for k in ("classifier", "batch_size", "precision"))
    name = f"loop-{name}{'-compiled' if options['compile'] else ''}-{workers}-workers"
    return records.write(
        run,
        dataset,
        "efficiency",
        name,
        metrics=values | {"n_real": len(real.labels), "n_test": len(test.labels)},
        cost=cost,
        parameters=options | {"loop": LIBRARY, "workers": workers, "turns": turns, "seed": seed},
        inputs={"real": meta["sha256"]},
    )


def loop_rows(found: list[dict]) -> list[dict[str, str]]:
    """Return two rows for people for each comparison of training loops on record: ours, and the plain one.

    Times are medians over the turns, with quartiles; accuracies are in percent, mean ± standard deviation over the
    turns' seeds. The plain loop's row has the ratio of its time to ours, and our accuracy less its own, paired by seed,
    with 95 % interval.
    """
    mine = [record for record in found if "param_loop" in record]
    named = ("param_classifier", "param_batch_size", "param_precision", "param_compile", "param_workers")
    rows = []
    for record in sorted(mine, key=lambda record: [record[name] for name in named]):
        ratio = record["seconds_theirs"] / record["seconds_ours"]
        lead = interval(*(100 * record[name] for name in ("difference", "ci_low", "ci_high")))
        for side, loop, workers, times, gained in (
            ("ours", "ours", "", "", ""),
            ("theirs", record["param_loop"], record["param_workers"], f"{ratio:.2f}", lead),
        ):
            low, median, high = (1000 * record[name] for name in (f"{side}_q1", f"seconds_{side}", f"{side}_q3"))
            rows.append(
                {
                    "classifier": record["param_classifier"],
                    "precision": record["param_precision"],
                    "compiled": "yes" if record["param_compile"] else "no",
                    "loop": loop,
                    "workers": workers,
                    "ms a step": f"{median:.2f} [{low:.2f}, {high:.2f}]",
                    "ratio": times,
                    "images/s": f"{1000 * record['param_batch_size'] / median:,.0f}",
                    "accuracy (%)": spread(100 * record[f"accuracy_{side}"], 100 * record[f"std_{side}"]),
                    "ours - plain": gained,
                    "n": record["param_turns"],
                }
            )
    return rows


def compare(
    run: str,
    dataset: str,
    tuned: Path,
    asked: dict,
    *,
    classifier: str = "",
    precisions: list[str] | None,
    workers: list[int],
    turns: int,
    device: torch.device,
) -> list[dict]:
    """Measure both loops for each precision and number of workers, and return the records.

    Args:
        tuned: a file for ``recipes.read``, of which the settings of ``ARM`` are taken.
        asked: settings to replace; a value of None is not.
        classifier: which one, of a file of several.

    Raises:
        ValueError: the file lacks the arm; as ``measure_loops``.
    """
    settings = recipes.read(tuned, classifier)
    if ARM not in settings:
        raise ValueError(f"{paths.shown(tuned)} lacks the arm {ARM!r}")
    own = recipes.SPEED | settings[ARM] | {name: value for name, value in asked.items() if value is not None}
    return [
        measure_loops(
            run,
            dataset,
            recipes.settings_of(ARM, own | {"precision": precision}),
            workers=count,
            turns=turns,
            device=device,
        )
        for precision in precisions or [own["precision"]]
        for count in workers
    ]
