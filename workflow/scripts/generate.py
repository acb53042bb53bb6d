from pathlib import Path

from multiblock.inference.cache import generate
from multiblock.inference.timing import GENERATION, noted
from multiblock.training.record import check_phases
from multiblock.workflow.jobs import device_of, job, trusted_code, weights_by_phase

with job(snakemake) as needed:
    if needed:
        if snakemake.config["training"]["below_input"] == "stop":
            check_phases(map(Path, snakemake.input.weights))
        files = weights_by_phase(snakemake.input.weights)
        out = Path(snakemake.output[0]).parent
        with noted(out / GENERATION):
            generate(
                files={block: files[phase] for block, phase in snakemake.params.blocks.items()},
                inputs=Path(snakemake.input.images[0]).parent,
                out=out,
                cache=snakemake.config["inference"]["cache"],
                device=device_of(snakemake).device,
                memory_gib=snakemake.config["inference"]["memory_gib"],
                trusted=trusted_code(snakemake),
            )
