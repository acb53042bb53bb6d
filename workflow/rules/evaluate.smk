rule evaluate:
    """Per-image PSNR and SSIM of a phase, beside those of no network, and its pictures."""
    input:
        weights=f"{PHASE}/weights.safetensors",
        lr=lambda wildcards: image_set(layout.input(wildcards), ["test"]),
        cached=lambda wildcards: image_set(layout.cached(wildcards), ["test"]),
        hr=lambda wildcards: image_set(layout.hr(wildcards), ["test"]),
        depends=depends(PHASE, "evaluate", on.evaluation),
    output:
        table=f"{PHASE}/psnr.csv",
        pictures=directory(f"{PHASE}/images"),
    log:
        f"{PHASE}/logs/evaluate.log",
    # A phase is measured before the next one is trained.
    priority: 50
    conda:
        ENVIRONMENT
    threads: started.threads
    resources:
        gpu=started.needs.gpu,
        mem_mb=started.needs.image_mb,
        runtime=started.needs.image_minutes,
    params:
        first=lambda wildcards: layout.run(wildcards).plan.phase(int(wildcards.phase)).first,
        last=lambda wildcards: layout.run(wildcards).plan.phase(int(wildcards.phase)).last,
        border=lambda wildcards: study.border(layout.run(wildcards)),
        measures=study.evaluation.measures,
    script:
        "../scripts/evaluate.py"


rule take_apart:
    """A network that a phase has trained over several blocks, block by block, before the phase and after it."""
    input:
        weights=lambda wildcards: layout.weights(wildcards, layout.before_and_after(wildcards).values()),
        lr=lambda wildcards: image_set(layout.input(wildcards), ["test"]),
        hr=lambda wildcards: image_set(layout.hr(wildcards), ["test"]),
        depends=depends(PHASE, "apart", on.apart),
    output:
        table=f"{PHASE}/psnr_by_block.csv",
        pictures=directory(f"{PHASE}/blocks"),
    log:
        f"{PHASE}/logs/take_apart.log",
    conda:
        ENVIRONMENT
    threads: started.threads
    resources:
        gpu=started.needs.gpu,
        mem_mb=started.needs.image_mb,
        runtime=started.needs.image_minutes,
    params:
        networks=lambda wildcards: list(layout.before_and_after(wildcards)),
        last=lambda wildcards: layout.run(wildcards).plan.phase(int(wildcards.phase)).last,
        border=lambda wildcards: study.border(layout.run(wildcards)),
        measures=study.evaluation.measures,
        images=study.report.images,
    script:
        "../scripts/take_apart.py"
