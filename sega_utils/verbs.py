"""The verbs of ``python -m sega_utils`` for single parts: prompts, folders, checkpoints, tuning, timings, shards.

A verb imports what it needs when it runs, so that help and typing errors cost no time.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from sega_utils.core import paths
from sega_utils.training import recipes

VERBS: dict[str, tuple[Callable, list[tuple]]] = {}
RUN = [
    ("--run", {"default": "embedded", "help": "name of the results folder"}),
    ("--dataset", {"default": "fashion-mnist", "help": "data set, or folder:PATH"}),
]
DEVICE = ("--device", {"default": "auto", "choices": ("auto", "cpu", "cuda"), "help": "where to compute"})
SHARDS = [
    ("--candidates", {"type": int, "required": True, "help": "of all shards"}),
    ("--of", {"type": int, "required": True, "help": "number of shards"}),
    DEVICE,
]


def verb(name: str, *arguments: tuple) -> Callable:
    """Register a function as a verb; its docstring is the help, and the arguments are argparse's."""

    def register(function: Callable) -> Callable:
        VERBS[name] = function, list(arguments)
        return function

    return register


@verb(
    "prompts",
    ("--dataset", {"default": "fashion-mnist"}),
    ("--model", {"default": "gpt-4o-mini", "help": "an LLM, or template, which needs no key"}),
    (
        "--bank",
        {"type": Path, "help": "JSONL file, the data set's own if absent; or prompts in a text file to put there"},
    ),
    ("--base-url", {"help": "of any server compatible with OpenAI's"}),
    ("--n-prompts", {"type": int, "default": 12, "help": "prompts a class"}),
    ("--fraction", {"type": float, "help": "of the training images that the template looks at, that of 00_data"}),
    ("--prices", {"type": float, "nargs": 2, "metavar": ("READ", "WRITTEN"), "help": "of a million tokens"}),
)
def record_prompts(args: argparse.Namespace) -> None:
    """Record a data set's prompts and print their cost; the key is read from OPENAI_API_KEY."""
    from sega_utils.data import catalogue
    from sega_utils.text import authored, prompts

    if args.model == "template" or (args.bank and args.bank.suffix == ".txt"):
        print(authored.record(args.dataset, bank=args.bank, n_prompts=args.n_prompts, fraction=args.fraction))
        return
    bank = args.bank or catalogue.about(args.dataset)[1]
    used = prompts.record_prompts(
        args.dataset, model=args.model, bank=args.bank, base_url=args.base_url, n_prompts=args.n_prompts
    )
    print(
        f"{used['answers']} new answers of {args.model} in {paths.shown(bank)}: {used['read']:,} tokens read, "
        f"{used['written']:,} written; {used['unmetered']} answers came without a count"
    )
    cost = f"{prompts.price(used, args.prices):.4f}" if args.prices else "unknown; give --prices READ WRITTEN"
    print(f"cost: {cost}")


@verb("digits", ("path", {"type": Path, "metavar": "PATH", "help": "a new folder, e.g. build/digits"}))
def write_digits(args: argparse.Namespace) -> None:
    """Write scikit-learn's digits as a tree of class folders, to try folder:PATH with."""
    from sega_utils.data import folders

    print(f"wrote {folders.write_digits(args.path)} images; use them with DATASET=folder:{args.path}")


@verb(
    "proof-folders",
    ("path", {"type": Path, "metavar": "PATH", "help": "where the folders are written, e.g. build/proof"}),
    ("--folders", {"nargs": "+", "metavar": "NAME", "help": "which; all if absent"}),
    ("--seeds", {"type": int, "nargs": "+", "default": [0], "help": "each gives a folder of other images"}),
)
def write_proof_folders(args: argparse.Namespace) -> None:
    """Write folders of images on which a verdict of judge can be checked."""
    from sega_utils.studies import prove_folders

    for name in args.folders or prove_folders.FOLDERS:
        for seed in args.seeds:
            print(f"wrote {prove_folders.write(args.path, name, seed)}", flush=True)


