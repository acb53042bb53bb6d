rule upscale_pictures:
    """The pictures of upscale.images, through the network that a run ends with."""
    input:
        reads("upscale_pictures"),
    output:
        made("upscale_pictures"),
    log:
        log_of("upscale_pictures"),
    conda:
        ENVIRONMENT
    threads: started.given.threads
    resources:
        gpu=started.gpus(),
    script:
        "../scripts/make.py"


rule upscale:
    input:
        started.marks([started.results.upscale(run) for run in study.runs] if study.upscale.images else []),
