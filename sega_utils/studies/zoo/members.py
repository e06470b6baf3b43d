"""Members of the zoo that are made of others: plain data, so that planning their jobs needs no torch."""

PARTS = ("wgan-gp", "vae", "ddim")
# several together: as many images in all as one of them has, or all that they have
COMBINED = {"combined": PARTS, "combined x3": PARTS}
# drawn otherwise from another one's state: one network, one training
STATE_OF = dict.fromkeys(("ddim 100", "ddim 100 eta 1", "ddpm", "ddpm 1000"), "ddim") | {
    f"{name} x3": name for name in PARTS
}
TIMES = {name: 3 for name in (*COMBINED, *STATE_OF) if name.endswith(" x3")}  # as many images as the others have


def made_of(name: str) -> tuple[str, ...]:
    """Return which members must be there before one can be made; none for those that are trained themselves."""
    return COMBINED.get(name) or ((STATE_OF[name],) if name in STATE_OF else ())
