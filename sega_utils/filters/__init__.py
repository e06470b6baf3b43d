"""Filters: scores of images, and the mask of those worth keeping; a CLIP is an argument.

Notebooks use: leaks.find, leaks.survey, rules.thresholds.
"""

from sega_utils.filters.duplicates import near_duplicates
from sega_utils.filters.hashes import hamming
from sega_utils.filters.kernels import blur_score, phash, ssim
from sega_utils.filters.rules import FILTERS, apply_filters, calibrate, class_scores, clip_score

__all__ = [
    "FILTERS",
    "apply_filters",
    "blur_score",
    "calibrate",
    "class_scores",
    "clip_score",
    "hamming",
    "near_duplicates",
    "phash",
    "ssim",
]
