from pathlib import Path

from multiblock.files import write_text
from multiblock.report.tables import as_markdown, psnr_by_phase, write
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        of, output = snakemake.params.of, snakemake.output
        table = psnr_by_phase(
            measured=dict(zip(of, map(Path, snakemake.input.measured), strict=True)),
            trained=dict(zip(of, map(Path, snakemake.input.trained), strict=True)),
        )
        write(table, ["seed", "phase"], Path(output.csv), Path(output.times))
        write_text(Path(output.markdown), as_markdown(table, snakemake.wildcards.run, snakemake.params.border))
