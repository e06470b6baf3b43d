"""What SAGE claims of few shots, beside what was measured, with verdicts that are computed."""

from statistics import mean
from typing import NamedTuple

from sega_utils.core import artifacts, paths
from sega_utils.studies.few_shot import arms, rows
from sega_utils.studies.few_shot.rows import Episodes
from sega_utils.studies.zoo import claims as zoo_claims

SHOTS = 10  # real images of a class where the paper measures NAS
COLUMNS = ("claim", "what", "published", "shots", "ours", "splits_low", "splits_high", "verdict", "why", "elsewhere")


class Claim(NamedTuple):
    """A claim: its number and words; an arm less another one, ``strongest`` being the baseline that seen classes say,
    of those that tune the network, too.

    Attributes:
        at_least: points that the difference must reach; few: at so many shots instead of ``SHOTS``; less_at: the
            difference less that at so many shots; table: of the paper, and its rows' names for both sides.
    """

    number: int
    what: str
    ours: str
    theirs: str
    at_least: float = 0.0
    few: int = SHOTS
    less_at: int = 0
    table: tuple[str, str, str] | None = None


CLAIMS = (
    Claim(1, "class embedding mapping helps", "SAGE", "SAGE-I", table=("5", "SAGE", "SAGE-I")),
    Claim(1, "the same of pseudo-classes", "SAGE of clusters", "SAGE-I", table=("5", "SAGE", "SAGE-I")),
    Claim(2, "SAGE is above AGE", "SAGE", "AGE", table=("2", "SAGE", "AGE")),
    Claim(3, "SAGE is above real images alone", "SAGE", "real only", table=("2", "SAGE", "Standard")),
    Claim(4, "SAGE is above the strongest baseline", "SAGE", "strongest"),
    Claim(5, "SAGE is above raw offsets", "SAGE", "raw offsets"),
    Claim(5, "the dictionary matters", "SAGE", "atoms at random"),
    Claim(5, "orthogonality helps", "SAGE", "lambda_1 = 0"),
    Claim(6, "p+f is above real images alone", "SAGE_p+f", "real only", table=("11", "SAGE_p+f", "Standard")),
    Claim(6, "p+f needs the editing", "SAGE_p+f", "inverted p+f"),
    Claim(7, "inverted images cost 5 points", "real only", "inverted, alone", 5, table=("11", "Standard", "Inversed")),
    Claim(8, "the gain falls as images grow", "SAGE", "real only", few=1, less_at=10),
    Claim(9, "low frequencies tell more", "real only, low pass", "real only, high pass"),
)


def published(claim: Claim) -> str:
    """Return the paper's differences on its four data sets, least to most, from ``data/paper``; empty of none."""
    if claim.table is None:
        return ""
    table, ours, theirs = claim.table
    found: dict[str, dict[str, float]] = {ours: {}, theirs: {}}
    for row in artifacts.load_csv(paths.DATA / "paper" / "sage_nas.csv"):
        if row["table"] == table and row["method"] in found:
            found[row["method"]][row["dataset"]] = float(row["accuracy"])
    values = sorted(found[ours][name] - found[theirs][name] for name in found[ours])
    return f"{values[0]:+.2f} to {values[-1]:+.2f} on {len(values)} data sets"


def less(one: Episodes, other: Episodes) -> Episodes:
    """Return the difference of two arms by episode."""
    return {key: one[key] - other[key] for key in one.keys() & other.keys()}


def row_of(claim: Claim, found: list[dict], table: dict[tuple[int, str], Episodes]) -> dict:
    """Return the row (``COLUMNS``) of a claim; without the records that decide it, it cannot be compared."""
    row = dict.fromkeys(COLUMNS, "") | {"claim": claim.number, "what": claim.what, "published": published(claim)}
    row["shots"] = f"{claim.few} less {claim.less_at}" if claim.less_at else claim.few
    theirs = rows.strongest(found, claim.few, rows.BASELINES) if claim.theirs == "strongest" else claim.theirs
    gains = {
        k: less(mine, table[k, theirs])
        for (k, arm), mine in table.items()
        if arm == claim.ours and (k, theirs) in table
    }
    later = gains.get(claim.less_at, {}) if claim.less_at else dict.fromkeys(gains.get(claim.few, {}), 0.0)
    compared = rows.difference(gains.get(claim.few, {}), later)
    if "splits_low" not in compared:
        why = f"it takes two splits or more of {claim.ours} and {theirs or 'the baselines'}, which are not on record"
        return row | {"verdict": zoo_claims.INCOMPARABLE, "why": why}
    ends = compared["splits_low"], compared["splits_high"]
    verdict, says = zoo_claims.judge(*ends, claim.at_least)
    others = "; ".join(f"{mean(part.values()):+.2f} at {k}" for k, part in sorted(gains.items()) if k != claim.few)
    row |= {"ours": compared["diff"], "splits_low": ends[0], "splits_high": ends[1], "verdict": verdict}
    return row | {"why": f"{claim.ours} less {theirs}: {says}", "elsewhere": others}


def claim_rows(found: list[dict], features: str) -> list[dict]:
    """Return a row (``COLUMNS``) for each part of the nine claims, in points, with intervals over splits.

    Args:
        found: records of the stage few-shot. features: what the arms work with; of composed classes no claim speaks.
    """
    found = rows.of(found, features)
    table = rows.scores(found)
    if table and not any(arms.ARMS[name].group == "method" for _, name in table):
        return []
    return [row_of(claim, found, table) for claim in CLAIMS]
