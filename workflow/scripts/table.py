from pathlib import Path

from multiblock.jobs import job
from multiblock.tables import as_markdown, psnr_by_phase

with job(snakemake):
    of = snakemake.params.of
    table = psnr_by_phase(
        measured=dict(zip(of, map(Path, snakemake.input.measured), strict=True)),
        trained=dict(zip(of, map(Path, snakemake.input.trained), strict=True)),
    )
    table.to_csv(snakemake.output.csv, index=False)
    Path(snakemake.output.markdown).write_text(as_markdown(table, snakemake.wildcards.run, snakemake.params.border))
