"""What files may hold: records by their keys, tensors by their names; and the digest that tells an altered record."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sega_utils.core import paths

CURE = "delete it and run the step that makes it again, or restore it with git checkout if it is tracked"
DIGEST = "digest"  # a record's own, of all else that it holds


class ArtifactError(RuntimeError):
    """A file that is there but cannot be trusted: truncated, altered, or of another kind."""


class Rule(NamedTuple):
    """What a value may be: as people are told it, and as it is checked."""

    allowed: str
    holds: Callable[[object], bool]


def number(low: float = -math.inf, high: float = math.inf, *, whole: bool = False) -> Rule:
    """Return the rule of a finite number from ``low`` to ``high``; a ``whole`` one is an integer."""
    if math.isfinite(high):
        span = f" from {low} to {high}"
    else:
        span = f" from {low} on" if math.isfinite(low) else ""
    types = int if whole else (int, float)
    fits = lambda v: isinstance(v, types) and not isinstance(v, bool) and math.isfinite(v) and low <= v <= high
    return Rule(f"{'an integer' if whole else 'a finite number'}{span}", fits)


SHARE, COUNT, COST, NUMBER = number(0, 1), number(0, whole=True), number(0), number()
TEXT = Rule("a text that is not empty", lambda value: isinstance(value, str) and value != "")
LITERAL = Rule(
    "a text, true, false, null or a finite number",
    lambda value: value is None or isinstance(value, str | bool) or NUMBER.holds(value),
)
VALUE = Rule("a finite number, or a text beside one", lambda value: isinstance(value, str) or NUMBER.holds(value))
# what a key of a record says, at any depth; of what has no rule of its own, the one around it holds
RULES = dict.fromkeys(("run", "dataset", "stage", "name", "device", "python", "git_commit", DIGEST), TEXT)
RULES |= dict.fromkeys(
    (
        *("accuracy", "accuracy_by_class", "accuracy_reference", "accuracy_ours", "accuracy_theirs", "fraction"),
        *("zero_shot_accuracy", "attribute_accuracy", "corruptions", "shifts", "agreement", "agreement_real"),
        *("retrieval", "precision", "recall", "kept_share", "robust", "autoattack", "adaptive"),
    ),
    SHARE,
)
RULES |= dict.fromkeys(
    (
        *("n", "n_test", "n_real", "n_train", "n_rest", "n_prompts", "n_syn", "candidates", "kept", "drawn", "chosen"),
        *("survivors", "rejected", "bytes", "bytes_held", "turns", "test_near_duplicates", "train_near_duplicates"),
        *("param_seed", "param_steps", "param_batch_size"),
    ),
    COUNT,
)
RULES |= dict.fromkeys(
    (
        *("seconds", "peak_memory_gb", "peak_gpu_memory_gb", "seconds_per_image", "seconds_per_kept_image"),
        *("seconds_ours", "seconds_theirs", "drawing", "filtering", "searching", "params_millions", "epsilon", "iqr"),
        *("cpu_seconds", "cpu_seconds_attacks"),
    ),
    COST,
)
RULES |= dict.fromkeys(("param_arm", "param_classifier", "param_from_run", "param_ablation", "param_variant"), TEXT)
# how a key's value is built: [of a list], {of named values}, . of a single one, as all keys with a rule are
FORMS = {
    "accuracy_by_class": "[.]",
    "attribute_accuracy": "{.}",
    "corruptions": "{[.]}",
    "shifts": "{.}",
    "retrieval": "{.}",
    "effects": "{[{.}]}",
    "alignment": "{{.}}",
    "rejected": "{.}",
    "attacked": "[{.}]",
    "masking": "{.}",
}
BUILT = str.maketrans({"[": "a list of ", "{": "by name ", ".": "single values", "]": "", "}": ""})
ALWAYS = ("run", "dataset", "stage", "name", "seconds")
OF_ARM = ("param_arm", "param_seed", "input_weights")
OF_ZOO = ("param_subset", "param_per_class", "param_protocol", "param_seconds")
OF_ROBUST = ("robust", "n", "param_arm", "param_seed", "param_loss", *OF_ZOO)
# what tables, claims and report read of a stage's records; a dot goes into what a key holds, each item of a list
NEEDED = {
    "clip": ("param_clip",),
    "projector": tuple(f"effects.prompts.{key}" for key in ("attribute", "effect", "ci_low", "ci_high", "n")),
    "synthesis": (
        *("candidates", "rejected"),
        *(f"alignment.{when}.{key}" for when in ("pre", "post") for key in ("median", "iqr", "n")),
    ),
    "training": (
        *("accuracy", "fraction", "n_real", "n_test", "device"),
        *("param_arm", "param_seed", "param_classifier", "param_steps", "param_batch_size"),
    ),
    "shift": ("corruptions", "shifts", *OF_ARM),
    "attacks": (*(f"attacked.{key}" for key in ("attack", "norm", "epsilon", "accuracy", "n")), *OF_ARM),
    "ablation": (
        *("accuracy", "accuracy_reference", "input_reference", "input_weights"),
        *("param_ablation", "param_value", "param_seed", "param_from_run"),
    ),
    "augmenters": (*("frechet", "precision", "recall", "duplicates"), *OF_ZOO),
    "zoo": (*("accuracy", "accuracy_validation", "param_arm", "param_seed", "param_share"), *OF_ZOO),
    **dict.fromkeys(("robust", "robust-tuning"), (*OF_ROBUST, "accuracy", "gradients", "cpu_seconds")),
    "robust-checks": (*OF_ROBUST, "autoattack", "adaptive", "masking"),
    "flare": (
        *("accuracy", "accuracy_validation", "accuracy_macro", "n_pool", "drawn_share"),
        *("param_arm", "param_seed", "param_subset", "param_per_class", "param_steps", "param_coarse"),
    ),
}


def digest_json(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON (sorted keys, no spaces, ASCII) as 64 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(record: dict) -> dict:
    """Return a record with the digest of all that it holds, so that a reader knows when it was changed by hand."""
    bare = {key: value for key, value in record.items() if key != DIGEST}
    return bare | {DIGEST: digest_json(bare)}


def check_record(record: dict, file: Path) -> None:
    """Refuse a record that was altered, is not what its place says, or holds what its keys do not allow.

    Raises:
        ArtifactError: the message names the file, the key, its value and what is allowed.
    """
    if problem := wrong_value(record):
        refuse(file, problem)
    check_keys(record, file, ALWAYS)
    for key, place in (("stage", file.parent.name), ("name", file.stem)):
        if record[key] != place:
            refuse(file, f"its {key} is {record[key]!r}, but it lies where that of {place!r} belongs")
    if DIGEST not in record:
        refuse(file, "it has no digest", f"if it is older than digests, run python -m sega_utils rewrite; else {CURE}")
    if record != sealed(record):
        refuse(file, "it was altered after it was written: it does not match its own digest")


def check_keys(record: dict, file: Path, keys: Iterable[str]) -> None:
    """Refuse a record that lacks a key, see ``NEEDED``.

    Raises:
        ArtifactError: the message names all that it lacks.
    """
    if lacking := [key for key in keys if lacks(record, key.split("."))]:
        refuse(file, f"it lacks {', '.join(lacking)}")


def wrong_value(record: dict) -> str:
    """Return what is wrong with the first value of another type or range than its key allows; empty if none is."""
    for key, value in record.items():
        form = FORMS.get(key, "." if key in RULES else "")
        if form and not fits(value, form):
            return f"{key} is {short(value)}; allowed is {form.translate(BUILT)}"
        for names, leaf in leaves(value, (key,)):
            rule = next((RULES[name] for name in reversed(names) if name in RULES), None) or rule_of(names)
            if not rule.holds(leaf):
                return f"{'.'.join(names)} is {short(leaf)}; allowed is {rule.allowed}"
    return ""


def rule_of(names: tuple[str, ...]) -> Rule:
    """Return the rule of a key that has none by its name; ``names`` are its own and of those below it."""
    if names[0].startswith("param_"):
        return LITERAL
    if names[0].startswith(("input_", "version_")):
        return TEXT
    return VALUE if len(names) > 1 else NUMBER


def leaves(value: object, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield the single values that a value holds below its lists and dicts, each with the names that lead to it."""
    if isinstance(value, list | dict):
        pairs = value.items() if isinstance(value, dict) else ((str(i), part) for i, part in enumerate(value))
        for name, part in pairs:
            yield from leaves(part, (*names, name))
    else:
        yield names, value


