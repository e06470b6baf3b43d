"""One wrapper over open_clip: normalised embeddings of texts and of images (N, C, H, W) in [0, 1].

open_clip takes seconds to import; only who builds or loads a CLIP, or splits words, waits for it.
"""

import warnings
from pathlib import Path

import torch

from sega_utils.core import artifacts, learning, paths, schema
from sega_utils.data.images import resize
from sega_utils.text import attributes, outside_clip

EMBED_DIM, CONTEXT, SIDE = 128, 16, 32
EMBEDDED = {  # a stand-in of about 0.4 M parameters in open_clip's architecture, for 32x32 grey images
    "embed_dim": EMBED_DIM,
    "vision_cfg": {"image_size": SIDE, "timm_model_name": "sega_resnet32"},
    "text_cfg": {"context_length": CONTEXT, "width": 64, "heads": 4, "layers": 2},
}


class Clip:
    """A frozen CLIP model whose images are tensors.

    Attributes:
        dim: length of the embeddings.
        temperature: the learned softmax temperature, 1 / exp(logit scale).
        sha256: digest of the weights.
        meta: of the checkpoint; empty for a model that this project has not trained.
    """

    def __init__(self, model: torch.nn.Module, tokenize, *, image_size: int, mean, std, sha256: str):
        self.model = model.eval().requires_grad_(False)
        self.tokenize, self.image_size, self.sha256, self.meta = tokenize, image_size, sha256, {}
        self.device = next(model.parameters()).device
        self.mean, self.std = (torch.tensor(v, device=self.device).view(1, -1, 1, 1) for v in (mean, std))
        self.temperature = float(1 / model.logit_scale.exp())
        self.dim = self.encode_text(["a photo"]).shape[1]

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Embed images, resized on their device as open_clip's own preprocessing does; gradients flow through.

        Args:
            images: float32 (N, C, H, W) in [0, 1], C = 1 or 3, square.

        Returns:
            float32 (N, dim), L2-normalised.
        """
        images = images.to(self.device)
        if images.shape[1] == 1 and self.mean.shape[1] == 3:
            images = images.expand(-1, 3, -1, -1)
        if images.shape[1] == 3 and self.mean.shape[1] == 1:  # the stand-in sees no colours
            images = images.mean(1, keepdim=True)
        if images.shape[-1] != self.image_size:
            images = resize(images, self.image_size)
        return self.model.encode_image((images - self.mean) / self.std, normalize=True)

    @torch.no_grad()
    def encode_text(self, texts: list[str]) -> torch.Tensor:
        """Embed texts as float32 (len(texts), dim), L2-normalised."""
        return self.model.encode_text(self.tokenize(texts).to(self.device), normalize=True)


@torch.no_grad()
def embed(clip: Clip, images: torch.Tensor, batch: int = 500) -> torch.Tensor:
    """Embed many images in batches, without gradients; float32 (N, dim), L2-normalised."""
    parts = [clip.encode_images(part) for part in images.split(batch)]
    return torch.cat(parts) if parts else torch.empty(0, clip.dim, device=clip.device)


def load_clip(name: str | Path, device: torch.device | str = "cpu") -> Clip:
    """Load the embedded stand-in, the one of the extra ``outside``, or any open_clip model.

    Args:
        name: path of a checkpoint written by ``save_clip``; ``outside`` for that of ``outside_clip``; or
            ``MODEL:PRETRAINED`` where MODEL is one of ``open_clip.list_models()`` and PRETRAINED a tag of it or the
            path of its weights.

    Raises:
        ValueError: no such model or tag, or the extra is not installed; FileNotFoundError, ArtifactError: no such or a
            damaged checkpoint.
    """
    if str(name).endswith(".safetensors") and ":" not in str(name):
        return load_own(Path(name), device)
    if name == outside_clip.NAME:
        model, settings = outside_clip.load(device)
        return Clip(model, **settings)
    return load_foreign(str(name), device)


def load_own(path: Path, device: torch.device | str) -> Clip:
    """Load a checkpoint of the embedded architecture, with its ``meta``; errors as of ``learning.load_network``."""
    build = lambda meta, _: build_clip(meta["vocabulary"])
    model = learning.load_network(path, build, what="CLIP of this package", device=device)
    tokenize = Vocabulary(model.meta["vocabulary"])
    clip = Clip(model, tokenize, image_size=SIDE, mean=[0.5], std=[0.5], sha256=model.meta["sha256"])
    clip.meta = model.meta
    return clip


def load_foreign(name: str, device: torch.device | str) -> Clip:
    """Load an open_clip model by its ``MODEL:PRETRAINED``; arguments and errors are those of ``load_clip``."""
    import open_clip

    model_name, _, pretrained = name.partition(":")
    if model_name not in open_clip.list_models() or not pretrained:
        raise ValueError(
            f"unknown CLIP {name!r}; give a .safetensors file of this project, {outside_clip.NAME} or "
            f"MODEL:PRETRAINED with MODEL one of open_clip.list_models(), e.g. 'ViT-B-32:laion2b_s34b_b79k'"
        )
    if not Path(pretrained).exists() and pretrained not in open_clip.list_pretrained_tags_by_model(model_name):
        raise ValueError(
            f"{pretrained!r} is neither a file nor a tag of {model_name}; its tags are "
            f"{', '.join(open_clip.list_pretrained_tags_by_model(model_name)) or 'none'}"
        )
    if Path(pretrained).exists() and (twin := twin_of(model_name)):
        warnings.warn(
            f"a file of weights does not say whether it was trained as {model_name} or as {twin}; they load into both, "
            "and embed differently: make sure that the name is the right one (OpenAI's own are quickgelu)",
            stacklevel=3,
        )
    try:
        model, _, _ = open_clip.create_model_and_transforms(model_name, pretrained=pretrained, device=device)
    except Exception as error:  # every format's reader, and the download, raises its own
        raise artifacts.ArtifactError(
            f"{pretrained} cannot be loaded into {model_name}: it is damaged, made for "
            "another model, or a tag that cannot be downloaded from here"
        ) from error
    schema.check_finite(model.state_dict(), Path(pretrained))
    weights, quick = artifacts.digest(model.state_dict()), open_clip.get_model_config(model_name).get("quick_gelu")
    size = model.visual.image_size
    return Clip(
        model,
        open_clip.get_tokenizer(model_name),
        image_size=size[0] if isinstance(size, tuple) else size,
        mean=model.visual.image_mean,
        std=model.visual.image_std,
        sha256=artifacts.digest_json([weights, "quickgelu"]) if quick else weights,  # they embed differently
    )


def twin_of(model_name: str) -> str:
    """Return open_clip's model of the same weights and another activation (QuickGELU or GELU); empty if it has none."""
    import open_clip

    end = "-quickgelu"
    twin = model_name.removesuffix(end) if model_name.endswith(end) else model_name + end
    return twin if twin in open_clip.list_models() else ""


