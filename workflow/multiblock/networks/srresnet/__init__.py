"""SRResNet: its entry in the zoo, and how its weights are published."""

from multiblock.networks.entry import STUDY_003, Entry
from multiblock.networks.forms import Form, Rule

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
    return tuple((rf"{block}\.{name}", rf"body.\1.{our}") for name, our in zip(names, ours, strict=True))


FORMS: tuple[Form, ...] = (
    Form(
        source="Lornatang/SRGAN-PyTorch",
        rules=(
            (r"(?:conv1|conv_block1)\.0", "head"),
            (r"(?:conv1|conv_block1)\.1", "activation"),
            *_srresnet_body(r"trunk\.(\d+)\.rcb", ("0", "1", "2", "3", "4")),
            *_srresnet_body(r"trunk\.(\d+)", ("conv1", "bn1", "prelu", "conv2", "bn2")),
            (r"(?:conv2|conv_block2)\.0", "closing"),
            (r"(?:conv2|conv_block2)\.1", "norm"),
            (r"upsampling\.(\d)\.upsample_block\.([02])", lambda m: f"upsampler.{3 * int(m[1]) + int(m[2])}"),
            (r"(?:conv3|conv_block3)", "tail"),
        ),
        # Convolutions before a batch norm have no bias there.
        absent=r"(?:body\.\d+\.conv[12]|closing)\.bias",
    ),
    Form(
        source="sgrvinod/a-PyTorch-Tutorial-to-Super-Resolution",
        rules=(
            (r"conv_block1\.conv_block\.0", "head"),
            (r"conv_block1\.conv_block\.1", "activation"),
            *_srresnet_body(
                r"residual_blocks\.(\d+)",
                tuple(f"conv_block{n}.conv_block.{k}" for n, k in ((1, 0), (1, 1), (1, 2), (2, 0), (2, 1))),
            ),
            (r"conv_block2\.conv_block\.0", "closing"),
            (r"conv_block2\.conv_block\.1", "norm"),
            (r"subpixel_convolutional_blocks\.(\d)\.conv", lambda m: f"upsampler.{3 * int(m[1])}"),
            (r"subpixel_convolutional_blocks\.(\d)\.prelu", lambda m: f"upsampler.{3 * int(m[1]) + 2}"),
            (r"conv_block3\.conv_block\.0", "tail"),
        ),
        options={"tanh": True},
    ),
)
