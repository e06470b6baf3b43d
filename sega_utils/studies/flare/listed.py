"""FLARE's rows and their controls by name, and what records say of each."""

from typing import NamedTuple

from sega_utils.studies.flare.parts import Making

BEST = "CutMix"  # of the zoo's arms on real images alone, by validation, where it has measured 60 a class


class Arm(NamedTuple):
    """What an arm trains on and how, and which arm it is compared with.

    Attributes:
        to: its control. real: what versions are made of: raw, restored, or nothing; alpha: share of their kinds.
        drawn: a name of ``parts.load``, or nothing; beta: share of its kinds.
        share: of every batch, drawn; 0 takes images as they come in the pool.
        gate: psnr, which drops images below the limit, or matched by source, see ``pooled.gated``.
        recipe: fixed (images as they are in the pool), anew (versions drawn at each step), or best (``BEST``).
        varied: whether drawn images have variations; without any, as large a share of a batch is drawn as of ``to``'s.
        choice: how rows of the shares are chosen: the first kinds, or of each class those that a classifier of the
            real images gives the highest score, or any at random.
        enlarge: what doubles the side of test images, bicubic or restorer, and of a pool of ``raw`` images, which is
            always bicubic; nothing: all images keep their side, restored ones are brought back to it.
    """

    to: str = ""
    real: str = "restored"
    alpha: float = 0.5
    drawn: str = "drawn restored"
    beta: float = 1.0
    share: float = 0.0
    gate: str = ""
    recipe: str = "fixed"
    varied: bool = True
    choice: str = ""
    enlarge: str = ""


LATER = {"choice", "enlarge"}  # fields that records state where they say something

NOTHING = {"real": "", "drawn": ""}  # but the real images themselves
ARMS = {
    "Raw_LR": Arm("", **NOTHING),
    "Raw_Aug_LR": Arm("Raw_LR", real="raw", alpha=1.0, drawn=""),
    "Raw_Aug_HR": Arm("Raw_Aug_LR", alpha=1.0, drawn=""),
    "Raw_Aug_LR alpha 0.5": Arm("Raw_Aug_LR", real="raw", drawn=""),
    "Raw_Aug_HR alpha 0.5": Arm("Raw_Aug_HR", drawn=""),
    "T2I_Aug_HR": Arm("Raw_Aug_HR", real=""),
    "FLARE": Arm("Raw_Aug_HR alpha 0.5"),
    "FLARE alpha 0.5 beta 0.5": Arm("FLARE", beta=0.5),
    "FLARE alpha 0.5 beta 0.75": Arm("FLARE", beta=0.75),
    "FLARE alpha 1 beta 1": Arm("Raw_Aug_HR", alpha=1.0),
    "FLARE alpha 0.5 beta 0.5 at random": Arm("FLARE alpha 0.5 beta 0.5", beta=0.5, choice="chance"),
    "FLARE alpha 0.5 beta 0.5 by score": Arm("FLARE alpha 0.5 beta 0.5 at random", beta=0.5, choice="score"),
    "Raw_Aug_LR drawn anew": Arm("Raw_Aug_LR", **NOTHING, recipe="anew"),
    "FLARE without restoration": Arm("FLARE", real="raw", drawn="drawn"),
    "FLARE without I2I": Arm("FLARE", varied=False),
    "FLARE with I2I of real images": Arm("FLARE", drawn="redrawn restored"),
    "FLARE share 0.1": Arm("FLARE", share=0.1),
    "FLARE share 0.3": Arm("FLARE", share=0.3),
    "FLARE gate": Arm("FLARE random gate", gate="psnr"),
    "FLARE random gate": Arm("FLARE", gate="matched by source"),
    "Raw_Aug_LR enlarged": Arm("Raw_Aug_LR", real="raw", alpha=1.0, drawn="", enlarge="bicubic"),
    "Raw_Aug_HR enlarged": Arm("Raw_Aug_LR enlarged", alpha=1.0, drawn="", enlarge="bicubic"),
    "Raw_Aug_HR enlarged, test too": Arm("Raw_Aug_LR enlarged", alpha=1.0, drawn="", enlarge="restorer"),
    BEST: Arm("Raw_Aug_LR drawn anew", **NOTHING, recipe="best"),
    f"Raw_Aug_HR alpha 0.5 onto {BEST}": Arm(BEST, drawn="", recipe="best"),
    f"FLARE onto {BEST}": Arm(f"Raw_Aug_HR alpha 0.5 onto {BEST}", recipe="best"),
}


def told(arm: Arm, making: Making) -> dict:
    """Return what records say of an arm, and of how its images were made if it needs any."""
    unsaid = {"to", "varied"} | {name for name in LATER if not getattr(arm, name)}
    own = {name: value for name, value in arm._asdict().items() if name not in unsaid}
    return own | (making.told() if needs(arm) else {})


def is_of(record: dict, arm: str, making: Making) -> bool:
    """Return whether a record is of an arm as it is today, of images that are made in this way."""
    decided = set() if ARMS[arm].varied else {"beta", "share"}  # by its place
    return all(record.get(f"param_{k}") == v for k, v in told(ARMS[arm], making).items() if k not in decided)


def needs(arm: Arm) -> str:
    """Return what an arm needs to be made first: ``drawn`` (all parts), the ``restorer`` alone, or nothing."""
    restored = "restorer" if arm.real == "restored" or arm.enlarge == "restorer" else ""
    return restored if arm.enlarge else "drawn" if restored or arm.drawn else ""
