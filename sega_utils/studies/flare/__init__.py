"""FLARE as a study: what its arms are made of, the arms, the plan as it is measured, tables and verdicts."""
