"""What the images of the zoo are worth to a classifier, beside arms on real images alone that do more with these.

An augmenter's images join, as a share of every batch, an arm on real images alone, with its settings, steps, batch and
seeds; that arm is its control. The arms without an augmenter are made stronger first.
"""

from collections.abc import Callable, Iterator
from statistics import mean

import torch

from sega_utils.core import artifacts, records, runtime
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, to_uint8
from sega_utils.studies.zoo import zoo
from sega_utils.studies.zoo.members import made_of
from sega_utils.studies.zoo.zoo import Fitting, Place
from sega_utils.training import recipes
from sega_utils.training.classifiers import smoothed, train_classifier

BEST = "Std Aug + CutMix"  # of the arms of 05_training on real images, by validation: notebooks/params/tuning.csv
# name: the arm whose tuned settings it has, and what it adds to the training
REAL: dict[str, tuple[str, dict]] = {
    "Std Aug": ("Std Aug", {}),
    "CutMix": (BEST, {}),
    "TrivialAugment": ("Std Aug + TrivialAugment", {}),
    "RandAugment + CutMix": (BEST, {"policy": "randaugment"}),
    "AugMix": ("Std Aug", {"policy": "augmix"}),
    "PixMix": ("Std Aug", {"policy": "pixmix"}),
    "CutMix + smoothing": (BEST, {"smoothing": 0.1}),
    "CutMix + averaging": (BEST, {"averaging": 0.99}),
    "CutMix x4": (BEST, {"longer": 4}),
    "CutMix four together": (BEST, {"members": 4}),
}
ONTO = "CutMix"  # which arm an augmenter's images join, where nothing else is asked for
ADDED = {"smoothing": 0.0, "averaging": 0.0, "longer": 1, "members": 1}
EACH, DRAWING = (
    25.0,
    30.0,
)  # CPU seconds of a classifier, and of an augmenter's images with their quality, as first guess


def train_once(
    place: Place,
    arm: str,
    seed: int,
    tuned: dict,
    *,
    share: float = 0.0,
    fitting: Fitting | None = None,
    onto: str = ONTO,
    steps: int = 0,
    device: torch.device | str = "cpu",
) -> dict:
    """Train one classifier of an arm and return its record, made now or on disk: its accuracy on test and validation.

    Args:
        arm: a key of ``REAL``, or an augmenter that ``fit_once`` was called for with this ``fitting``.
        tuned: settings by arm. share: of every batch, what the augmenter gives; onto: the arm of ``REAL``
            that its images join. steps: 0 takes the settings'.

    Raises:
        ValueError: an unknown arm, an augmenter without a share or the other way round.
        FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    if arm not in REAL:
        zoo.check(arm)
    if (arm in REAL) == (share > 0) or (share > 0) != (fitting is not None):
        raise ValueError(f"{arm} has the share {share:g}; arms on real images have none, augmenters one and a fitting")
    settings, added = settings_of(arm if arm in REAL else onto, tuned, steps)
    real, fitted = zoo.real_of(place), fitting or Fitting(0.0, "none", 0)
    inputs, synthetic = {"real": artifacts.digest({"images": real.few.images, "labels": real.few.labels})}, None
    if fitting:
        synthetic = zoo.load_drawn(place, arm, fitting)
        inputs["drawn"] = artifacts.digest({"images": to_uint8(synthetic[0]), "labels": synthetic[1]})

    def measure() -> dict:
        predict = fit(real.few, synthetic, settings, added, share=share, seed=seed, device=device)
        test = catalogue.load(place.dataset, "test")
        right = lambda data: float((predict(data.images) == data.labels).double().mean())
        counts = {"n_real": len(real.few.labels), "n_test": len(test.labels), "n_validation": len(real.rest.labels)}
        return {"accuracy": right(test), "accuracy_validation": right(real.rest)} | counts

    asked = settings | added | zoo.told(place, fitted) | {"arm": arm, "seed": seed, "share": share}
    asked |= {"onto": onto} if fitting else {}
    name = name_of_job(place, {"arm": arm, "share": share, "fitting": fitting, "onto": onto, "seed": seed}, steps)
    return records.once(*place[:2], "zoo", name, parameters=asked, inputs=inputs, measure=measure)


def settings_of(arm: str, tuned: dict, steps: int = 0) -> tuple[dict, dict]:
    """Return what an arm on real images gives ``train_classifier``, and what of ``ADDED`` it does besides.

    Raises:
        ValueError: an unknown arm.
    """
    if arm not in REAL:
        raise ValueError(f"{arm!r} is no arm on real images; known are {', '.join(REAL)}")
    base, more = REAL[arm]
    settings = {name: recipes.settings_of(base, tuned.get(base))[name] for name in zoo.TRAINED_BY}
    settings |= {name: value for name, value in more.items() if name in settings}
    added = ADDED | {name: value for name, value in more.items() if name in ADDED}
    return settings | {"steps": (steps or settings["steps"]) * added["longer"]}, added


def fit(
    real: Dataset,
    synthetic: tuple[torch.Tensor, torch.Tensor] | None,
    settings: dict,
    added: dict,
    *,
    share: float,
    seed: int,
    device: torch.device | str,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Train the classifiers of an arm, for most a single one, and return what tells images' classes by all of them."""
    targets = lambda labels: smoothed(labels, len(real.class_names), added["smoothing"])
    given = {"real_targets": targets(real.labels), "averaging": added["averaging"]} | settings
    if synthetic:
        given |= {"synthetic": (synthetic[0], targets(synthetic[1])), "ratio": share}
    # a member's seed is no other arm's, but for the first one, which is the classifier alone
    seeds = [seed + 1_000_003 * member for member in range(added["members"])]
    models = [train_classifier(real, seed=own, device=device, **given) for own in seeds]

    @torch.no_grad()
    def predict(images: torch.Tensor) -> torch.Tensor:
        parts = [sum(model(part.to(device)).softmax(1) for model in models) for part in images.split(500)]
        return torch.cat(parts).argmax(1).cpu()

    return predict


