from pathlib import Path

from multiblock.files import write_text
from multiblock.inference.timing import GENERATION
from multiblock.report.phases import pixels
from multiblock.report.tables import as_markdown, psnr_by_phase, write
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        params, output = snakemake.params, snakemake.output
        trained = dict(zip(params.of, map(Path, snakemake.input.trained), strict=True))
        table = psnr_by_phase(
            measured=dict(zip(params.of, map(Path, snakemake.input.measured), strict=True)),
            trained=trained,
            generated=params.generated,
            pixels=pixels(map(Path, snakemake.input.sizes)),
            shared=params.shared,
            generation={
                (seed, phase): [record.parent / f"LR_{k}" / GENERATION for k in params.sets[phase]]
                for (seed, phase), record in trained.items()
            },
        )
        write(table, ["seed", "phase"], Path(output.csv), Path(output.times))
        text = as_markdown(table, snakemake.wildcards.run, params.border, params.titles)
        write_text(Path(output.markdown), text)
