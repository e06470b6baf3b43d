"""GenVision's questions, asked of the zoo's records, and all tables of the zoo.

Which sampler, which beta, one model or all together, and whether the gain grows where images are fewer. Of an
augmenter's shares, the one that is best on validation images counts; differences are those of ``zoo_rows.difference``.
"""

import math

import numpy as np

from sega_utils.core import numbers
from sega_utils.studies.zoo import rows as zoo_rows
from sega_utils.studies.zoo.members import PARTS
from sega_utils.studies.zoo.rows import Key

# what is asked; whose gain; over the best on validation images of these
QUESTIONS = (
    ("DDPM or DDIM", "ddpm 1000", ("ddim 100",)),
    ("DDPM in fewer steps", "ddpm", ("ddpm 1000",)),
    ("DDIM in fewer steps", "ddim", ("ddim 100",)),
    ("DDIM with DDPM's noise", "ddim 100 eta 1", ("ddim 100",)),
    ("beta 0", "vae beta 0", ("vae",)),
    ("beta 4", "vae beta 4", ("vae",)),
    ("beta from the first step on", "vae without ramp", ("vae",)),
    ("all together, as many images", "combined", PARTS),
    ("all together, three times as many", "combined x3", tuple(f"{name} x3" for name in PARTS)),
    ("three times as many of all", "combined x3", ("combined",)),
)
ANSWERS = (
    "question",
    "augmenter",
    "to",
    "per_class",
    "steps",
    "protocol",
    "seconds",
    "diff",
    "ci_low",
    "ci_high",
    "over",
)
FEWER = ("augmenter", "steps", "protocol", "seconds", "sizes", "per_doubling", "ci_low", "ci_high", "over", "r2")


def chosen(found: list[dict]) -> dict[Key, list[dict]]:
    """Return the records of each arm on real images, and of each augmenter those of its best share, under share 0.

    Raises:
        ArtifactError: as ``zoo_rows.grouped``.
    """
    groups: dict[Key, list[dict]] = {}
    for key, mine in zoo_rows.grouped(found).items():
        key = key._replace(share=0.0)
        if key not in groups or zoo_rows.validated(mine) > zoo_rows.validated(groups[key]):
            groups[key] = mine
    return groups


def question_rows(found: list[dict]) -> list[dict]:
    """Return a row (columns ``ANSWERS``) for each question and setting that both sides have records of.

    Args:
        found: records of the stage zoo.

    Raises:
        ArtifactError: as ``zoo_rows.grouped``.
    """
    groups, rows = chosen(found), []
    for question, name, others in QUESTIONS:
        for key in (key for key in groups if key.augmenter == name):
            rivals = {k: r for k, r in groups.items() if k.augmenter in others and k[2:] == key[2:]}
            if len(rivals) < len(others):
                continue  # the best of those that happen to be there is another question
            rival = zoo_rows.best(rivals)
            if found_difference := zoo_rows.difference(groups[key], rivals[rival]):
                row = key._asdict() | found_difference | {"question": question, "to": rival.augmenter}
                rows.append({column: row[column] for column in ANSWERS})
    return rows


def fewer_rows(found: list[dict]) -> list[dict]:
    """Return for each augmenter how its gain changes with the images of a class: a line against their logarithm.

    Only the subsets and seeds that all sizes share count, and each has a line of its own.

    Args:
        found: records of the stage zoo.

    Returns:
        A row (columns ``FEWER``): ``per_doubling``, points by which the gain grows where images double, negative if
        fewer images gain more, with Student's 95 % interval over the lines; ``r2`` of the line through their means.

    Raises:
        ArtifactError: as ``zoo_rows.grouped``.
    """
    groups, rows = chosen(found), []
    same = lambda key: (key.augmenter, key.steps, key.protocol, key.seconds, key.onto)
    for own in dict.fromkeys(same(key) for key in groups if key.protocol != "none"):
        pairs = {}
        for key in (key for key in groups if same(key) == own):
            rivals = {k: r for k, r in groups.items() if k.protocol == "none" and k[2:4] == key[2:4]}
            if rival := zoo_rows.best(rivals):
                pairs[key.per_class] = groups[key], rivals[rival]
        if len(pairs) > 1 and (line := slope(pairs)):
            rows.append(dict(zip(FEWER, own, strict=False)) | line)
    return rows


def slope(pairs: dict[int, tuple[list[dict], list[dict]]]) -> dict:
    """Return the line through gains against the logarithm of the images of a class; nothing of fewer than two lines.

    Args:
        pairs: images a class to the records of an augmenter and of its rival.

    Returns:
        The columns of ``FEWER`` that are not of the augmenter.
    """
    run = lambda r: (r["param_subset"], r["param_seed"])
    shared = set.intersection(*({run(r) for r in mine} for pair in pairs.values() for mine in pair))
    gains = {}
    for size, pair in sorted(pairs.items()):
        (ours, theirs), over = zoo_rows.pairs(*([r for r in mine if run(r) in shared] for mine in pair))
        gains[size] = [ours[unit] - theirs[unit] for unit in sorted(ours)]
    each = np.array(list(gains.values()))  # a row a size, a column a subset or seed
    if each.shape[1] < 2:
        return {}
    at = [math.log2(size) for size in gains]
    slopes = dict(enumerate(np.polyfit(at, each, 1)[0].tolist()))
    line = numbers.paired_difference(slopes, dict.fromkeys(slopes, 0.0))
    straight = float(np.corrcoef(at, each.mean(1))[0, 1] ** 2) if np.ptp(each.mean(1)) else 1.0
    limits = {"ci_low": line["ci_low"], "ci_high": line["ci_high"], "over": over, "r2": straight}
    return {"sizes": ", ".join(map(str, gains)), "per_doubling": line["difference"]} | limits
