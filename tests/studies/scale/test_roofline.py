"""A kernel's limit is that of the scarcer of two: bytes moved, or operations done."""

import pytest
import torch

from sega_utils.studies.scale import roofline


def test_the_limit_is_the_lower_roof(monkeypatch):
    monkeypatch.setattr(roofline, "peaks", lambda *_, **__: {"bytes_per_second": 1e6, "operations_per_second": 1e9})
    monkeypatch.setattr(roofline, "timed", lambda task, least: (0.5, task()))
    found = roofline.measure(torch.rand(4, 1, 32, 32), least=0)
    assert found["phash_per_second"] == 8
    assert found["phash_limit_per_second"] == pytest.approx(1e6 / (4096 + 64))
    monkeypatch.setattr(roofline, "peaks", lambda *_, **__: {"bytes_per_second": 1e12, "operations_per_second": 1e6})
    found = roofline.measure(torch.rand(4, 1, 32, 32), least=0)
    assert found["phash_limit_per_second"] == pytest.approx(1e6 / (2048 + 2 * 8 * 32 * 32 + 2 * 8 * 8 * 32))


def test_peaks_count_what_a_copy_reads_and_writes_and_a_product_multiplies_and_adds(monkeypatch):
    monkeypatch.setattr(roofline, "timed", lambda task, least: (0.5, task()))
    found = roofline.peaks(torch.device("cpu"), least=0, side=10, megabytes=2)
    assert found == {"bytes_per_second": 2 * 2 * 2**20 * 2, "operations_per_second": 2 * 10**3 * 2}
