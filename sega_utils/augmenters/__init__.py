"""Augmenters: where synthetic images come from, one file each behind one registry.

Notebooks use: base.frechet_distance, base.generate, base.intra_class_distance, base.noise_of, base.plan,
base.retrieval, base.save_generator, base.select, base.spread_of, diffusion.load_diffusion, diffusion.sample_ddim,
diffusion.save_diffusion, diffusion.train_diffusion, gan.train_gan, pools.compared, pools.load_generator,
pools.load_inputs, pools.recipe_of, sega.cluster, sega.draw, sega.latents, sega.load_projector, sega.save_projector,
sega.train_projector.
"""