def fits(value: object, form: str) -> bool:
    """Return whether a value is built as a form of ``FORMS`` says."""
    if form == ".":
        return not isinstance(value, list | dict)
    if not isinstance(value, list if form[0] == "[" else dict):
        return False
    return all(fits(part, form[1:-1]) for part in (value if isinstance(value, list) else value.values()))


def lacks(value: object, names: list[str]) -> bool:
    """Return whether what a value holds lacks the key that names lead to."""
    if isinstance(value, list):
        return any(lacks(part, names) for part in value)
    return bool(names) and (not isinstance(value, dict) or names[0] not in value or lacks(value[names[0]], names[1:]))


def refuse(file: Path, problem: str, cure: str = CURE) -> None:
    """Raise an ArtifactError that names a file, what is wrong with it, and what to do."""
    raise ArtifactError(f"{paths.shown(file)} cannot be used: {problem}; {cure}")


def short(value: object) -> str:
    """Return a value as an error may show it, however long it is."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


IMAGES = ("uint8", "N C S S")
# tensors of a run's files by their names, a ? behind those that may lack: data type and shape; one letter is one number
# in all of a file's tensors, and after < what an index stays below; * is all others
LAYOUTS = {
    "real": {"images": IMAGES, "labels": ("int64", "N")},
    "prompts": {
        "embeddings": ("float32", "P d"),
        "class_ids": ("int64", "P < c"),
        "cluster_ids?": ("int64", "P < K"),
        "centroids?": ("float32", "K d"),
        "class_embeddings": ("float32", "c d"),
    },
    "candidates": {
        "images": IMAGES,
        **{name: ("int64", "N") for name in ("class_ids", "prompt_ids?", "seeds?")},
        "kept?": ("bool", "N"),
    },
    "synthetic": {"images": IMAGES, "class_ids": ("int64", "N"), "index?": ("int64", "N")},
    "corrupted": {"labels": ("int64", "N"), "clean": IMAGES, "*": IMAGES},
    "variants": {"images": IMAGES, "labels": ("int64", "N")},
}


def check_finite(tensors: dict, path: Path) -> None:
    """Refuse tensors with numbers that are not finite.

    Raises:
        ArtifactError: the message names the file and the tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            refuse(path, f"{name} holds numbers that are not finite (NaN or infinite), as of a training that failed")


