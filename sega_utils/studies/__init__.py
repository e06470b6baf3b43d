"""Studies: questions asked of the method, each measured and tabled in one file.

Notebooks use: ablate.run_entry, benchmark.kernel_rows, benchmark.measure, efficiency.REAL_IMAGES,
efficiency.efficiency_rows, efficiency.kinds, efficiency.measure_alone, efficiency.score, entries.COMPONENTS,
entries.FRACTION, entries.ablation_rows, entries.choose, entries.read, entries.time_left, entries.yield_rows,
few_shot.arms.ARMS, few_shot.arms.measure, few_shot.campaign.STAGE, few_shot.campaign.able,
few_shot.campaign.on_record, few_shot.claims.claim_rows, few_shot.draws.EACH, few_shot.draws.edited,
few_shot.draws.raw, few_shot.plan.place_of, few_shot.plan.read, few_shot.plan.splits_of, few_shot.quality.rows,
few_shot.rows.arm_rows, few_shot.rows.composed_rows, few_shot.rows.first_rows, few_shot.rows.primary_rows,
few_shot.worlds.inner, few_shot.worlds.task_of, few_shot.worlds.world_of, flare.arms.ARMS, flare.campaign.coverage,
flare.campaign.jobs, flare.campaign.making_of, flare.campaign.others, flare.campaign.read, flare.campaign.titled,
flare.campaign.train_job, flare.parts.denoiser, flare.parts.load, flare.parts.make_once, flare.pooled.pool_of,
flare.tables.arm_rows, flare.tables.chosen_rows, flare.tables.claim_rows, flare.tables.macro_rows,
flare.tables.primary_rows, flare.tables.quality_rows, groups.arms.train_once, groups.fills.gallery, groups.plan.asked,
groups.plan.read, groups.plan.scene_of, groups.plan.scenes_of, groups.rows.arm_rows, groups.rows.tables,
groups.scenes.real_of, groups.scenes.tested, judge.folder.firsts, judge.folder.look, judge.folder.named,
judge.judge.judge, judge.plan.moment, prove.prove.agreement, prove.prove.rows, robust.arms.Task,
robust.arms.gradients, robust.arms.train, robust.plan.LISTS, robust.plan.read, robust.tables.read, shards.growth_rows,
steering.followed, steering.lost, zoo.arms.jobs, zoo.arms.train_job, zoo.claims.claim_rows, zoo.plan.read,
zoo.questions.fewer_rows, zoo.questions.question_rows, zoo.rows.apart, zoo.rows.augmenter_rows,
zoo.rows.prediction_rows, zoo.rows.primary_rows, zoo.rows.quality_rows, zoo.states.drawn, zoo.zoo.Fitting,
zoo.zoo.Place, zoo.zoo.ZOO, zoo.zoo.fit_once, zoo.zoo.gallery, zoo.zoo.judge_of, zoo.zoo.load_drawn, zoo.zoo.real_of.
"""