def jobs(
    place: Place,
    *,
    augmenters: list[str],
    arms: list[str],
    shares: list[float],
    seeds: list[int],
    fitting: Fitting,
    onto: str = ONTO,
) -> list[dict]:
    """Return what is trained at a place, each with the arguments of ``train_once``.

    All arms of a seed stand together, so that what a stopped run has measured can be compared.
    """
    real = [{"arm": arm, "share": 0.0, "fitting": None} for arm in arms]
    asked = {"fitting": fitting, "onto": onto}
    drawn = [{"arm": name, "share": share} | asked for name in augmenters for share in shares]
    return [job | {"seed": seed} for seed in seeds for job in real + drawn]


def train_job(place: Place, job: dict, tuned: dict, steps: int = 0, device: torch.device | str = "cpu") -> dict:
    """Do one of ``jobs``, see ``train_once``, in a process of its own."""
    return train_once(place, tuned=tuned, steps=steps, device=device, **job)


def name_of_job(place: Place, job: dict, steps: int) -> str:
    """Return the name of the record of one of ``jobs``."""
    fitting, share = job["fitting"], f"share{job['share']:g}"
    more = (
        ["on", recipes.slug(job["onto"]), share, fitting.protocol.lower(), f"{fitting.seconds:g}s"] if fitting else []
    )
    return zoo.name_of(place, job["arm"], *more, f"{steps}-steps", f"seed{job['seed']}")


def left(run: str, dataset: str, asked: list[tuple[Place, dict]], steps: int, unfitted: float) -> tuple[int, float]:
    """Return how many of the ``jobs`` at places are not on record, and about how many CPU seconds they will take.

    Args:
        unfitted: CPU seconds of trainings of augmenters that are still to come.
    """
    found = [r for r in records.read(run, dataset, "zoo") if r["param_steps"] >= steps]
    work = lambda arm, onto: REAL[arm if arm in REAL else onto][1]
    times = lambda *of: work(*of).get("longer", 1) * work(*of).get("members", 1)
    each = mean(r["seconds"] / times(r["param_arm"], r.get("param_onto", ONTO)) for r in found) if found else EACH
    todo = [
        job for place, job in asked if not records.path(run, dataset, "zoo", name_of_job(place, job, steps)).exists()
    ]
    return len(todo), unfitted + sum(each * times(job["arm"], job.get("onto", ONTO)) for job in todo)


def measure(
    run: str,
    dataset: str,
    subsets: list[int],
    tuned: dict,
    *,
    per_class: int,
    steps: int,
    fitting: Fitting,
    workers: int,
    **what: list | str,
) -> Iterator[str]:
    """Measure all ``jobs`` of the subsets, in as many processes as workers, and yield a line before each part.

    What is on record is not repeated, so that the same call goes on where a killed one was.

    Args:
        tuned: settings by arm. steps: of each classifier. what: ``augmenters``, ``arms``, ``shares``, ``seeds`` and
            ``onto`` as ``jobs`` takes them.
    """
    places = [Place(run, dataset, subset, per_class) for subset in subsets]
    asked = [(place, job) for place in places for job in jobs(place, fitting=fitting, **what)]
    names = dict.fromkeys(part for name in what["augmenters"] for part in (*made_of(name), name))
    for place in places:
        fits = [(p, name) for p in places[places.index(place) :] for name in names]
        todo = [(p, name) for p, name in fits if not zoo.file_of(p, name, fitting, "images").exists()]
        unfitted = sum(DRAWING + (0 if made_of(name) else fitting.seconds) for _, name in todo)
        n, seconds = left(run, dataset, asked, steps, unfitted)
        yield (
            f"subset {place.subset}: {len(todo)} augmenters and {n} of {len(asked)} classifiers to train, "
            f"about {seconds / workers / 60:.0f} minutes left"
        )
        if what["augmenters"]:
            runtime.map_workers(zoo.judge_of, [(place, tuned, steps)], workers=1, label="judge")
        for made in (False, True):  # those made of others come last
            mine = [(place, name, fitting, tuned, steps) for name in names if bool(made_of(name)) == made]
            if mine:
                runtime.map_workers(zoo.fit_once, mine, workers=workers, label="augmenters")
        own = [(place, job, tuned, steps) for at, job in asked if at == place]
        runtime.map_workers(train_job, own, workers=workers, label="classifiers")
