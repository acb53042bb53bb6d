"""SR-ResUNet: its entries in the zoo."""

from multiblock.networks.family import STUDY_002, Entry

ENTRIES = (
    *(
        Entry(
            name=f"sr_resunet_{number}",
            family="sr_resunet",
            scales=(2, 4),
            what=f"SR-ResUNet, {encoder} encoder, {decoder} decoder, attention: {attention}",
            source=STUDY_002,
            options={"encoder": encoder, "decoder": decoder, "attention": attention},
        )
        for number, (encoder, decoder, attention) in enumerate(
            (
                ("resnet34", "mirror", "none"),
                ("resnet34", "dense", "none"),
                ("resnet50", "mirror", "none"),
                ("resnet50", "dense", "none"),
                ("resnext50_32x4d", "mirror", "none"),
                ("resnext50_32x4d", "dense", "none"),
                ("resnet34", "dense", "channel"),
                ("resnet34", "dense", "spatial"),
                ("resnet34", "dense", "both"),
            ),
            1,
        )
    ),
)
