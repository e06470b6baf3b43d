"""Older records in today's form: values under keys, where they were parts of the keys' names, and a digest of it all.

No value changes, nor a digest of a file. What an older record lacks is not made up.
"""

from pathlib import Path

from sega_utils.core import artifacts, schema
from sega_utils.evaluation.corruptions import CORRUPTIONS, SEVERITIES


def rewrite(record: dict) -> dict:
    """Return a record in today's form; one that has it already is returned as it is."""
    forms = {
        "clip": of_clip,
        "projector": of_projector,
        "synthesis": of_synthesis,
        "training": of_training,
        "shift": of_shift,
        "attacks": of_attacks,
        "ablation": of_ablation,
        "shards": of_shards,
        "few-shot": of_few_shot,
    }
    return forms.get(record.get("stage"), dict)(dict(record))


def rewrite_all(root: Path) -> int:
    """Rewrite every record below a folder that has not today's form, or no digest of its own; return how many had not.

    Raises:
        ArtifactError: a record is damaged, holds what no record may, or has a digest that is not its own.
    """
    count = 0
    for file in sorted(root.rglob("records/*/*.json")):
        found = artifacts.load_json(file)
        if schema.DIGEST in found:
            schema.check_record(found, file)
        changed = schema.sealed(rewrite({key: value for key, value in found.items() if key != schema.DIGEST}))
        if changed == found:
            continue
        if problem := schema.wrong_value(changed):
            schema.refuse(file, problem)
        artifacts.save_json(file, changed)
        count += 1
    return count


def taken(record: dict, prefix: str) -> dict:
    """Remove the keys that begin with a prefix, and return their values by what follows it."""
    names = [key for key in record if key.startswith(prefix)]
    return {name.removeprefix(prefix): record.pop(name) for name in names}


def under(record: dict, key: str, values: dict | list) -> dict:
    """Return a record with values under a key, unless there are none."""
    return record | {key: values} if values else record


def of_clip(record: dict) -> dict:
    """Return a record of 01_clip: ``attribute_accuracy`` by attribute."""
    return under(record, "attribute_accuracy", taken(record, "attribute_accuracy_"))


def of_projector(record: dict) -> dict:
    """Return a record of 03_projector: ``retrieval`` and ``intra_class_distance`` by way, ``effects`` as rows."""
    for key in ("retrieval", "intra_class_distance"):
        record = under(record, key, taken(record, f"{key}_"))
    effects: dict[str, list[dict]] = {}
    for way, prefix in (("plain", "plain_"), ("prompts", "")):
        columns = {key: taken(record, f"{prefix}{key}_") for key in ("effect", "ci_low", "ci_high", "n")}
        names = [name for name in ("brightness", "width", "length", "fill", "texture") if name in columns["effect"]]
        rows = [{"attribute": name} | {key: values[name] for key, values in columns.items()} for name in names]
        effects |= {way: rows} if rows else {}
    return under(record, "effects", effects)


def of_synthesis(record: dict) -> dict:
    """Return a record of 04_synthesis: ``rejected`` by filter, ``alignment`` before (pre) and after (post) them."""
    record = under(record, "rejected", taken(record, "rejected_"))
    return under(record, "alignment", {s: v for s in ("pre", "post") if (v := taken(record, f"alignment_{s}_"))})


def of_training(record: dict) -> dict:
    """Return a record of 05_training: ``accuracy_by_class`` as a list."""
    by_class = taken(record, "accuracy_class_")
    return under(record, "accuracy_by_class", [by_class[c] for c in sorted(by_class, key=int)])


def of_shift(record: dict) -> dict:
    """Return a record of 06_shift: ``corruptions`` by name as lists over the severities, ``shifts`` by name."""
    values = taken(record, "accuracy_")
    made = [name for name in CORRUPTIONS if f"{name}_1" in values]
    record = under(record, "corruptions", {name: [values.pop(f"{name}_{s}") for s in SEVERITIES] for name in made})
    return under(record, "shifts", values)


def of_attacks(record: dict) -> dict:
    """Return a record of 07_adversarial: ``attacked`` as rows of attack, norm, epsilon, accuracy, n; ``masking``."""
    record = under(record, "masking", taken(record, "masking_"))
    values, rows = taken(record, "accuracy_"), []
    counts = {name: record.pop(f"n_{name}") for name in {key.split("_")[0] for key in values}}
    for key, accuracy in values.items():
        attack, norm, epsilon = key.split("_")
        row = {"attack": attack, "norm": norm, "epsilon": float(epsilon), "accuracy": accuracy, "n": counts[attack]}
        rows.append(row)
    return under(record, "attacked", sorted(rows, key=lambda row: (row["attack"], row["epsilon"])))


def of_ablation(record: dict) -> dict:
    """Return a record of 08_ablations: of a fraction, the arm is a parameter of its own.

    Drawing takes the projector's sigma, and images are chosen from the candidates, whatever 04_synthesis chose.
    """
    name, _, arm = record["param_ablation"].partition(": ")
    record |= {"param_ablation": name, "param_arm": arm} if arm else {}
    if record.get("param_pool_draw_sigma", record.get("param_pool_sigma")) == record.get("param_pool_sigma"):
        record.pop("param_pool_draw_sigma", None)
    if name != "fraction":
        record.pop("input_synthetic", None)
    return record


def of_shards(record: dict) -> dict:
    """Return a record of shards: ``rejected`` by filter; the sigma of drawing is called as everywhere."""
    record |= {"param_sigma": record.pop("param_draw_sigma")} if "param_draw_sigma" in record else {}
    return under(record, "rejected", taken(record, "rejected_"))


def of_few_shot(record: dict) -> dict:
    """Return a record of few shots: rows of arm and number of images, where both were the names of keys."""
    if isinstance(record.get("tuned"), dict):
        scores = record.pop("scores")
        record["tuned"] = [
            {"arm": arm, "shots": int(k), "settings": settings, "score": scores[arm][k]}
            for arm, part in record["tuned"].items()
            for k, settings in part.items()
        ]
    by_shots = lambda found: [(k, arm, value) for k, part in found.items() for arm, value in part.items()]
    if "arms" in record:
        found = by_shots(record.pop("arms"))
        record["accuracies"] = [{"arm": arm, "shots": int(k), "accuracy": value} for k, arm, value in found]
    if "quality" in record:
        found = by_shots(record.pop("quality"))
        record["images"] = [{"arm": arm, "shots": int(k)} | values for k, arm, values in found]
    return record
