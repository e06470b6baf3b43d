"""The tables of the zoo, as files."""

from sega_utils.core import artifacts, paths, records
from sega_utils.studies.zoo import claims as zoo_claims, questions as zoo_questions, rows as zoo_rows


def write_tables(run: str, dataset: str, plan: dict) -> dict[str, list[dict]]:
    """Write a run's tables of the zoo that have rows, and return all by their names.

    Raises:
        ArtifactError: as ``zoo_rows.grouped``.
    """
    found, judged = records.read(run, dataset, "zoo"), records.read(run, dataset, "augmenters")
    rows, rows_outside = zoo_rows.apart(zoo_rows.augmenter_rows(found))
    qualities, qualities_outside = zoo_rows.apart(zoo_rows.quality_rows(judged))
    tables = {"augmenters": rows, "augmenters-quality": qualities}
    tables |= {"augmenters-outside": rows_outside, "augmenters-quality-outside": qualities_outside}
    tables["augmenters-prediction"] = zoo_rows.prediction_rows(rows, qualities)
    tables["augmenters-primary"] = zoo_rows.primary_rows(found, plan)
    tables["augmenters-claims"] = zoo_claims.claim_rows(found, judged, plan)
    tables["augmenters-questions"] = zoo_questions.question_rows(found)
    tables["augmenters-fewer"] = zoo_questions.fewer_rows(found)
    artifacts.save_tables(paths.artifact(run, dataset, "tables"), tables)
    return tables
