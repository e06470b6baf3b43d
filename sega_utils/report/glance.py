"""The method in one figure: prompts, what was kept of the images drawn from them, and what each filter rejected."""

import textwrap
from collections.abc import Sequence

import torch

from sega_utils.core import artifacts
from sega_utils.report.pictures import KEPT, MUTED, REASONS, REJECTED, Drawing, picture, styled, tile

Groups = dict[int, dict[str, list[int]]]  # prompt: reason, "" if kept: candidates
WIDE, ROW, HEAD = 16, 122, 40  # in pixels of images of 32: between groups; a prompt's block; above the first one


@styled
def at_a_glance(
    pool: dict[str, torch.Tensor],
    rows: Sequence[dict[str, str]],
    *,
    prompts: Sequence[int] = (),
    n_prompts: int = 3,
    followed: Sequence[dict] = (),
) -> Drawing:
    """Return prompts, the images drawn from them that were kept, and what each filter rejected.

    Args:
        pool: ``images`` (N, C, S, S) and ``prompt_ids`` (N,), the candidates.
        rows: the provenance table, one row a candidate, with ``class``, ``prompt`` and ``reason``.
        prompts: which prompts to show. If empty, the one that was obeyed best and the one that was obeyed least by
            ``followed``; without that, ``n_prompts`` of different classes that show the most filters at work.
        followed: rows of ``steering.followed``; a shown prompt that has one is given it as its caption.

    Raises:
        ArtifactError: the table is of other candidates, or altered.
        ValueError: no candidate is of one of the prompts.
    """
    groups = grouped(pool, rows)
    prompts = list(prompts) or extremes(followed) or telling(groups, rows, n_prompts)
    if unknown := set(prompts) - set(groups):
        raise ValueError(f"no candidate was drawn from the prompts {sorted(unknown)}; known are 0 .. {max(groups)}")
    columns = ["", *(why for why in REASONS if any(why in mine for mine in groups.values()))]
    wide = [2 if why else 4 for why in columns]  # images side by side, two rows of them
    left = [34 * sum(wide[:i]) + (WIDE - 2) * i for i in range(len(wide) + 1)]
    width, height = max(left[-1] - WIDE, 400), HEAD - 18 + ROW * len(prompts)
    figure = Drawing(figsize=(9, 9 * height / width), dpi=200, layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    look = {"va": "bottom", "fontsize": 10, "weight": "bold", "linespacing": 1}
    for x, why in zip(left, columns, strict=False):
        axes.text(x, 20, textwrap.fill(REASONS.get(why, "kept"), 13), color=REJECTED if why else KEPT, **look)
    said = []
    for place, prompt in enumerate(prompts):
        quoted, caption = told(groups[prompt], rows, [row for row in followed if row["prompt_id"] == prompt])
        top = HEAD + ROW * place + (14 if caption else 0)
        axes.text(0, top - (20 if caption else 6), quoted, va="bottom", fontsize=11, parse_math=False)
        axes.text(0, top - 6, caption, va="bottom", fontsize=9, color=MUTED, parse_math=False)
        counts = block(axes, pool["images"], groups[prompt], zip(left, wide, columns, strict=False), top)
        said.append(f"{quoted} {caption} {counts}.".replace("  ", " "))
    axes.set(xlim=(0, width), ylim=(height, 0))
    figure.alt = "Images drawn from prompts, those kept first, then those each filter rejected. " + " ".join(said)
    return figure


def grouped(pool: dict[str, torch.Tensor], rows: Sequence[dict[str, str]]) -> Groups:
    """Return the candidates of each prompt by the filter that rejected them.

    Raises:
        ArtifactError: the table is of other candidates, or altered.
    """
    check_provenance(pool, rows)
    groups: Groups = {}
    for i, (prompt, row) in enumerate(zip(pool["prompt_ids"].tolist(), rows, strict=True)):
        groups.setdefault(prompt, {}).setdefault(row["reason"], []).append(i)
    return groups


def told(group: dict[str, list[int]], rows: Sequence[dict[str, str]], followed: Sequence[dict]) -> tuple[str, str]:
    """Return a prompt in quotes, and the sentence on whether it was obeyed; the latter empty without rows."""
    quoted = f"“{textwrap.shorten(rows[next(iter(group.values()))[0]]['prompt'], 100, placeholder=' …')}”"
    parts = [
        f"{'Obeyed' if row['effect'] > 0 else 'Not obeyed'}: asked for {row['word']}; mean {row['attribute']} of the "
        f"kept images {row['kept']:.2f}, of real images of the class {row['real']:.2f}."
        for row in followed
    ]
    return quoted, " ".join(parts)


def block(axes, images: torch.Tensor, group: dict[str, list[int]], places, top: float) -> str:
    """Draw the images of one prompt in their columns, with their counts below; return the counts as text."""
    total, counts, pixel = sum(map(len, group.values())), [], 32 / images.shape[-1]
    for x, n, why in places:
        mine = group.get(why, [])
        if mine:
            sheet = tile(images[mine[: 2 * n]], n)
            picture(axes, sheet, extent=(x, x + pixel * sheet.shape[1], top + pixel * sheet.shape[0], top))
        axes.text(x, top + 69, f"{len(mine)} of {total}", va="top", fontsize=9, color=MUTED)
        counts.append(f"{REASONS.get(why, 'kept')}: {len(mine)} of {total}")
    return ", ".join(counts)


def extremes(followed: Sequence[dict]) -> list[int]:
    """Return the prompt that was obeyed best and, of another class if there is one, the one that was obeyed least."""
    if not followed:
        return []
    ordered = sorted(followed, key=lambda row: -row["effect"])
    best = ordered[0]
    others = [row for row in ordered if row["class"] != best["class"]] or ordered
    return list(dict.fromkeys((best["prompt_id"], others[-1]["prompt_id"])))


def telling(groups: Groups, rows: Sequence[dict[str, str]], n: int) -> list[int]:
    """Return up to ``n`` prompts of different classes, those first whose images met most filters not yet shown."""
    chosen, classes, met = [], set(), set()
    class_of = {prompt: rows[next(iter(reasons.values()))[0]]["class"] for prompt, reasons in groups.items()}
    while len(chosen) < n and (left := [p for p in sorted(groups) if class_of[p] not in classes]):
        best = max(left, key=lambda p: ("" in groups[p], len(groups[p].keys() - met), len(groups[p])))
        chosen.append(best)
        classes.add(class_of[best])
        met |= groups[best].keys()
    return chosen


def check_provenance(pool: dict[str, torch.Tensor], rows: Sequence[dict[str, str]]) -> None:
    """Refuse a provenance table, as 04_synthesis made it, of other candidates than a pool's, or an altered one.

    Args:
        pool: the candidates as 04_synthesis wrote them; what it lacks is not compared.

    Raises:
        ArtifactError: a column lacks, a reason is unknown, or a row is not of the candidate in its place.
    """
    wrong = lambda problem: artifacts.ArtifactError(
        f"synthetic.csv is not the provenance table of these candidates: {problem}; run 04_synthesis again"
    )
    if len(rows) != len(pool["images"]):
        raise wrong(f"it has {len(rows)} rows for {len(pool['images'])} candidates")
    texts: dict[int, str] = {}
    known = {name: pool[name].tolist() for name in ("prompt_ids", "kept", "clip_score", "seeds") if name in pool}
    for i, row in enumerate(rows):
        mine = {name: values[i] for name, values in known.items()}
        if lacking := [name for name in ("class", "prompt", "reason") if row.get(name) is None]:
            raise wrong(f"row {i + 1} lacks {', '.join(lacking)}")
        if row["reason"] and row["reason"] not in REASONS:
            raise wrong(f"row {i + 1} has the reason {row['reason']!r}; known are {', '.join(REASONS)}")
        if texts.setdefault(mine.get("prompt_ids"), row["prompt"]) != row["prompt"] and "prompt_ids" in mine:
            raise wrong(f"row {i + 1} has another prompt than its candidate")
        if mine.get("kept", not row["reason"]) != (not row["reason"]):
            raise wrong(f"row {i + 1} is {'rejected' if row['reason'] else 'kept'}, its candidate is not")
        for name, key in (("latent_seed", "seeds"), ("clip_score", "clip_score")):
            own = mine.get(key, "")
            written = f"{own:.6g}" if isinstance(own, float) else str(own)  # as artifacts.save_csv writes it
            if key in mine and name in row and row[name] != written:
                raise wrong(f"row {i + 1} has the {name} {row[name]!r}, its candidate {written}")