@verb(
    "prove",
    ("--run", {"default": "proof", "help": "name of the results folder"}),
    ("--path", {"type": Path, "default": paths.ROOT / "build" / "proof", "help": "of the folders"}),
    ("--folders", {"nargs": "+", "metavar": "NAME", "help": "which; all if absent"}),
    ("--seeds", {"type": int, "nargs": "+", "default": [0]}),
    ("--full", {"action": "store_true", "help": "the judge's default plan, not its quick one"}),
    ("--backbone", {"default": "none", "help": "as of judge"}),
    ("--steps", {"type": int, "help": "of each classifier, instead of the plan's"}),
    ("--seconds", {"type": float, "help": "of each augmenter, instead of the plan's"}),
    ("--augmenters", {"nargs": "*", "help": "instead of the plan's"}),
    ("--workers", {"type": int, "help": "processes at a time, instead of the plan's"}),
)
def prove_judge(args: argparse.Namespace) -> None:
    """Judge folders whose right answer is known, and print how often the verdict agrees; a killed call goes on."""
    from sega_utils.core.numbers import aligned
    from sega_utils.studies import prove, prove_folders

    changes = prove.smaller(**{name: getattr(args, name) for name in ("steps", "seconds", "augmenters", "workers")})
    options = {"run": args.run, "quick": not args.full, "backbone": args.backbone, "changes": changes}
    for record in prove.prove(args.path, args.folders or [*prove_folders.FOLDERS], args.seeds, **options):
        print(f"{record['name']}: {record['verdict']['answer']}, agrees: {record['agrees']}", flush=True)
    found = prove.rows(args.run)
    print(aligned(found), aligned(prove.agreement(found)), sep="\n\n")


@verb(
    "studiogan",
    ("checkpoint", {"type": Path, "help": "model=G_ema-best-weights-step=....pth"}),
    ("target", {"type": Path, "help": "the .safetensors file to write, the CHECKPOINT of 02_generator"}),
    ("--run", {"required": True, "help": "a run that has been through 00_data with FRACTION = 1"}),
    ("--dataset", {"required": True}),
)
def adopt_generator(args: argparse.Namespace) -> None:
    """Turn a published checkpoint of PyTorch-StudioGAN into a generator of this project."""
    from sega_utils.augmenters import biggan

    digest = biggan.adopt(args.checkpoint, args.target, run=args.run, dataset=args.dataset)
    print(f"wrote {args.target}, digest {digest}")


@verb(
    "tune",
    *RUN,
    ("--arms", {"nargs": "+", "default": list(recipes.ARMS), "choices": recipes.ARMS}),
    ("--trials", {"type": int, "default": 6, "help": "trials for each arm"}),
    ("--finalists", {"type": int, "default": 2, "help": "trials that are repeated with the other seeds"}),
    ("--seeds", {"type": int, "nargs": "+", "default": [100, 101], "help": "never those of 05"}),
    ("--per-class", {"type": int, "default": 500, "help": "validation images a class"}),
    ("--workers", {"type": int, "default": 2, "help": "trials at a time"}),
)
def tune_arms(args: argparse.Namespace) -> None:
    """Choose each arm's settings on validation images, and write the trials and the winners."""
    from sega_utils.training import arms

    for arm in args.arms:  # saved arm by arm, so that what is lost to an interruption is one arm's search
        found = arms.tune(
            args.run,
            args.dataset,
            arm,
            trials=args.trials,
            finalists=args.finalists,
            seeds=args.seeds,
            per_class=args.per_class,
            workers=args.workers,
        )
        print(f"{arm}: {found}", flush=True)


