from pathlib import Path

from multiblock.files import write_text
from multiblock.report.measured import pixels
from multiblock.report.tables import as_markdown, psnr_by_phase, write
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        params, output = snakemake.params, snakemake.output
        table = psnr_by_phase(
            measured=dict(zip(params.of, map(Path, snakemake.input.measured), strict=True)),
            trained=dict(zip(params.of, map(Path, snakemake.input.trained), strict=True)),
            generated=params.generated,
            pixels=pixels(map(Path, snakemake.input.sizes)),
            shared=params.shared,
            sets=params.sets,
        )
        write(table, ["seed", "phase"], Path(output.csv), Path(output.times))
        text = as_markdown(table, snakemake.wildcards.run, params.border, params.titles)
        write_text(Path(output.markdown), text)
