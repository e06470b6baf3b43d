"""Evaluation: what a trained classifier is worth; it trains nothing.

Notebooks use: calibration.SHOWN, calibration.beside_rows, calibration.calibration_rows, classified.current,
classified.load_classifier, masking.border, robustness.accuracy_table, robustness.attack_rows,
robustness.masking_rows, robustness.measure_attacks, robustness.restarted, robustness.sample_test, shape.shape_rows,
shift.SHIFTS, shift.by_corruption, shift.corruption_differences, shift.make_sets, shift.measure_shift,
shift.severity_curves, shift.shift_rows.
"""
