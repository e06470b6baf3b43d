"""Data: what an image is, and where real ones come from.

Notebooks use: catalogue.about, catalogue.counts, catalogue.load, catalogue.load_real, catalogue.names,
catalogue.notes, catalogue.pick, images.from_uint8, images.take, images.to_uint8.
"""
