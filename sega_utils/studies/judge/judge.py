"""Should a folder of images get synthetic ones? One plan, one selection inside the training images, one answer."""

from collections.abc import Callable
from pathlib import Path

import torch

from sega_utils.core import artifacts, paths, runtime
from sega_utils.data import outside
from sega_utils.evaluation import calibration
from sega_utils.studies.judge import (
    arms as judge_arms,
    details as judge_details,
    files as judge_files,
    folder as judge_folder,
    instruments as judge_instruments,
    outside as judge_outside,
    plan as judge_plan,
    tuned as judge_tuned,
    verdict as numbers,
)
from sega_utils.studies.judge.arms import ARMS, Job, Plan
from sega_utils.text import outside_clip

SHARES = (0.5, 0.75)  # of the training images, for the learning curve


def judge(
    folder: Path | str,
    *,
    run: str = "judge",
    quick: bool = False,
    backbone: str = outside.LITE0,
    plan: Plan | None = None,
    say: Callable[[str], None] = print,
) -> dict:
    """Judge a folder of images, write everything below ``results/<run>/<name-digest>/judge``, and return the verdict.

    Args:
        folder: as for ``folders.find_files``; ``~`` is the home. quick, backbone: as for ``judge_plan.make``.
        plan: another than the folder's own. say: is told the plan and every step.

    Returns:
        What ``verdict.json`` holds, see ``Judgement``.

    Raises:
        FileNotFoundError, ValueError: the folder or the backbone cannot be used; known before anything is trained.
    """
    root = Path(folder).expanduser().resolve()
    dataset = f"{paths.OWN}{root}"
    with runtime.measure() as cost:
        pictures, mine = judge_folder.look(root), judge_folder.place(run, dataset)
        backbone = plan.backbone if plan else backbone
        known = backbone if backbone != outside.LITE0 or outside.is_installed() else outside.NONE
        if known != outside.NONE:
            outside.load(known)
        plan = plan or judge_plan.choose(mine / "plan.json", pictures, quick=quick, backbone=known)
        plan = plan._replace(backbone=known, tuned=plan.tuned if known != outside.NONE else 0)
        tests, folds = judge_folder.split(mine / "split.csv", pictures)
        judge_folder.store(mine, pictures, tests, folds, plan.side)
        artifacts.save_csv(mine / "left-out.csv", pictures.left_out, judge_folder.LEFT_OUT)
        planned = judge_plan.rows(plan, pictures, tests)
        minutes = judge_plan.minutes(plan, pictures)
        say("\n".join(f"{row['what']:16} {row['plan']}" for row in planned))
        say(f"{'minutes':16} at most {minutes:.0f} on this machine as busy as it is now; a killed run goes on")
        found = Judgement(run, dataset, plan, pictures, say).all()
    found |= {"plan": planned, "minutes": cost["seconds"] / 60, "folder": root.name, "quick": quick}
    found |= {"spared": list(plan.spared), "asked": backbone}
    artifacts.save_json(mine / "verdict.json", found)
    return found


