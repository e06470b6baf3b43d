"""The zoo: augmenters in one comparison, its plan, its tables and the claims it judges."""
