from pathlib import Path

from multiblock.page.pages import RunFiles, study_page
from multiblock.report.phases import PhaseFiles
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        params, files = snakemake.params, snakemake.input
        tables, times = (dict(zip(params.phases, map(Path, of), strict=True)) for of in (files.tables, files.times))
        study_page(
            study=Path(snakemake.output.page).name.removesuffix("_report.html"),
            runs={
                run: RunFiles(
                    table=tables[run],
                    times=times[run],
                    phases={
                        (seed, phase): PhaseFiles(
                            history=Path(folder, "history.csv"),
                            training=Path(folder, "training.json"),
                            measured=Path(folder, "psnr.csv"),
                            pictures=Path(folder, "images"),
                        )
                        for seed, folders in zip(params.seeds, seeds, strict=True)
                        for phase, folder in enumerate(folders, 1)
                    },
                    page=f"{run}/report.html",
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
            links=[Path(file).name for file in files.csvs],
        )
