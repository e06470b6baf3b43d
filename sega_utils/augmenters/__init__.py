"""Augmenters: where synthetic images come from, one file each behind one registry.

Notebooks use: base.frechet_distance, base.generate, base.intra_class_distance, base.noise_of, base.plan,
base.retrieval, base.save_generator, base.select, base.spread_of, composition.composed, diffusion.load_diffusion,
diffusion.redraw, diffusion.sample_ddim, diffusion.save_diffusion, diffusion.train_diffusion, flare.kinds_of,
gan.train_gan, pools.compared, pools.draw, pools.judge, pools.leave_out_copies, pools.load_generator,
pools.load_inputs, pools.provenance, pools.recipe_of, pools.save_pool, registry.AUGMENTERS, sage.class_basis,
sage.class_means, sega.cluster, sega.latents, sega.save_projector, sega.train_projector, shapes.drawn, style.fit,
style.invert, style.render.
"""
