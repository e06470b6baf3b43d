"""Few shots: classes of which a few images are known, beside others of which many are."""