@verb(
    "augmenters",
    *RUN,
    ("--file", {"type": Path, "default": paths.PARAMS / "augmenters.yaml", "help": "the plan; what is not given here"}),
    ("--augmenters", {"nargs": "*", "help": "names; none measures the arms on real images alone"}),
    ("--arms", {"nargs": "*", "help": "on real images alone"}),
    ("--onto", {"help": "the arm on real images that the augmenters' images join"}),
    ("--shares", {"type": float, "nargs": "+", "help": "of a batch, synthetic"}),
    ("--per-class", {"type": int, "help": "real images of each class"}),
    (
        "--protocol",
        {"choices": ("A", "B", "run"), "help": "fitted on the same images, on all of the subset, or the run's"},
    ),
    ("--seconds", {"type": float, "help": "of the CPU, for each augmenter"}),
    ("--steps", {"type": int, "help": "of each classifier"}),
    ("--subsets", {"type": int, "nargs": "+", "help": "0 is the run's own"}),
    ("--seeds", {"type": int, "nargs": "+", "help": "of the classifiers"}),
    ("--tuned", {"type": Path, "default": paths.PARAMS / "tuned.yaml", "help": "settings of arms"}),
    ("--workers", {"type": int, "default": 2, "help": "trainings at a time"}),
    ("--brief", {"action": "store_true", "help": "print no tables"}),
)
def measure_augmenters(args: argparse.Namespace) -> None:
    """Train the zoo's augmenters and classifiers with and without them, as planned; a killed run goes on."""
    from sega_utils.core.numbers import aligned
    from sega_utils.studies import zoo_campaign, zoo_plan, zoo_tables

    plan = zoo_plan.read(args.file)
    given = {name: value for name, value in vars(args).items() if name in zoo_campaign.ASKED and value is not None}
    for line in zoo_campaign.measure(args.run, args.dataset, plan, given, recipes.read(args.tuned), args.workers):
        print(line, flush=True)
    tables = zoo_tables.write_tables(args.run, args.dataset, plan)
    if not args.brief:
        print(*(f"{name}\n{aligned(rows)}\n" for name, rows in tables.items()), sep="\n")


@verb(
    "keep-augmenters",
    *RUN,
    ("--file", {"type": Path, "default": paths.PARAMS / "augmenters.yaml", "help": "the plan; what is not given here"}),
    ("--augmenters", {"nargs": "+", "help": "names"}),
    ("--per-class", {"type": int, "help": "real images of each class"}),
    ("--seconds", {"type": float, "help": "of the CPU, that each was trained for"}),
)
def keep_augmenters(args: argparse.Namespace) -> None:
    """Write states of a run's subset 0, in half precision, among the committed results that 10_augmenters shows."""
    from sega_utils.studies import zoo, zoo_plan, zoo_states
    from sega_utils.studies.zoo_members import made_of

    plan = zoo_plan.read(args.file)
    plan |= plan["primary"] | {"augmenters": [name for name in plan["augmenters"] if not made_of(name)]}
    plan |= {name: value for name, value in vars(args).items() if name in plan and value is not None}
    place = zoo.Place(args.run, args.dataset, per_class=plan["per_class"])
    fitting = zoo.Fitting(float(plan["seconds"]), plan["protocol"])
    for file in zoo_states.keep(place, plan["augmenters"], fitting):
        print(f"wrote {paths.shown(file)}, {file.stat().st_size / 1e6:.2f} MB")


@verb(
    "benchmark",
    *RUN,
    ("--images", {"type": int, "nargs": "*", "default": [], "help": "for the kernels"}),
    ("--candidates", {"type": int, "nargs": "*", "default": [], "help": "for the growth"}),
    ("--repeats", {"type": int, "default": 5, "help": "turns of each kernel"}),
    DEVICE,
)
def time_kernels(args: argparse.Namespace) -> None:
    """Time our kernels beside the libraries people use for the same, and how the cost of the pipeline grows."""
    from sega_utils.core import numbers, runtime
    from sega_utils.studies import benchmark, shards

    found = benchmark.measure(
        args.run,
        args.dataset,
        images=args.images,
        candidates=args.candidates,
        repeats=args.repeats,
        device=runtime.start(0, args.device),
    )
    for rows in filter(None, (benchmark.kernel_rows(found), shards.growth_rows(found))):
        print(numbers.aligned(rows), end="\n\n")
    if len(args.candidates) > 1:
        power = numbers.exponent(shards.growth_rows(found))
        print(f"seconds grow as the number of candidates to the power of {power:.2f}")


@verb(
    "loops",
    *RUN,
    ("--tuned", {"type": Path, "default": paths.PARAMS / "tuned.yaml", "help": "settings of arms"}),
    ("--classifier", {"default": "", "help": "which one, where --tuned is a file of several"}),
    ("--steps", {"type": int, "help": "of each training, instead of the settings'"}),
    ("--precision", {"nargs": "+", "help": "of both loops, instead of the settings'; several in turn"}),
    ("--compile", {"action": "store_true", "help": "compile the network for both loops"}),
    ("--workers", {"type": int, "nargs": "+", "default": [2], "help": "of the DataLoader; several in turn"}),
    ("--turns", {"type": int, "default": 5, "help": "trainings of each loop, each with another seed"}),
    DEVICE,
)
def time_loops(args: argparse.Namespace) -> None:
    """Train with our loop and with a plain one in turns, and compare time and accuracy."""
    from sega_utils.core import numbers, runtime
    from sega_utils.studies import loops

    asked = {"steps": args.steps, "compile": args.compile or None}
    found = loops.compare(
        args.run,
        args.dataset,
        args.tuned,
        asked,
        classifier=args.classifier,
        precisions=args.precision,
        workers=args.workers,
        turns=args.turns,
        device=runtime.start(0, args.device),
    )
    print(numbers.aligned(loops.loop_rows(found)))


