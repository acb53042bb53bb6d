from pathlib import Path

from multiblock.page.study import RunFiles, page
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        params, files = snakemake.params, snakemake.input
        tables, times = (dict(zip(params.phases, map(Path, of), strict=True)) for of in (files.tables, files.times))
        page(
            study=Path(snakemake.output.page).name.removesuffix("_report.html"),
            runs={
                run: RunFiles(
                    table=tables[run],
                    times=times[run],
                    seeds={s: list(map(Path, of)) for s, of in zip(params.seeds, seeds, strict=True)},
                    lr=Path(params.sets[run][0], "test.npy"),
                    hr=Path(params.sets[run][1], "test.npy"),
                    plan=params.plans[run],
                )
                for run, seeds in params.phases.items()
            },
            baseline=params.baseline,
            pairs=params.pairs,
            side=params.zoom,
            out=Path(snakemake.output.page),
            small=Path(snakemake.output.small),
            files=list(map(Path, files.csvs)),
        )
