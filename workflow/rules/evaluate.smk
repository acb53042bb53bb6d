rule evaluate:
    """Per-image PSNR and SSIM of a phase, beside those of no network, and its pictures."""
    input:
        reads("evaluate"),
    output:
        made("evaluate"),
    log:
        log_of("evaluate"),
    # A phase is measured before the next one is trained.
    priority: 50
    conda:
        ENVIRONMENT
    threads: started.given.threads
    resources:
        gpu=started.gpus(),
    script:
        "../scripts/make.py"


rule take_apart:
    """A network that a phase has trained over several blocks, block by block, before the phase and after it."""
    input:
        reads("take_apart"),
    output:
        made("take_apart"),
    log:
        log_of("take_apart"),
    conda:
        ENVIRONMENT
    threads: started.given.threads
    resources:
        gpu=started.gpus(),
    script:
        "../scripts/make.py"
