"""Core: files, seeds, records, loops; it knows no image.

Notebooks use: artifacts.check_origin, artifacts.digest, artifacts.load_csv, artifacts.load_tensors,
artifacts.save_csv, artifacts.save_json, artifacts.save_tensors, artifacts.sha256, numbers.aligned, numbers.markdown,
paths.DATA, paths.OWN, paths.artifact, paths.located, paths.own_folder, paths.pretrained, paths.require, paths.shown,
records.describe, records.path, records.read, records.write, runtime.generator, runtime.map_workers, runtime.measure,
runtime.start.
"""
