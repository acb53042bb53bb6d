rule evaluate:
    """Per-image PSNR and SSIM of a phase, beside those of no network, and its pictures."""
    input:
        weights=f"{PHASE}/weights.safetensors",
        lr=lambda wildcards: image_set(input_folder(wildcards), ["test"]),
        cached=lambda wildcards: image_set(cached_folder(wildcards), ["test"]),
        hr=lambda wildcards: image_set(hr_folder(wildcards), ["test"]),
    output:
        table=f"{PHASE}/psnr.csv",
        pictures=directory(f"{PHASE}/images"),
    log:
        f"{PHASE}/logs/evaluate.log",
    # A phase is measured before the next one is trained.
    priority: 50
    conda:
        ENVIRONMENT
    threads: workflow.cores
    resources:
        gpu=1,
    params:
        first=lambda wildcards: plan_of(wildcards).phase(int(wildcards.phase)).first,
        border=lambda wildcards: study.border(study.runs[wildcards.run]),
        memory_gib=study.inference["memory_gib"],
        source=lambda wildcards: source_of("inference.evaluation", wildcards),
    script:
        "../scripts/evaluate.py"
