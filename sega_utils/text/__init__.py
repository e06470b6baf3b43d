"""Text: words and CLIP, never a generator.

Notebooks use: attributes.WORDS, attributes.effects, attributes.measure, attributes.said, attributes.terciles,
authored.write, banks.load_bank, clip.embed, clip.load_clip, clip.load_run_clip, clip.save_clip, clip_training.BARE,
clip_training.captions, clip_training.evaluate_clip, clip_training.train_clip, prompts.expand, prompts.flatten,
prompts.start_bank.
"""
