rule convert:
    """Images to arrays: HR and LR of all splits, every file read once."""
    input:
        depends=depends(DATA, "convert", on.conversion),
    output:
        hr=image_set(f"{DATA}/HR"),
        lr=image_set(f"{DATA}/LR"),
    log:
        f"{DATA}/logs/convert.log",
    # All data sets are converted, and thereby checked, before any training.
    priority: 100
    conda:
        ENVIRONMENT
    threads: started.convert_threads
    params:
        code=on.conversion_code,
    script:
        "../scripts/convert.py"


rule enlarge:
    """LR at the size of HR, for chains that keep the size."""
    input:
        lr=image_set(f"{DATA}/LR"),
        depends=depends(DATA, "enlarge", on.enlargement),
    output:
        image_set(f"{DATA}/LR_enlarged"),
    log:
        f"{DATA}/logs/enlarge.log",
    priority: 100
    conda:
        ENVIRONMENT
    threads: started.convert_threads
    params:
        code=lambda wildcards: on.enlargement(wildcards)["code"],
        scale=lambda wildcards: study.data[wildcards.data].scale,
    script:
        "../scripts/enlarge.py"
