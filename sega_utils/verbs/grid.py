"""Verbs of the paper's grid."""

import argparse
from pathlib import Path

from sega_utils.core import paths
from sega_utils.verbs import verb

GRID = [
    ("--grid", {"type": Path, "default": paths.PARAMS / "grid.yaml", "help": "what is multiplied"}),
    ("--params", {"type": Path, "default": paths.PARAMS / "paper.yaml", "help": "what the notebooks are given"}),
]


@verb("grid-cost", *GRID, ("--tflops", {"type": float, "default": 20.0, "help": "that a GPU is assumed to sustain"}))
def cost_grid(args: argparse.Namespace) -> None:
    """Print the jobs and GPU hours of the paper's grid."""
    from sega_utils.studies import grid, grid_results

    print(grid_results.cost_text(grid.read(args.grid, args.params), args.params, sustained=args.tflops))


@verb("grid-accuracy", *GRID, ("--run", {"default": "paper", "help": "what the names of its runs begin with"}))
def tabulate_grid(args: argparse.Namespace) -> None:
    """Write and print one table of the accuracies of all finished runs of a grid."""
    from sega_utils.studies import grid, grid_results

    print(grid_results.accuracies_text(grid.read(args.grid, args.params), args.run))