class Judgement:
    """The steps of one verdict, each on what the ones before it have left.

    Args:
        run, dataset: of the results. plan: of ``judge_plan``; pictures: that the judge has looked at.
    """

    def __init__(self, run: str, dataset: str, plan: Plan, pictures: judge_folder.Pictures, say: Callable):
        self.run, self.dataset, self.plan, self.pictures, self.say = run, dataset, plan, pictures, say
        self.folder = judge_folder.place(run, dataset)
        self.judged = judge_folder.load(self.folder)
        self.data, self.tests = self.judged.data, self.judged.tests
        self.labels = self.data.labels[self.tests]
        self.counts_as = numbers.weights_of(self.labels, balanced=plan.balanced)
        self.parts = [f"r{r}f{f}" for r in range(plan.repeats) for f in range(judge_folder.FOLDS)]

    def all(self) -> dict:
        """Return the whole verdict, as numbers, texts, lists and dicts."""
        real, scores = self.select_real()
        augmenter, gates, cv = self.select_augmenter(real)
        logits = self.final(real, augmenter)
        hits = {name: own.argmax(2) == self.labels for name, own in logits.items()}
        synthetic = f"{real} + {augmenter}" if augmenter else ""
        best, overruled = numbers.overruled({arm: hits[arm] for arm in ARMS}, real, self.counts_as)
        inside = {"selected": real, "best": best, "overruled": overruled, "augmenter": augmenter, "gates": gates}
        inside |= {"cv": scores | cv, "test": {arm: self.accuracy(own) for arm, own in hits.items()}}
        if augmenter:
            inside["difference"] = found = numbers.difference(hits[synthetic], hits[best], self.counts_as)
            inside["needed"] = numbers.needed(found)
        inside["answer"] = numbers.answer(found) if augmenter else "no"
        sizes = int((~self.tests).sum()), int(self.tests.sum())
        inside["strange"] = numbers.strange(scores[best], inside["test"][best], *sizes)
        beyond = self.with_outside(augmenter, hits[best])
        curve = self.learning_curve(real)
        return {
            "classes": list(self.data.class_names),
            "n_training": sizes[0],
            "n_test": sizes[1],
            "left_out": len(self.pictures.left_out),
            "inside": inside,
            "outside": beyond,
            "curve": curve,
            "more_images": judge_details.more_images([(row["images a class"], row["accuracy"]) for row in curve])
            if curve
            else {},
            "augmenter_minutes": self.minutes_of(augmenter),
        } | self.details(real, best, synthetic, augmenter, logits, hits)

    def accuracy(self, hits: torch.Tensor) -> float:
        """Return the accuracy in percent of hits bool (S, N_test), the mean over the seeds."""
        return float((100 * hits.double() @ self.counts_as).mean())

    def out_of_fold(self, arm: str, augmenter: str = "") -> torch.Tensor:
        """Return the logits (R, N_train, K) of the training images, each from classifiers that have not seen it."""
        rows = torch.empty(self.plan.repeats, len(self.data.labels), len(self.data.class_names))
        for part in self.parts:
            held = judge_arms.part_of(self.judged, part)[1]
            model = judge_arms.classifier(self.folder, Job(arm, augmenter, part, int(part[1 : part.index("f")])))
            rows[int(part[1 : part.index("f")]), held] = judge_arms.logits(model, self.data.images[held])
        return rows[:, ~self.tests]

    def cv_score(self, arm: str, augmenter: str = "") -> float:
        """Return an arm's accuracy inside the training images, in percent."""
        labels = self.data.labels[~self.tests]
        hits = self.out_of_fold(arm, augmenter).argmax(2) == labels
        weights = numbers.weights_of(labels, balanced=self.plan.balanced)
        return float((100 * hits.double() @ weights).mean())

    def train(self, jobs: list[Job], label: str) -> None:
        """Train what is not on record."""
        self.say(f"{label}: {len(jobs)} trainings")
        judge_arms.train_all(self.run, self.dataset, self.plan, jobs, label)

    def cross(self, arm: str, augmenter: str = "") -> list[Job]:
        """Return the trainings of an arm's cross-validation; the repeats differ in their seeds, too."""
        return [Job(arm, augmenter, part, int(part[1 : part.index("f")])) for part in self.parts]

    def select_real(self) -> tuple[str, dict[str, float]]:
        """Return the arm on real images that is best inside the training images, and the accuracies of all."""
        self.train([job for arm in ARMS for job in self.cross(arm)], "real images, cross-validation")
        scores = {arm: self.cv_score(arm) for arm in ARMS}
        return max(scores, key=scores.get), scores

    def select_augmenter(self, arm: str) -> tuple[str, list[dict], dict[str, float]]:
        """Return the best augmenter that passes the gate, or an empty name, what the gate found, and accuracies."""
        first = [(name, "r0f0", 0) for name in self.plan.augmenters]
        self.say(f"augmenters, at the gate: {', '.join(self.plan.augmenters) or 'none'}")
        gates = judge_arms.draw_all(self.run, self.dataset, self.plan, first, "gate")
        passing = [name for (name, *_), gate in zip(first, gates, strict=True) if gate["passed"]]
        wanted = [(job.augmenter, job.part, job.seed) for name in passing for job in self.cross(arm, name)]
        drawn = judge_arms.draw_all(self.run, self.dataset, self.plan, wanted, "pools")
        refused = {name for (name, *_), gate in zip(wanted, drawn, strict=True) if not gate["passed"]}
        passing = [name for name in passing if name not in refused]
        if passing:
            self.train([job for name in passing for job in self.cross(arm, name)], "synthetic images, cross-validation")
        scores = {name: self.cv_score(arm, name) for name in passing}
        best = self.best_that_passes(scores, refused)
        rows = [
            {"augmenter": name} | gate_row(gate, in_part=name in refused)
            for (name, *_), gate in zip(first, gates, strict=True)
        ]
        return best, rows, {f"{arm} + {name}": score for name, score in scores.items()}

    def best_that_passes(self, scores: dict[str, float], refused: set[str]) -> str:
        """Return the augmenter of the highest score whose final pools pass the gate, too, or an empty name.

        Args:
            refused: takes up those whose pools do not.
        """
        for best in sorted(scores, key=scores.get, reverse=True):
            final = [(best, judge_arms.WHOLE, seed) for seed in range(self.plan.seeds)]
            if all(gate["passed"] for gate in judge_arms.draw_all(self.run, self.dataset, self.plan, final, "pools")):
                return best
            refused.add(best)
        return ""

    def final(self, arm: str, augmenter: str) -> dict[str, torch.Tensor]:
        """Return the logits (S, N_test, K) on the test images, which are read here and nowhere before."""
        seeds = range(self.plan.seeds)
        jobs = {name: [Job(name, seed=s) for s in seeds] for name in ARMS}
        if augmenter:
            jobs[f"{arm} + {augmenter}"] = [Job(arm, augmenter, seed=s) for s in seeds]
        smaller = [job for own in self.smaller(arm).values() for job in own]
        self.train([job for own in jobs.values() for job in own] + smaller, "all training images, and fewer")
        images = self.data.images[self.tests]
        of = lambda job: judge_arms.logits(judge_arms.classifier(self.folder, job), images)
        return {name: torch.stack([of(job) for job in own]) for name, own in jobs.items()}

    def smaller(self, arm: str) -> dict[float, list[Job]]:
        """Return the trainings of the learning curve on each share of the images."""
        folds, seeds = range(judge_folder.FOLDS), range(self.plan.curve)
        return {share: [Job(arm, "", f"r0f{f}", seed, share) for f in folds for seed in seeds] for share in SHARES}

    def with_outside(self, augmenter: str, best: torch.Tensor) -> dict:
        """Return the block of arms with outside images; of a plan without, the command that tries it."""
        if self.plan.backbone == outside.NONE:
            return {}
        self.say(f"outside images: {self.plan.backbone}")
        asked = self.run, self.dataset, self.plan, self.pictures, augmenter
        record, frozen = judge_outside.measure(*asked)
        arms, logits = [self.outside_arm("frozen", record, frozen, best)], {"frozen": frozen}
        self.frozen = frozen
        if self.plan.tuned:
            self.say(f"outside images, fine-tuned: {judge_tuned.count(self.plan)} trainings")
            tuned, logits["fine-tuned"] = judge_tuned.measure(*asked)
            arms.append(self.outside_arm("fine-tuned", tuned, logits["fine-tuned"], best))
        chosen = max(arms, key=lambda arm: arm["cv"])
        self.known = logits[chosen["how"]]
        found = {"backbone": self.plan.backbone, "images": record["images"], "arms": arms}
        if self.plan.backbone == outside.LITE0 and outside_clip.is_installed():
            found["by_name"] = 100 * judge_outside.by_name(*asked[:4])["accuracy"]
        return found | self.instruments() | chosen

    def instruments(self) -> dict:
        """Return what the backbone's features say of each augmenter's first pool, and which pictures may be twins."""
        gates = judge_instruments.gates(self.run, self.dataset, self.plan)
        rows = [{"augmenter": name} | gate_row(gate) for name, gate in gates.items()]
        twins = judge_instruments.twins(self.run, self.dataset, self.plan, self.pictures)
        artifacts.save_csv(self.folder / "possible-twins.csv", twins, judge_instruments.TWINS)
        return {"gates": rows, "twins": twins}

    def outside_arm(self, how: str, record: dict, logits: dict[str, torch.Tensor], best: torch.Tensor) -> dict:
        """Return what an arm with outside images reaches, beside the best without, and what synthetic images add to it.

        Args:
            logits: as ``judge_outside.measure`` returns them. best: hits of the best arm without.
        """
        hits = logits["test"].argmax(2) == self.labels
        found = {"how": how, "cv": record["cv_accuracy"], "seconds": record["seconds"], "test": self.accuracy(hits)}
        beside = best if len(hits) == 1 else best[: len(hits)]
        found["gain"] = numbers.difference(hits, beside, self.counts_as)
        if "with_pools" not in logits:
            return found | {"answer": "no"}
        with_pools = logits["with_pools"].argmax(2) == self.labels
        found["difference"] = numbers.difference(with_pools, hits, self.counts_as)
        found |= {"test_synthetic": self.accuracy(with_pools), "needed": numbers.needed(found["difference"])}
        return found | {"answer": numbers.answer(found["difference"])}

    def learning_curve(self, arm: str) -> list[dict]:
        """Return accuracy inside the training images for fewer of them, and all."""
        if not self.plan.curve:
            return []
        jobs = self.smaller(arm)
        jobs[1.0] = [Job(arm, "", f"r0f{f}") for f in range(judge_folder.FOLDS)]
        rows = []
        for own in jobs.values():
            right = n = trained = 0
            for job in own:
                train, held = judge_arms.part_of(self.judged, job.part, job.share)
                logits = judge_arms.logits(judge_arms.classifier(self.folder, job), self.data.images[held])
                right += int((logits.argmax(1) == self.data.labels[held]).sum())
                n, trained = n + len(held), trained + len(train)
            each = trained / len(own) / len(self.data.class_names)
            rows.append({"images a class": each, "accuracy": 100 * right / n, "trainings": len(own)})
        return rows

    def minutes_of(self, augmenter: str) -> float:
        """Return how many minutes the chosen augmenter took for one pool; 0 for none."""
        if not augmenter:
            return 0.0
        drawn = judge_arms.draw(self.run, self.dataset, self.plan, augmenter, judge_arms.WHOLE, 0)
        return drawn["seconds"] / 60

    def details(self, real: str, best: str, synthetic: str, augmenter: str, logits: dict, hits: dict) -> dict:
        """Return what stands below the verdict, and hand out the files."""
        names, train = self.data.class_names, self.data.labels[~self.tests]
        inside = self.out_of_fold(real)
        shown = {name: hits[name] for name in dict.fromkeys((best, synthetic)) if name}
        arms = {best: (logits[best][0], self.labels, calibration.temperature_of(self.out_of_fold(best)[0], train))}
        suspects = {"the run's own classifiers": inside.log_softmax(2).mean(0)}
        if self.plan.backbone != outside.NONE:
            temperature = calibration.temperature_of(self.known["training"], train)
            arms["outside images"] = (self.known["test"][0], self.labels, temperature)
            shown["outside images"] = self.known["test"].argmax(2) == self.labels
            suspects[self.plan.backbone] = self.known["training"]
        file_of = lambda places: lambda row: row | {"image": self.file_of(places, row["image"])}
        train_places, test_places = ((~self.tests).nonzero()[:, 0], self.tests.nonzero()[:, 0])
        suspicious = [
            {"by": by} | row
            for by, own in suspects.items()
            for row in map(file_of(train_places), judge_details.suspicious_rows(own, train, names))
        ]
        artifacts.save_csv(
            self.folder / "suspicious-labels.csv", suspicious, ("by", "image", "label", "probably", "margin")
        )
        use = judge_files.write(
            self.folder, Job(best), names=names, temperature=arms[best][2], mirrors=self.data.mirrors
        )
        use += self.hand_out_frozen(train) if self.plan.backbone != outside.NONE else []
        drawn = judge_files.write_synthetic(self.folder, augmenter, self.pictures, most=len(train)) if augmenter else 0
        curve = judge_details.confusion_rows(logits[best], self.labels, names)
        return {
            "by_class": judge_details.class_rows(shown, self.labels, train, names),
            "confusion": curve,
            "mistakes": list(map(file_of(test_places), judge_details.mistake_rows(logits[best], self.labels, names))),
            "suspicious": suspicious,
            "calibration": judge_details.calibration_rows(arms),
            "files": use,
            "synthetic_files": drawn,
        }

    def hand_out_frozen(self, train: torch.Tensor) -> list[str]:
        """Write the layer on the frozen backbone for the user, and return the names of the files."""
        layer = {name: self.frozen[name] for name in ("weight", "bias")}
        temperature = calibration.temperature_of(self.frozen["training"], train)
        about = {"backbone": self.plan.backbone, "names": self.data.class_names, "temperature": temperature}
        return judge_files.write_outside(self.folder, layer, **about)

    def file_of(self, places: torch.Tensor, i: int) -> str:
        """Return the path, inside the user's folder, of the image at a place among some."""
        return self.pictures.files[places[i]].relative_to(self.pictures.root).as_posix()


def gate_row(record: dict, *, in_part: bool = False) -> dict:
    """Return what the gate found of an augmenter, for people.

    Args:
        in_part: its first pool has passed, and a later one has not.
    """
    names = ("agreement", "agreement_real", "precision", "precision_real", "distance", "distance_real", "copies")
    passed = "not in every part" if in_part else "yes" if record["passed"] else "no"
    return {name: record[name] for name in names} | {"passed": passed, "reasons": record["reasons"]}
