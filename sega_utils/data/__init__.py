"""Data: what an image is, and where real ones come from.

Notebooks use: catalogue.about, catalogue.counts, catalogue.load, catalogue.load_real, catalogue.subset,
images.from_uint8, images.to_uint8.
"""
