rule upscale_pictures:
    """The pictures of upscale.images, through the network that a run ends with."""
    input:
        weights=lambda wildcards: layout.final_weights(wildcards.run),
        depends=depends(f"{RESULTS}/{{run}}", "upscaled", on.upscaling),
    output:
        f"{RESULTS}/{{run}}/upscaled/pictures.csv",
    log:
        f"{RESULTS}/{{run}}/logs/upscale.log",
    conda:
        ENVIRONMENT
    threads: started.threads
    resources:
        gpu=started.needs.gpu,
        mem_mb=started.needs.image_mb,
        runtime=started.needs.image_minutes,
    params:
        folder=f"{RESULTS}/{{run}}/upscaled",
        images=str(study.upscale.images),
        ensemble=study.upscale.ensemble,
        form=study.upscale.format,
    script:
        "../scripts/upscale.py"


rule upscale:
    input:
        layout.upscaled(),
