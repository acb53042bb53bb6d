rule table:
    """PSNR by phase, means over the test images."""
    input:
        measured=lambda wildcards: layout.of_phases(wildcards.run, "psnr.csv"),
        trained=lambda wildcards: layout.of_phases(wildcards.run, "training.json"),
        sizes=lambda wildcards: [f"{layout.hr(wildcards)}/{split}.csv" for split in SPLITS],
        depends=depends(f"{RESULTS}/{{run}}", "table", on.table),
    output:
        csv=report(
            f"{RESULTS}/{{run}}/psnr_by_phase.csv",
            caption="../report/psnr_by_phase.rst",
            category="PSNR by phase",
            labels={"run": "{run}", "form": "table"},
        ),
        times=f"{RESULTS}/{{run}}/times.csv",
        markdown=f"{RESULTS}/{{run}}/psnr_by_phase.md",
    log:
        f"{RESULTS}/{{run}}/logs/table.log",
    conda:
        ENVIRONMENT
    params:
        of=lambda wildcards: layout.seeds_and_phases(wildcards.run),
        border=lambda wildcards: study.border(layout.run(wildcards)),
        titles=on.titles,
        generated=layout.generated,
        shared=lambda wildcards: layout.shared_with(wildcards.run),
        sets=layout.sets,
    script:
        "../scripts/table.py"


rule figures:
    """PSNR by phase, learning curves, and strips of pictures."""
    input:
        table=f"{RESULTS}/{{run}}/psnr_by_phase.csv",
        times=f"{RESULTS}/{{run}}/times.csv",
        measured=lambda wildcards: layout.of_phases(wildcards.run, "psnr.csv"),
        histories=lambda wildcards: layout.of_phases(wildcards.run, "history.csv"),
        trained=lambda wildcards: layout.of_phases(wildcards.run, "training.json"),
        pictures=lambda wildcards: layout.of_phases(wildcards.run, "images"),
        lr=lambda wildcards: image_set(layout.input(wildcards), ["test"]),
        hr=lambda wildcards: image_set(layout.hr(wildcards), ["test"]),
        depends=depends(f"{RESULTS}/{{run}}", "figures", on.figures),
    output:
        psnr=report(
            f"{RESULTS}/{{run}}/psnr_by_phase.png",
            caption="../report/psnr_by_phase.rst",
            category="PSNR by phase",
            labels={"run": "{run}", "form": "plot"},
        ),
        curves=report(
            f"{RESULTS}/{{run}}/learning_curves.png",
            caption="../report/learning_curves.rst",
            category="Learning curves",
            labels={"run": "{run}"},
        ),
        strips=report(
            directory(f"{RESULTS}/{{run}}/strips"),
            patterns=["{image}.png"],
            caption="../report/strips.rst",
            category="Pictures",
            labels={"run": "{run}", "image": "{image}"},
        ),
    log:
        f"{RESULTS}/{{run}}/logs/figures.log",
    conda:
        ENVIRONMENT
    params:
        of=lambda wildcards: layout.seeds_and_phases(wildcards.run),
        titles=on.titles,
        images=study.report.images,
        zoom=study.report.zoom,
    script:
        "../scripts/figures.py"


rule page:
    """One page of a run that opens offline: tables, viewer of pictures, charts, plan; a small one for this report."""
    input:
        table=f"{RESULTS}/{{run}}/psnr_by_phase.csv",
        times=f"{RESULTS}/{{run}}/times.csv",
        measured=lambda wildcards: layout.of_phases(wildcards.run, "psnr.csv"),
        histories=lambda wildcards: layout.of_phases(wildcards.run, "history.csv"),
        trained=lambda wildcards: layout.of_phases(wildcards.run, "training.json"),
        pictures=lambda wildcards: layout.of_phases(wildcards.run, "images"),
        lr=lambda wildcards: image_set(layout.input(wildcards), ["test"]),
        hr=lambda wildcards: image_set(layout.hr(wildcards), ["test"]),
        depends=depends(f"{RESULTS}/{{run}}", "page", on.page),
    output:
        page=f"{RESULTS}/{{run}}/report.html",
        small=report(
            f"{RESULTS}/{{run}}/report_small.html",
            caption="../report/page.rst",
            category="Pages",
            labels={"of": "run {run}"},
        ),
    log:
        f"{RESULTS}/{{run}}/logs/page.log",
    conda:
        ENVIRONMENT
    params:
        of=lambda wildcards: layout.seeds_and_phases(wildcards.run),
        border=lambda wildcards: study.border(layout.run(wildcards)),
        titles=on.titles,
        plan=lambda wildcards: on.plan(wildcards.run),
        zoom=study.report.zoom,
    script:
        "../scripts/page.py"


