"""The image tower of the embedded CLIP, as timm builds it by its name; importing this registers it there."""

import timm
from timm.models import build_model_with_cfg
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg

NAME, SIDE = "sega_resnet32", 32
# timm looks here for what it knows of a model, by its name
default_cfgs = timm.models.generate_default_cfgs({NAME: {"input_size": (1, SIDE, SIDE), "pool_size": (4, 4)}})


@timm.models.register_model
def sega_resnet32(pretrained: bool = False, **kwargs) -> ByobNet:
    """Build the embedded model's image tower: a residual network for 32x32 grey images."""
    blocks = tuple(ByoBlockCfg(type="basic", d=1, c=c, s=s) for c, s in ((32, 1), (64, 2), (128, 2)))
    config = ByoModelCfg(blocks=blocks, stem_chs=32, stem_type="3x3", stem_pool="", act_layer="silu")
    return build_model_with_cfg(ByobNet, NAME, pretrained, model_cfg=config, in_chans=1, **kwargs)
