"""Studies: questions asked of the method, each measured and tabled in one file.

Notebooks use: ablate.run_entry, benchmark.kernel_rows, benchmark.measure, efficiency.REAL_IMAGES,
efficiency.efficiency_rows, efficiency.kinds, efficiency.measure_alone, efficiency.score, entries.COMPONENTS,
entries.FRACTION, entries.ablation_rows, entries.choose, entries.read, entries.time_left, entries.yield_rows,
judge.judge, judge_folder.firsts, judge_folder.look, judge_folder.named, judge_plan.moment, shards.growth_rows,
steering.followed, zoo.Fitting, zoo.Place, zoo.ZOO, zoo.fit_once, zoo.gallery, zoo.judge_of, zoo.load_drawn,
zoo.real_of, zoo_arms.jobs, zoo_arms.train_job, zoo_claims.claim_rows, zoo_plan.read, zoo_questions.fewer_rows,
zoo_questions.question_rows, zoo_rows.augmenter_rows, zoo_rows.prediction_rows, zoo_rows.primary_rows,
zoo_rows.quality_rows, zoo_states.drawn.
"""
