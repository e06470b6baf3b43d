"""Prompts that need no LLM: written by a template from what varies in the images, or by hand into a text file."""

import itertools
import random
import warnings
from collections import Counter
from pathlib import Path

from sega_utils.core import artifacts, paths
from sega_utils.core.numbers import aligned
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, take, to_uint8
from sega_utils.text import attributes, banks, looks
from sega_utils.text.banks import HAND, TEMPLATE, PromptError
from sega_utils.text.prompts import check_names, validate

FRAMES = (
    "A photo of {}.",
    "This photo shows {}.",
    "Here is {}.",
    "Seen from close by: {}.",
    "In the middle there is {}.",
    "Somebody took a picture of {}.",
    "Look at {}.",
    "The picture was taken of {}.",
)
MOST = 3  # words for looks in one prompt, as an LLM is told
FRACTION = 0.01  # of a published training set, as 00_data takes it by default


def write(data: Dataset, *, bank: Path, n_prompts: int, seed: int) -> list[dict]:
    """Write prompts from class names and from the looks that vary in the images, and put them into a bank.

    Args:
        data: a run's training subset.
        n_prompts: of each class.

    Returns:
        Rows of ``looks.summary``, and one for colours, if the images have any.

    Raises:
        PromptError: a class has fewer distinct prompts; ValueError: class names that cannot be used.
    """
    check_names(data.class_names)
    found, records = looks.varying(data), banks.load_bank(bank) if bank.exists() else {}
    images = artifacts.digest({"images": to_uint8(data.images), "labels": data.labels})
    few, coloured = [], 0
    for c, name in enumerate(data.class_names):
        own = [look for look in found if look.class_name == name]
        named = looks.colours(data.images[data.labels == c])
        colours = looks.colours_used(named)
        combinations = choose(described(take(data, data.labels == c), own, named), n_prompts, seed=f"{seed} {name}")
        texts = sentences(name, combinations, n_prompts)
        validate(name, texts, n_prompts)
        measured = {
            "images": images,
            "seed": seed,
            "looks": [look._asdict() for look in own],
            "colours": {colour: named.count(colour) for colour in colours},
            "combinations": len(combinations),
        }
        request = banks.request_of(TEMPLATE, name, n_prompts)
        record = banks.authored(request, texts, author="authored by template", measured=measured)
        records.pop(record["digest"], None)  # to its end: what was written last
        records[record["digest"]] = record
        coloured += bool(colours)
        few += [name] if len(combinations) < n_prompts else []
    if few:
        warnings.warn(
            f"fewer looks than the {n_prompts} prompts asked for vary in {', '.join(few[:10])}"
            f"{' and others' if len(few) > 10 else ''}: prompts differ in wording only there",
            stacklevel=2,
        )
    banks.save_bank(bank, records)
    rows, n = looks.summary(found), len(data.class_names)
    refused = "-" if coloured == n else "one colour at most"
    colour = dict.fromkeys(rows[0], "") | {"attribute": "colour", "classes": f"{coloured} of {n}", "refused": refused}
    return rows + ([colour] if data.images.shape[1] == 3 else [])


def described(data: Dataset, found: list[looks.Look], colours: list[str]) -> list[tuple[str, ...]]:
    """Return what may be said of each image of one class: words for the looks that vary, and its colour.

    Args:
        data: the images of one class.
        found: that class's looks.
        colours: each image's, see ``looks.colours``.
    """
    bins = attributes.terciles(attributes.measure(data.images), data.labels)
    used, coloured = looks.colours_used(colours), data.images.shape[1] == 3
    rows = []
    for thirds, colour in zip(bins.tolist(), colours, strict=True):
        words = [
            attributes.WORDS[look.attribute][third]
            for look, third in zip(found, thirds, strict=True)
            if not look.reason
        ]
        # of an image in colours, grey would be one of them
        words = [word for word in words if word and not (coloured and word == attributes.WORDS["brightness"][1])]
        rows.append((*words, colour) if colour in used else tuple(words))
    return rows


def choose(rows: list[tuple[str, ...]], n: int, *, seed: str) -> list[tuple[str, ...]]:
    """Return up to ``n`` combinations of words that occur together in an image, all words about equally often.

    Where there are fewer, no words at all are one more.

    Args:
        rows: the words of each image.
        seed: of the order among equals.
    """
    pool = {
        combination
        for row in set(rows)
        for size in range(1, MOST + 1)
        for combination in itertools.combinations(row, size)
    }
    pool = sorted(pool)
    random.Random(seed).shuffle(pool)
    chosen, count = [], Counter()
    while pool and len(chosen) < n:
        best = min(pool, key=lambda words: sum(count[word] for word in words) / len(words) - 0.1 * len(words))
        pool.remove(best)
        chosen.append(best)
        count.update(best)
    return chosen if len(chosen) == n else [*chosen, ()]


def sentences(class_name: str, combinations: list[tuple[str, ...]], n: int) -> list[str]:
    """Return ``n`` distinct sentences that say the combinations of a class in turn.

    Raises:
        PromptError: there are not so many.
    """
    if (most := len(combinations) * len(FRAMES)) < n:
        raise PromptError(
            f"the template has {most} distinct prompts for class {class_name!r}, as so few looks vary in its images; "
            f"{n} were asked for: lower N_PROMPTS, or write them by hand"
        )
    texts = []
    for i in range(n):
        turn, place = divmod(i, len(combinations))
        thing = " ".join((*combinations[place], class_name))
        article = "an" if thing[0].lower() in "aeiou" else "a"
        texts.append(FRAMES[(place + turn) % len(FRAMES)].format(f"{article} {thing}"))
    return texts


def record(dataset: str, *, bank: Path | None = None, n_prompts: int = 12, fraction: float | None = None) -> str:
    """Record a data set's prompts without an LLM, and say what they are made of.

    Args:
        bank: a text file of prompts, which are put into the data set's own bank; any other file is where the template
            writes; if absent, it writes into the data set's own bank.
        fraction: of the training images that the template looks at, as 00_data's; if absent, all of a folder.

    Raises:
        PromptError, ValueError, FileNotFoundError, ArtifactError: as the parts do.
    """
    own = catalogue.about(dataset)[1]
    data = catalogue.load(dataset, "train")
    if bank and bank.suffix == ".txt":
        written = banks.read_text(bank, data.class_names, n_prompts)
        for name, entry in zip(data.class_names, written.values(), strict=True):
            validate(name, entry["prompts"], n_prompts)
        known = banks.load_bank(own) if own.exists() else {}
        banks.save_bank(own, {digest: entry for digest, entry in known.items() if digest not in written} | written)
        return f"{len(written)} classes authored by {HAND} in {paths.shown(own)}"
    fraction = fraction or (1.0 if dataset.startswith(paths.OWN) else FRACTION)
    data, _ = catalogue.subset(data, catalogue.counts(dataset, fraction, data.labels), seed=0)
    rows = write(data, bank=bank or own, n_prompts=n_prompts, seed=0)
    return f"{aligned(rows)}\n{len(data.class_names)} classes authored by {TEMPLATE} in {paths.shown(bank or own)}"