@verb(
    "attacks",
    *RUN,
    ("--arm", {"default": "Std Aug", "choices": recipes.ARMS}),
    ("--seed", {"type": int, "default": 0}),
    ("--images", {"type": int, "default": 50, "help": "test images"}),
    ("--epsilons", {"type": float, "nargs": "+", "default": [8, 16], "help": "in 1/255"}),
)
def time_attacks(args: argparse.Namespace) -> int:
    """Run our AutoAttack and its reference's own loop once each; the status is 0, or 1 if a verdict differs."""
    from sega_utils.core.numbers import aligned
    from sega_utils.evaluation import classified, robustness
    from sega_utils.studies import benchmark

    model, _ = classified.load_classifier(args.run, args.dataset, args.arm, args.seed)
    images, labels, *_ = robustness.sample_test(args.dataset, args.images)
    rows = [
        {"epsilon": f"{eps:g}/255"} | benchmark.compare_with_reference(model, images, labels, eps=eps / 255)
        for eps in args.epsilons
    ]
    shown = ("epsilon", "n", "accuracy_ours", "agreement", "seconds_ours", "seconds_reference", "speedup")
    print(aligned([{name: row[name] for name in shown} for row in rows]))
    return int(any(row["agreement"] < 1 for row in rows))


@verb("shard-draw", *RUN, *SHARDS, ("--shard", {"type": int, "required": True, "help": "from 0 on"}))
def draw_shard(args: argparse.Namespace) -> None:
    """Draw and filter one shard of very many candidates."""
    from sega_utils.core import runtime
    from sega_utils.studies import shards

    device = runtime.start(0, args.device)
    found = shards.draw_shard(args.run, args.dataset, args.shard, of=args.of, n=args.candidates, device=device)
    print(shards.counts_text(found))


@verb("shard-merge", *RUN, *SHARDS)
def merge_shards(args: argparse.Namespace) -> None:
    """Merge all shards into one set without near-duplicates."""
    from sega_utils.core import runtime
    from sega_utils.studies import shards

    device = runtime.start(0, args.device)
    print(shards.counts_text(shards.merge(args.run, args.dataset, of=args.of, n=args.candidates, device=device)))


@verb("shard-estimate", *RUN, ("--candidates", {"type": int, "nargs": "+", "required": True, "help": "numbers"}))
def estimate_shards(args: argparse.Namespace) -> None:
    """Print what many candidates would take, from the draws and merges on record."""
    from sega_utils.core.numbers import aligned
    from sega_utils.studies import shards

    print(aligned(shards.estimate(args.run, args.dataset, args.candidates)))


@verb(
    "judge",
    ("path", {"type": Path, "metavar": "PATH", "help": "a folder of class folders, or of train and test with these"}),
    ("--run", {"default": "judge", "help": "name of the results folder"}),
    ("--quick", {"action": "store_true", "help": "a quarter of an hour on two cores, instead of an hour"}),
    ("--backbone", {"default": "lite0", "help": "lite0, none, or a name that timm knows with its weights"}),
)
def judge_folder(args: argparse.Namespace) -> None:
    """Answer for a folder of images whether synthetic ones would help, without and with outside images."""
    from sega_utils.core import artifacts
    from sega_utils.report import verdict
    from sega_utils.studies import judge

    root = args.path.expanduser().resolve()
    found = judge.judge(root, run=args.run, quick=args.quick, backbone=args.backbone)
    place = paths.artifact(args.run, f"{paths.OWN}{root}", "judge")
    artifacts.save_text(place / "verdict.txt", verdict.text(found) + "\n")
    print(f"\n{verdict.text(found)}\n\n{paths.shown(verdict.html(found, root, place / 'verdict.html'))}")