rule by_block:
    """What each block does of networks that a phase has trained over several blocks: table and strips of pictures."""
    input:
        measured=lambda wildcards: layout.of_joint_phases(wildcards.run, "psnr_by_block.csv"),
        pictures=lambda wildcards: layout.of_joint_phases(wildcards.run, "blocks"),
        lr=lambda wildcards: image_set(layout.input(wildcards), ["test"]),
        hr=lambda wildcards: image_set(layout.hr(wildcards), ["test"]),
        depends=depends(f"{RESULTS}/{{run}}", "by_block", on.by_block),
    output:
        csv=report(
            f"{RESULTS}/{{run}}/psnr_by_block.csv",
            caption="../report/psnr_by_block.rst",
            category="PSNR by block",
            labels={"run": "{run}", "form": "table"},
        ),
        markdown=f"{RESULTS}/{{run}}/psnr_by_block.md",
        strips=report(
            directory(f"{RESULTS}/{{run}}/blocks"),
            patterns=["{image}.png"],
            caption="../report/blocks.rst",
            category="PSNR by block",
            labels={"run": "{run}", "form": "{image}"},
        ),
    log:
        f"{RESULTS}/{{run}}/logs/by_block.log",
    conda:
        ENVIRONMENT
    params:
        of=lambda wildcards: layout.joint_phases(wildcards.run),
        border=lambda wildcards: study.border(layout.run(wildcards)),
        images=study.report.images,
        zoom=study.report.zoom,
    script:
        "../scripts/by_block.py"


rule residuals:
    """Where what HR has and a picture lacks changes from pixel to pixel, before the last phase and after it."""
    input:
        pictures=lambda wildcards: layout.of_phases(wildcards.run, "images"),
        # The pictures are those of these measurements.
        measured=lambda wildcards: layout.of_phases(wildcards.run, "psnr.csv"),
        lr=lambda wildcards: image_set(layout.input(wildcards), ["test"]),
        hr=lambda wildcards: image_set(layout.hr(wildcards), ["test"]),
        depends=depends(f"{RESULTS}/{{run}}", "residuals", on.residuals),
    output:
        csv=report(
            f"{RESULTS}/{{run}}/residuals.csv",
            caption="../report/residuals.rst",
            category="Residuals",
            labels={"run": "{run}", "form": "table"},
        ),
        maps=report(
            directory(f"{RESULTS}/{{run}}/residuals"),
            patterns=["{image}.png"],
            caption="../report/residuals.rst",
            category="Residuals",
            labels={"run": "{run}", "form": "{image}"},
        ),
    log:
        f"{RESULTS}/{{run}}/logs/residuals.log",
    conda:
        ENVIRONMENT
    params:
        of=lambda wildcards: layout.seeds_and_phases(wildcards.run),
        images=study.report.images,
        zoom=study.report.zoom,
    script:
        "../scripts/residuals.py"


rule tensorboard:
    """The histories of a run's phases as TensorBoard reads them."""
    input:
        histories=lambda wildcards: layout.of_phases(wildcards.run, "history.csv"),
        depends=depends(f"{RESULTS}/{{run}}", "tensorboard", on.tensorboard),
    output:
        directory(f"{RESULTS}/{{run}}/tensorboard"),
    log:
        f"{RESULTS}/{{run}}/logs/tensorboard.log",
    conda:
        ENVIRONMENT
    params:
        of=lambda wildcards: layout.seeds_and_phases(wildcards.run),
    script:
        "../scripts/tensorboard_log.py"


