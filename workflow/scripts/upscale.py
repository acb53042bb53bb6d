from pathlib import Path

from multiblock import network
from multiblock.files import digest_of, read_json
from multiblock.inference.folder import upscale_folder
from multiblock.workflow.jobs import device_of, job, trusted_code

with job(snakemake) as needed:
    if needed:
        params, memory = snakemake.params, snakemake.config["inference"]["memory_gib"]
        loaded = network.load(snakemake.input.weights, device_of(snakemake).device, trusted_code(snakemake))
        upscale_folder(
            loaded.upscaler(ensemble=params.ensemble, memory_gib=memory),
            images=Path(params.images),
            table=Path(snakemake.output[0]),
            form=params.form,
            results=Path(snakemake.config["results"]),
            about=str(loaded.about),
            made_of={
                **read_json(Path(snakemake.input.depends)),
                "weights": digest_of(Path(snakemake.input.weights)),
                "images": None,  # each result has its own picture's digest
            },
        )
