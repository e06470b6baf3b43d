"""Past one machine: the search for near-duplicates in jobs, what many candidates take, and a check of any GPU."""
