"""Verbs for what a run begins with: prompts, a folder to try it on, the weights of a published generator."""

import argparse
from pathlib import Path

from sega_utils.core import paths
from sega_utils.verbs import verb


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
    "restorer",
    ("checkpoint", {"type": Path, "help": "e.g. 001_classicalSR_DIV2K_s48w8_SwinIR-M_x2.pth"}),
    ("target", {"type": Path, "help": "the .safetensors file to write, the restorer of flare.yaml"}),
)
def adopt_restorer(args: argparse.Namespace) -> None:
    """Turn published weights of super-resolution, e.g. SwinIR's, into a file that FLARE restores with."""
    from sega_utils.augmenters import published_restorer

    print(f"wrote {args.target}, digest {published_restorer.adopt(args.checkpoint, args.target)}")
