"""Verbs that answer for a folder of the user's own images, and that check such answers."""

import argparse
from pathlib import Path

from sega_utils.core import paths
from sega_utils.verbs import verb


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
    from sega_utils.studies.judge import judge

    root = args.path.expanduser().resolve()
    found = judge.judge(root, run=args.run, quick=args.quick, backbone=args.backbone)
    place = paths.artifact(args.run, f"{paths.OWN}{root}", "judge")
    artifacts.save_text(place / "verdict.txt", verdict.text(found) + "\n")
    print(f"\n{verdict.text(found)}\n\n{paths.shown(verdict.html(found, root, place / 'verdict.html'))}")


@verb(
    "proof-folders",
    ("path", {"type": Path, "metavar": "PATH", "help": "where the folders are written, e.g. build/proof"}),
    ("--folders", {"nargs": "+", "metavar": "NAME", "help": "which; all if absent"}),
    ("--seeds", {"type": int, "nargs": "+", "default": [0], "help": "each gives a folder of other images"}),
)
def write_proof_folders(args: argparse.Namespace) -> None:
    """Write folders of images on which a verdict of judge can be checked."""
    from sega_utils.studies.prove import folders as prove_folders

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
    from sega_utils.studies.prove import folders as prove_folders, prove

    changes = prove.smaller(**{name: getattr(args, name) for name in ("steps", "seconds", "augmenters", "workers")})
    options = {"run": args.run, "quick": not args.full, "backbone": args.backbone, "changes": changes}
    for record in prove.prove(args.path, args.folders or [*prove_folders.FOLDERS], args.seeds, **options):
        print(f"{record['name']}: {record['verdict']['answer']}, agrees: {record['agrees']}", flush=True)
    found = prove.rows(args.run)
    print(aligned(found), aligned(prove.agreement(found)), sep="\n\n")
