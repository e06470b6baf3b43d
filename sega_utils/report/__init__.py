"""Report: what is shown; it computes no number.

Notebooks use: claims.attacks_beside, comparisons.ablation_bars, comparisons.ablation_curves,
comparisons.accuracy_bars, comparisons.attack_curves, comparisons.low_data_curves, comparisons.severity_curves,
figures.curves, figures.effects, figures.growth_curves, figures.heatmap, figures.histograms, figures.prompt_map,
figures.worth, glance.at_a_glance, page.provenance, page.report_html, page.told, pictures.grid,
pictures.reasons_gallery, pictures.save, tables.beside_poster, tables.claimed, tables.summary, tables.write_tables,
verdict.gate_rows, verdict.lines, verdict.notes, verdict.refused_rows, verdict.tables.
"""