rule compare:
    """The runs of a study side by side."""
    input:
        tables=[f"{RESULTS}/{run}/psnr_by_phase.csv" for run in study.runs],
        times=[f"{RESULTS}/{run}/times.csv" for run in study.runs],
        measured=[layout.of_last_phase(run, "psnr.csv") for run in study.runs],
        phases=[layout.of_phases(run, name) for run in study.runs for name in ("history.csv", "training.json")],
        depends=depends(RESULTS, f"{study.name}_comparison", on.comparison),
    output:
        csv=report(
            f"{RESULTS}/{study.name}_comparison.csv",
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"what": "runs", "form": "table"},
        ),
        differences=report(
            f"{RESULTS}/{study.name}_differences.csv",
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"what": "differences", "form": "table"},
        ),
        plot=report(
            f"{RESULTS}/{study.name}_comparison.png",
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"what": "differences", "form": "plot"},
        ),
        curves=report(
            f"{RESULTS}/{study.name}_curves.png",
            caption="../report/comparison_curves.rst",
            category="Comparison",
            labels={"what": "validation PSNR against block-pixels", "form": "plot"},
        ),
        curves_times=report(
            f"{RESULTS}/{study.name}_curves_times.png",
            caption="../report/comparison_curves.rst",
            category="Comparison",
            labels={"what": "validation PSNR against time", "form": "plot"},
        ),
        looks=f"{RESULTS}/{study.name}_curves.csv",
        looks_times=f"{RESULTS}/{study.name}_curves_times.csv",
        times=f"{RESULTS}/{study.name}_times.csv",
        markdown=f"{RESULTS}/{study.name}_comparison.md",
    log:
        f"{RESULTS}/data/logs/{study.name}_comparison.log",
    conda:
        ENVIRONMENT
    params:
        seeds=study.seeds,
        measured={run: layout.of_last_phase(run, "psnr.csv") for run in study.runs},
        phases={run: layout.phases_by_seed(run) for run in study.runs},
        baseline=study.baseline,
        pairs=study.pairs,
    script:
        "../scripts/compare.py"


rule study_page:
    """One page of a study that opens offline, and a small one for this report."""
    input:
        tables=[f"{RESULTS}/{run}/psnr_by_phase.csv" for run in study.runs],
        times=[f"{RESULTS}/{run}/times.csv" for run in study.runs],
        measured=[layout.of_last_phase(run, "psnr.csv") for run in study.runs],
        pictures=[layout.of_last_phase(run, "images") for run in study.runs],
        phases=[layout.of_phases(run, name) for run in study.runs for name in ("history.csv", "training.json")],
        images=[image_set(folder, ["test"]) for folders in layout.test_sets.values() for folder in folders],
        # Links lead there.
        csvs=[f"{RESULTS}/{study.name}_{name}.csv" for name in layout.STUDY_TABLES],
        depends=depends(RESULTS, f"{study.name}_page", on.study_page),
    output:
        page=f"{RESULTS}/{study.name}_report.html",
        small=report(
            f"{RESULTS}/{study.name}_report_small.html",
            caption="../report/page.rst",
            category="Pages",
            labels={"of": "the study"},
        ),
    log:
        f"{RESULTS}/data/logs/{study.name}_page.log",
    conda:
        ENVIRONMENT
    params:
        seeds=study.seeds,
        phases={run: layout.phases_by_seed(run) for run in study.runs},
        sets=layout.test_sets,
        plans={run: on.plan(run) for run in study.runs},
        baseline=study.baseline,
        pairs=study.pairs,
        zoom=study.report.zoom,
    script:
        "../scripts/study_page.py"


rule losses:
    """The training losses of all runs as one table, and figures of some of them side by side."""
    input:
        phases=[layout.of_phases(run, name) for run in study.runs for name in ("history.csv", "training.json")],
        depends=depends(RESULTS, f"{study.name}_losses", on.losses),
    output:
        csv=report(
            f"{RESULTS}/{study.name}_losses.csv",
            caption="../report/losses.rst",
            category="Training losses",
            labels={"form": "table"},
        ),
        figures=report(
            directory(f"{RESULTS}/{study.name}_losses"),
            patterns=["{figure}.png"],
            caption="../report/losses.rst",
            category="Training losses",
            labels={"form": "{figure}"},
        ),
    log:
        f"{RESULTS}/data/logs/{study.name}_losses.log",
    conda:
        ENVIRONMENT
    params:
        seeds=study.seeds,
        phases={run: layout.phases_by_seed(run) for run in study.runs},
        groups=study.loss_figures,
        reference=study.report.reference_losses,
    script:
        "../scripts/losses.py"


rule budget:
    """Parameters, GFLOPs, PSNR an image and ranking score, as the lightweight x3 study reports them."""
    input:
        measured=[layout.of_last_phase(run, "psnr.csv") for run in study.runs],
        depends=depends(RESULTS, f"{study.name}_budget", on.budget),
    output:
        csv=report(
            f"{RESULTS}/{study.name}_budget.csv",
            caption="../report/budget.rst",
            category="Budget",
        ),
        markdown=f"{RESULTS}/{study.name}_budget.md",
    log:
        f"{RESULTS}/data/logs/{study.name}_budget.log",
    conda:
        ENVIRONMENT
    params:
        blocks={run: [asdict(block) for block in study.runs[run].plan.blocks] for run in study.runs},
        measured={run: layout.of_last_phase(run, "psnr.csv") for run in study.runs},
        limit=study.report.budget_gflops,
    script:
        "../scripts/budget.py"