def load_run_clip(run: str, dataset: str, device: torch.device | str = "cpu") -> Clip:
    """Load the CLIP a run uses, as its stage 01_clip left it in ``clip.json``.

    Raises:
        ArtifactError: the model is no longer the one that the run began with.
    """
    pointer = artifacts.load_json(paths.require(run, dataset, "clip"))
    name = pointer["name"]
    clip = load_clip(paths.located(name) if name.endswith(".safetensors") and ":" not in name else name, device)
    if clip.sha256 != pointer["sha256"]:
        raise artifacts.ArtifactError(
            f"{name} has changed since this run began (digest {clip.sha256}, expected "
            f"{pointer['sha256']}); run 01_clip and what follows it again"
        )
    return clip


def save_clip(path: Path, model: torch.nn.Module, vocabulary: list[int], meta: dict) -> str:
    """Write the embedded architecture's weights, in half precision, atomically; return their digest."""
    return learning.save_network(path, model, meta | {"vocabulary": vocabulary}, half=True)


def build_clip(vocabulary: list[int]) -> torch.nn.Module:
    """Return an untrained open_clip model of the embedded architecture for a vocabulary of BPE tokens."""
    import open_clip

    from sega_utils.text import tower  # noqa: F401  timm knows the image tower by its name from here on

    text = EMBEDDED["text_cfg"] | {"vocab_size": len(vocabulary) + 1}
    model = open_clip.CustomTextCLIP(EMBEDDED["embed_dim"], EMBEDDED["vision_cfg"], text)
    return model.to(memory_format=torch.channels_last)


class Vocabulary:
    """open_clip's tokenizer, reduced to the words a small model was trained on; it ignores all others.

    A word the model never saw would add noise, not meaning: here it adds nothing.

    Args:
        tokens: sorted BPE token ids of open_clip's ``SimpleTokenizer``, start and end marks included.
    """

    def __init__(self, tokens: list[int]):
        import open_clip

        self.tokenizer = open_clip.SimpleTokenizer()
        self.index = {token: i + 1 for i, token in enumerate(tokens)}  # 0 pads; the end mark stays the largest

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Return token indices int64 (len(texts), CONTEXT)."""
        out = torch.zeros(len(texts), CONTEXT, dtype=torch.int64)
        start, end = self.index[self.tokenizer.sot_token_id], self.index[self.tokenizer.eot_token_id]
        for row, text in zip(out, texts, strict=True):
            known = [self.index[t] for t in self.tokenizer.encode(text) if t in self.index][: CONTEXT - 2]
            row[: len(known) + 2] = torch.tensor([start, *known, end])
        return out


def vocabulary_of(class_names: tuple[str, ...]) -> list[int]:
    """Return the BPE tokens of the class names, their plurals and every attribute word, sorted, with both marks."""
    import open_clip

    tokenizer = open_clip.SimpleTokenizer()
    words = [*class_names, *map(attributes.plural, class_names), *(w for ws in attributes.WORDS.values() for w in ws)]
    tokens = {token for word in words for token in tokenizer.encode(word)}
    return sorted(tokens | {tokenizer.sot_token_id, tokenizer.eot_token_id})
