rule convert:
    """Images to arrays: HR and LR of all splits, every file read once."""
    output:
        hr=image_set(f"{DATA}/HR"),
        lr=image_set(f"{DATA}/LR"),
    log:
        f"{DATA}/logs/convert.log",
    # All data sets are converted, and thereby checked, before any training.
    priority: 100
    conda:
        ENVIRONMENT
    params:
        images=lambda wildcards: IMAGES[wildcards.data],
        source=source_of("data.convert"),
    script:
        "../scripts/convert.py"


rule enlarge:
    """LR at the size of HR, for chains that keep the size."""
    input:
        image_set(f"{DATA}/LR"),
    output:
        image_set(f"{DATA}/LR_enlarged"),
    log:
        f"{DATA}/logs/enlarge.log",
    priority: 100
    conda:
        ENVIRONMENT
    params:
        scale=lambda wildcards: study.data[wildcards.data].scale,
        source=source_of("data.convert"),
    script:
        "../scripts/enlarge.py"
