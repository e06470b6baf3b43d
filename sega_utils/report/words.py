"""Readable names for what code and tables call by short ones."""

from sega_utils.studies.entries import FRACTION, REAL

# name of an ablation: what it changes
ABLATIONS = {
    "components": "parts of the method",
    "filters": "filters",
    "alignment_percentile": "alignment filter, percentile of real images",
    "blur_percentile": "blur filter, percentile of real images",
    "ratio_replace": "synthetic share of a step, in place of real images",
    "ratio_add": "synthetic share, on top of a full step",
    "ratio_add" + REAL: "as many more real images, on top of a full step",
    "steps": "optimiser steps",
    "steps" + REAL: "optimiser steps, real images only",
    "amount": "distinct synthetic images, multiples of N_syn",
    "labels": "labels of synthetic images",
    "mixing": "mixing of images",
    "sigma": "noise of the latents (sigma)",
    "tau": "temperature of the contrast (tau)",
    "lam": "weight of the regulariser (lambda)",
    "m": "clusters a class (m)",
    "n_prompts": "prompts a class",
    "prompts": "prompts",
    "batches": "how a step mixes real and synthetic images",
    "weight": "weight of a synthetic image in the loss",
    "supervision": "supervision after the stages, real images only",
    "sift": "a further choice among what the filters keep",
    FRACTION: "fraction of the real data",
}
LOGARITHMIC = ("tau", "steps", "amount", "n_prompts", "weight")  # their values are steps of a factor
# value of an ablation: what it is
VALUES = {
    "only real_duplicate": "only copies of real images",
    "only duplicate": "only copies of kept images",
    "random as real_duplicate": "as many at random as copies of real images",
    "random as duplicate": "as many at random as copies of kept images",
    "random as alignment": "as many at random as alignment",
    "random as class": "as many at random as class",
    "random as blur": "as many at random as blur",
    "random as all": "as many at random as all filters",
    "shuffled": "of other classes (shuffled)",
    "random as density ratio": "as many at random as density ratio",
    "random as teacher": "as many at random as teacher",
    "views": "none, on two views of each image",
}
# why the filters of ``rules.FILTERS`` reject an image, in a few words
REASONS = {
    "alignment": "unlike its class",
    "class": "more like another",
    "blur": "blurred",
    "real_duplicate": "copies a real image",
    "duplicate": "copies a kept image",
    "test_duplicate": "copies a test image",
}
# column of a table: what people read
COLUMNS = {
    "seconds_per_image": "seconds for each image drawn",
    "seconds_per_kept_image": "seconds for each image kept",
    "peak_memory_gb": "peak memory in GiB",
    "params_millions": "million parameters",
    "frechet": "Frechet distance (lower is better)",
    "agreement": "CLIP sees the class asked for",
    "nas": "accuracy from real and drawn images (nas), %",
    "cas": "accuracy from drawn images alone (cas), %",
    "fid": "FID",
    "kid": "KID",
    "iqr": "interquartile range",
    "n": "images",
    "effect": "effect (Cohen's d)",
    "ci_low": "interval from",
    "ci_high": "to",
    "seconds_ours": "seconds, ours",
    "seconds_theirs": "seconds, theirs",
    "ours_q1": "ours, quartile 1",
    "ours_q3": "ours, quartile 3",
    "theirs_q1": "theirs, quartile 1",
    "theirs_q3": "theirs, quartile 3",
    "difference": "largest difference",
    "drawing_hours": "hours of drawing",
    "machines_for_a_day": "machines, to draw within a day",
    "search_exponent": "exponent of the search",
    "merging_hours": "hours of merging",
    "shard_memory_gb": "GiB of memory, drawing",
    "merge_memory_gb": "GiB of memory, merging",
    "disk_gb": "GiB on disk",
}


def readable(name: str) -> str:
    """Return a column's name for people; without underscores where no words are listed."""
    return COLUMNS.get(name, name.replace("_", " "))


def entry(row: dict) -> str:
    """Return an ablation's row in words: what is changed, and for choices what it is changed to."""
    value = row["value"]
    shown = VALUES.get(value, value) if isinstance(value, str) else f"{value:g}"
    arm = f", {row['arm']}" if row.get("arm") else ""
    return f"{ABLATIONS.get(row['name'], row['name'])}: {shown}{arm}"
