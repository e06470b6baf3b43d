"""One classifier that is trained against attacks, with or without synthetic images, and what it is worth."""

import time
from typing import NamedTuple

import torch
from torch import nn

from sega_utils.core import artifacts, learning, paths, records
from sega_utils.data import catalogue
from sega_utils.data.images import to_uint8
from sega_utils.evaluation import masking, robustness
from sega_utils.filters import rules
from sega_utils.studies.robust.plan import REAL, SYNTHETIC
from sega_utils.studies.zoo import zoo
from sega_utils.studies.zoo.zoo import Fitting, Place
from sega_utils.training import classifiers, robust

Images = tuple[torch.Tensor, torch.Tensor]  # float32 (M, C, S, S) in [0, 1], targets float32 (M, n_classes)
TUNING, MEASURED, CHECKED = "robust-tuning", "robust", "robust-checks"  # stages of records


class Task(NamedTuple):
    """What is asked for: the real images, the plan, the settings of one classifier, its seed, and those of the judge.

    Attributes:
        tuned: settings by arm, of the classifier that judges images and teaches.
    """

    place: Place
    plan: dict
    settings: dict
    seed: int
    tuned: dict
    device: str = "cpu"


def fitting_of(task: Task) -> Fitting:
    """Return how the task's augmenter is fitted; the run's own generator took its own time."""
    drawn, own = task.plan["drawn"], task.settings["augmenter"] in zoo.OF_RUN
    return Fitting(0.0 if own else drawn["seconds"], "run" if own else "A", drawn["images"])


def prepare(task: Task) -> None:
    """Fit the task's augmenter, if it has one, and draw its images, unless they are there."""
    if task.settings["share"]:
        zoo.fit_once(task.place, task.settings["augmenter"], fitting_of(task), task.tuned, device=task.device)


def synthetic(task: Task) -> Images | None:
    """Return the images of the task's augmenter with their targets; None where it takes none.

    ``filtered`` keeps those in which a classifier of the same real images, the teacher, sees the class that was asked
    for; ``random`` keeps as many of each class whatever it sees; ``teacher`` takes its distributions for targets.

    Raises:
        ValueError: the teacher would have seen more real images than the classifier.
        FileNotFoundError, ArtifactError: the images are not there, or damaged.
    """
    settings, real = task.settings, zoo.real_of(task.place)
    if not settings["share"]:
        return None
    images, labels = zoo.load_drawn(task.place, settings["augmenter"], fitting_of(task))
    targets = classifiers.smoothed(labels, len(real.few.class_names), settings["smoothing"])
    if settings["labels"] == "class":
        return images, targets
    if len(real.whole.labels) != len(real.few.labels):
        raise ValueError(
            f"labels are {settings['labels']!r}, of a teacher that has seen {len(real.whole.labels)} real images, and "
            f"the classifier sees {len(real.few.labels)}; ask for as many images a class as the run has"
        )
    teacher = zoo.judge_of(task.place, task.tuned, device=task.device)
    if settings["labels"] == "teacher":
        with torch.no_grad():
            return images, torch.cat([teacher(part.to(task.device)).softmax(1).cpu() for part in images.split(500)])
    kept = classifiers.predict(teacher, images) == labels
    if settings["labels"] == "random":
        kept = rules.at_random(kept, labels, seed=task.seed)
    return images[kept], targets[kept]


def train(task: Task, drawn: Images | None) -> nn.Module:
    """Train the task's classifier and return it in eval mode."""
    settings, real = task.settings, zoo.real_of(task.place).few
    given = {name: settings[name] for name in (*zoo.TRAINED_BY, "averaging")}
    if drawn:
        given |= {"synthetic": drawn, "ratio": settings["share"]}
    attack = {"eps": settings["epsilon"] / 255, "steps": settings["inner"], "norm": settings["norm"]}
    return classifiers.train_classifier(
        real,
        real_targets=classifiers.smoothed(real.labels, len(real.class_names), settings["smoothing"]),
        objective=robust.objective(settings["loss"], beta=settings["beta"], seed=task.seed, **attack),
        seed=task.seed,
        device=task.device,
        **given,
    )


def side_of(settings: dict) -> str:
    """Return the side of the comparison that settings are of."""
    return SYNTHETIC if settings["share"] else REAL


def name_of(task: Task) -> str:
    """Return the name of the task's records and of its file."""
    key = artifacts.digest_json(task.settings)[:8]
    return zoo.name_of(task.place, side_of(task.settings), key, f"seed{task.seed}")


def inputs_of(task: Task, drawn: Images | None) -> dict[str, str]:
    """Return the digests of the images that the classifier is trained on."""
    real = zoo.real_of(task.place).few
    found = {"real": artifacts.digest({"images": real.images, "labels": real.labels})}
    if drawn:
        found["drawn"] = artifacts.digest({"images": to_uint8(drawn[0]), "targets": drawn[1]})
    return found