def check_tensors(tensors: dict, path: Path) -> None:
    """Refuse tensors that are not those which a run's file of this name holds.

    Args:
        tensors: by name; path: of their file, whose name, or whose folder's, is a key of ``LAYOUTS``; of any other,
            nothing is known.

    Raises:
        ArtifactError: the message names the tensor, what it is and what is allowed.
    """
    if not (layout := LAYOUTS.get(path.stem) or LAYOUTS.get(path.parent.name)):
        return
    others = dict.fromkeys(sorted(tensors.keys() - layout.keys()), layout["*"]) if "*" in layout else {}
    layout = {
        k.rstrip("?"): form for k, form in layout.items() if k != "*" and (k.rstrip("?") in tensors or k[-1] != "?")
    }
    layout |= others
    if lacking := [name for name in layout if name not in tensors]:
        refuse(path, f"it lacks {', '.join(lacking)}; it holds {', '.join(sorted(tensors)[:8]) or 'nothing'}")
    check_finite(tensors, path)
    sizes, limits = {}, {}
    for name, (dtype, form) in layout.items():
        tensor, (letters, _, limit) = tensors[name], form.partition(" < ")
        shape = [sizes.setdefault(k, n) for k, n in zip(letters.split(), tensor.shape, strict=False)]
        if str(tensor.dtype) != f"torch.{dtype}" or shape != list(tensor.shape) or len(shape) != len(letters.split()):
            known = ", ".join(f"{k} = {sizes[k]}" for k in letters.split() if k in sizes)
            refuse(path, f"{name} is {tensor.dtype} {list(tensor.shape)}; allowed is {dtype} [{letters}] with {known}")
        if dtype == "int64":
            limits[name] = limit
    for name, limit in limits.items():
        top = sizes.get(limit, math.inf)
        wrong = [v for v in (tensors[name].aminmax() if tensors[name].numel() else ()) if not 0 <= int(v) < top]
        if wrong:
            refuse(path, f"{name} holds {int(wrong[0])}; allowed are integers from 0 on, below {limit} = {top}")
