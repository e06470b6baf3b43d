"""Training: how a classifier comes to be, and what attacks it may meet.

Notebooks use: arms.chosen_of, arms.run_arm, attacks.ATTACKS, attacks.pgd, classifiers.build, recipes.differences,
recipes.read, recipes.settings_of.
"""
