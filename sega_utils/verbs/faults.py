"""The verb of the fault suite, and what that goes through."""

import argparse

from sega_utils.core import paths
from sega_utils.verbs import VERBS, verb


@verb(
    "faults",
    ("--seed", {"type": int, "default": 0, "help": "of which bits, values and images are taken"}),
    ("--sample", {"type": int, "help": "how many faults of each kind; all if absent"}),
    ("--publish", {"action": "store_true", "help": "write the committed table and docs/faults.md from the log"}),
)
def inject_faults(args: argparse.Namespace) -> int:
    """Inject faults and log what came of each; the status is 0 if all were refused clearly or harmless."""
    from sega_utils.report import tables
    from sega_utils.studies.faults import faults

    rows = faults.measure(doors(), seed=args.seed, sample=args.sample)
    faults.save(rows, log := faults.log_path())
    print(faults.text(rows), f"wrote {paths.shown(log)}", sep="\n\n")
    if args.publish and args.sample is None:
        print(f"wrote {paths.shown(faults.publish(log))} and {paths.shown(tables.update_faults())}")
    return int(bool(faults.bad(rows)))


def doors() -> dict[str, object]:
    """Return what the fault suite goes through that no study may import, see ``faults_run.Bench``."""
    from sega_utils import __main__, execute
    from sega_utils.report import layout, pictures

    tags = {
        "title": lambda text: layout.whole(text, "", "", ""),
        "heading": lambda text: layout.section(text, "", "<hr>"),
        "note": lambda text: layout.section("x", text, "<hr>"),
        "cell": lambda text: layout.table([{"x": text}], label="x"),
        "label": lambda text: layout.table([{"x": 1}], label=text),
        "summary": lambda text: layout.folded(text, "<hr>"),
        "link": lambda text: layout.link(text, "x"),
        "text of a link": lambda text: layout.link("x", text),
    }
    return {"command": __main__.main, "execute": execute.main, "verbs": VERBS, "figure": pictures.load, "tags": tags}