def network(task: Task, drawn: Images | None, inputs: dict[str, str]) -> nn.Module:
    """Return the task's classifier, from its file if that is of the same settings and images, else trained now."""
    file = paths.artifact(*task.place[:2], "robust") / f"{name_of(task)}.safetensors"
    real, key = zoo.real_of(task.place).few, artifacts.digest_json([task.settings, task.seed, inputs])
    if file.exists() and artifacts.load_tensors(file)[1].get("key") == key:
        build = lambda *_: classifiers.build(task.settings["classifier"], **real.shape())
        return learning.load_network(file, build, what="classifier", device=task.device)
    model = train(task, drawn)
    learning.save_network(file, model, {"key": key, "settings": task.settings, "seed": task.seed})
    return model


def once(task: Task, stage: str, measure, parameters: dict) -> dict:
    """Return the task's record of a stage: the one on disk, or ``measure`` of its classifier, made now.

    Args:
        measure: takes the classifier, returns metrics. parameters: of the measurement, beside the settings.
    """
    drawn = synthetic(task)
    inputs = inputs_of(task, drawn)
    fitted = fitting_of(task) if drawn else Fitting(0.0, "none", 0)
    asked = task.settings | zoo.told(task.place, fitted) | {"arm": side_of(task.settings), "seed": task.seed}

    def timed() -> dict:
        began = time.process_time()
        model = network(task, drawn, inputs)
        trained = time.process_time()
        found = measure(model.requires_grad_(False))
        spent = {"cpu_seconds": trained - began, "cpu_seconds_attacks": time.process_time() - trained}
        return (
            found | spent | {"gradients": gradients(task.settings), "n_real": len(zoo.real_of(task.place).few.labels)}
        )

    place, name = task.place, name_of(task)
    return records.once(*place[:2], stage, name, parameters=asked | parameters, inputs=inputs, measure=timed)


def gradients(settings: dict) -> int:
    """Return how many gradients of an image a training takes, those of the inner attack among them."""
    inner = settings["inner"] if settings["loss"] != "none" else 0
    return settings["steps"] * settings["batch_size"] * (inner + robust.PASSES[settings["loss"]])


def validate(task: Task) -> dict:
    """Return the record of a trial: accuracy and robust accuracy by PGD on validation images."""
    how, rest = task.plan["tuning"], zoo.real_of(task.place).rest
    each = max(1, min(how["images"] // len(rest.class_names), int(rest.labels.bincount().min())))
    held, _ = catalogue.subset(rest, each)
    attack = {"eps": task.settings["epsilon"] / 255, "norm": task.settings["norm"]}

    def measure(model: nn.Module) -> dict:
        stands = robustness.restarted(model, held.images, held.labels, restarts=1, steps=how["steps"], **attack)
        return {
            "accuracy": classifiers.accuracy(model, rest.images, rest.labels),
            "robust": float(stands.double().mean()),
            "n": len(held.labels),
        }

    return once(task, TUNING, measure, {"attack_images": how["images"], "attack_steps": how["steps"]})


def measure(task: Task) -> dict:
    """Return the record of a classifier's accuracy on all test images, and under attack on some of them.

    Each subset has test images of its own, so that the interval over subsets covers their choice.
    """
    test = catalogue.load(task.place.dataset, "test")
    n = min(task.plan["primary"]["images"], len(test.labels))
    few = robustness.sample_test(task.place.dataset, n, seed=task.place.subset)
    attack = {"eps": task.settings["epsilon"] / 255, "norm": task.settings["norm"]}

    def found(model: nn.Module) -> dict:
        stands = robustness.strongest(model, few.images, few.labels, **attack)
        return {
            "accuracy": classifiers.accuracy(model, test.images, test.labels),
            "robust": float(stands.double().mean()),
            "n": n,
            "n_test": len(test.labels),
        }

    return once(task, MEASURED, found, {"attack_images": n})


def check(task: Task) -> dict:
    """Return the record of what tells a robust classifier from one that hides its gradients, on some test images.

    The signs of masking; and beside the measure of the comparison, all of AutoAttack, and PGD with many restarts.
    """
    how = task.plan["checks"]
    n = min(how["images"], len(catalogue.load(task.place.dataset, "test").labels))
    few = robustness.sample_test(task.place.dataset, n, seed=task.place.subset)
    attack = {"eps": task.settings["epsilon"] / 255, "norm": task.settings["norm"]}
    share = lambda stands: float(stands.double().mean())

    def found(model: nn.Module) -> dict:
        data = (model, few.images, few.labels)
        eps = masking.budget(*data, norm=attack["norm"])
        adaptive = robustness.restarted(*data, restarts=how["restarts"], steps=how["steps"], **attack)
        return {
            "masking": {"epsilon": 255 * eps} | masking.signs(*data, eps=eps, norm=attack["norm"]),
            "robust": share(robustness.strongest(*data, **attack)),
            "autoattack": share(robustness.strongest(*data, whole=True, **attack)),
            "adaptive": share(adaptive),
            "n": n,
        }

    asked = {f"check_{name}": value for name, value in how.items()}
    return once(task, CHECKED, found, asked)
