"""The tables of few shots, as files."""

from sega_utils.core import artifacts, paths, records
from sega_utils.studies.few_shot import campaign, claims, quality, rows, worlds


def write(run: str, dataset: str, plan: dict) -> dict[str, list[dict]]:
    """Write a run's tables that have rows, and return all by their names."""
    found = records.read(run, dataset, campaign.STAGE)
    tables = {"few_shot": rows.arm_rows(found), "few_shot-primary": rows.primary_rows(found, plan)}
    tables["few_shot-composed"] = rows.composed_rows(found, plan)
    tables["few_shot-claims"] = [
        {"features": kind} | row for kind in worlds.FEATURES for row in claims.claim_rows(found, kind)
    ]
    tables["few_shot-quality"] = quality.rows(found)
    artifacts.save_tables(paths.artifact(run, dataset, "tables"), tables)
    return tables
