"""In how many rounds very many candidates are searched; Snakemake plans with it, so it needs no torch."""

import math

FIRST, GROWTH = 2_000, 4  # candidates that the first round is of at most, and what their number grows by


def rounds(n: int) -> int:
    """Return in how many rounds ``n`` candidates are searched."""
    return 1 + max(0, math.ceil(math.log(n / FIRST, GROWTH)))
