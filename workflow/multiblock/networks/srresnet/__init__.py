"""SRResNet: its entry in the zoo, and how its weights are published."""

from multiblock.networks.family import STUDY_003, Entry, Form, Rule

ENTRIES = (
    Entry(
        name="srresnet",
        family="srresnet",
        what="residual network of SRGAN",
        source=f"Ledig et al., CVPR 2017; {STUDY_003}",
    ),
)


def _srresnet_body(block: str, names: tuple[str, ...]) -> tuple[Rule, ...]:
    """A residual block whose five layers are called ``names``."""
    ours = ("conv1", "norm1", "activation", "conv2", "norm2")
    return tuple((f"{block}.{name}", f"body.{{k}}.{our}") for name, our in zip(names, ours, strict=True))


def _convolution_and_slope(name: str) -> tuple[Rule, ...]:
    """The first layers, which the authors have called by more than one name."""
    return ((f"{name}.0", "head"), (f"{name}.1", "activation"))


FORMS: tuple[Form, ...] = (
    Form(
        source="Lornatang/SRGAN-PyTorch",
        rules=(
            *_convolution_and_slope("conv1"),
            *_srresnet_body("trunk.{k}.rcb", ("0", "1", "2", "3", "4")),
            ("conv2.0", "closing"),
            ("conv2.1", "norm"),
            ("upsampling.{k}.upsample_block.0", "upsampler.{3k}"),
            ("upsampling.{k}.upsample_block.2", "upsampler.{3k+2}"),
            ("conv3", "tail"),
        ),
        also=(
            *_convolution_and_slope("conv_block1"),
            *_srresnet_body("trunk.{k}", ("conv1", "bn1", "prelu", "conv2", "bn2")),
            ("conv_block2.0", "closing"),
            ("conv_block2.1", "norm"),
            ("conv_block3", "tail"),
        ),
        # Convolutions before a batch norm have no bias there.
        absent=r"(?:body\.\d+\.conv[12]|closing)\.bias",
        fixed={"tanh": False},
    ),
    Form(
        source="sgrvinod/a-PyTorch-Tutorial-to-Super-Resolution",
        rules=(
            *_convolution_and_slope("conv_block1.conv_block"),
            *_srresnet_body(
                "residual_blocks.{k}",
                tuple(f"conv_block{n}.conv_block.{k}" for n, k in ((1, 0), (1, 1), (1, 2), (2, 0), (2, 1))),
            ),
            ("conv_block2.conv_block.0", "closing"),
            ("conv_block2.conv_block.1", "norm"),
            ("subpixel_convolutional_blocks.{k}.conv", "upsampler.{3k}"),
            ("subpixel_convolutional_blocks.{k}.prelu", "upsampler.{3k+2}"),
            ("conv_block3.conv_block.0", "tail"),
        ),
        options={"tanh": True},
    ),
)
