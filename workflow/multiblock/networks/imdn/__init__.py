"""IMDN: its entries in the zoo, and how its weights are published."""

from multiblock.networks.family import STUDY_004, Entry, Form

ENTRIES = (
    Entry(
        name="imdn",
        family="imdn",
        what="information multi-distillation network, 64 channels, 6 modules",
        source="Hui et al., ACM MM 2019 (Zheng222/IMDN)",
    ),
    Entry(
        name="imdn_20x6",
        family="imdn",
        what="IMDN, 20 channels",
        source=STUDY_004,
        options={"channels": 20},
    ),
    *(
        Entry(
            name=f"imdn_rtc{size}",
            family="imdn",
            what=f"IMDN_RTC, {channels} channels, {modules} modules",
            source=source,
            options={"channels": channels, "modules": modules, "attention": False, "aggregate": False},
        )
        for size, channels, modules, source in (
            ("", 12, 5, "Hui et al., AIM 2019 (Zheng222/IMDN)"),
            ("_16x10", 16, 10, STUDY_004),
            ("_12x16", 12, 16, STUDY_004),
        )
    ),
    *(
        Entry(
            name=f"imdn_dw_{channels}x{modules}",
            family="imdn",
            what=f"depthwise-separable IMDN, {channels} channels, {modules} modules (recovered from its counts)",
            source=STUDY_004,
            options={
                "channels": channels,
                "modules": modules,
                "depthwise": True,
                "reduction": 12,
                "passes": 2,
            },
        )
        for channels, modules in ((40, 6), (36, 8), (32, 10))
    ),
)

FORMS: tuple[Form, ...] = (
    Form(
        source="Zheng222/IMDN, IMDN",
        rules=(
            ("fea_conv", "head"),
            ("IMDB{k+1}.c5", "body.{k}.join"),
            ("IMDB{k+1}.c{j}", "body.{k}.conv{j}"),
            ("IMDB{k+1}.cca.conv_du.0", "body.{k}.attention.squeeze"),
            ("IMDB{k+1}.cca.conv_du.2", "body.{k}.attention.excite"),
            ("c.0", "join.0"),
            ("LR_conv", "join.2"),
            ("upsampler.0", "upsampler.0"),
        ),
        fixed={"depthwise": False, "passes": 1, "attention": True, "aggregate": True},
    ),
    Form(
        source="Zheng222/IMDN, IMDN_RTC",
        rules=(
            ("model.0", "head"),
            ("model.1.sub.{k}.c5", "body.{k}.join"),
            ("model.1.sub.{k}.c{j}", "body.{k}.conv{j}"),
            ("model.1.sub.{modules}", "join.0"),
            ("model.2", "upsampler.0"),
        ),
        also=(("model.1.sub.{k}", "join.0"), ("model.2.0", "upsampler.0")),
        fixed={"depthwise": False, "passes": 1, "attention": False, "aggregate": False},
    ),
)
