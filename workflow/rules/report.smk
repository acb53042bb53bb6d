rule table:
    """PSNR by phase, means over the test images."""
    input:
        reads("table"),
    output:
        made("table"),
        csv=reported(
            "table",
            "psnr_by_phase.csv",
            caption="../report/psnr_by_phase.rst",
            category="PSNR by phase",
            labels=labels("table", form="table"),
        ),
    log:
        log_of("table"),
    conda:
        ENVIRONMENT
    params:
        run=of("table"),
        markdown=table_of("table"),
    script:
        "../scripts/make.py"


rule figures:
    """PSNR by phase, learning curves, and strips of pictures."""
    input:
        reads("figures"),
    output:
        made("figures"),
        reported(
            "figures",
            "psnr_by_phase.png",
            caption="../report/psnr_by_phase.rst",
            category="PSNR by phase",
            labels=labels("figures", form="plot"),
        ),
        reported(
            "figures",
            "learning_curves.png",
            caption="../report/learning_curves.rst",
            category="Learning curves",
            labels=labels("figures"),
        ),
        reported(
            "figures",
            "strips",
            patterns=["{image}.png"],
            caption="../report/strips.rst",
            category="Pictures",
            labels=lambda wildcards: {"run": of("figures")(wildcards), "image": wildcards.image},
        ),
    log:
        log_of("figures"),
    conda:
        ENVIRONMENT
    params:
        run=of("figures"),
        markdown=table_of("figures"),
    script:
        "../scripts/make.py"


rule page:
    """One page of a run that opens offline: tables, viewer of pictures, charts, plan; a small one for this report."""
    input:
        reads("page"),
    output:
        made("page"),
        reported(
            "page",
            "report_small.html",
            caption="../report/page.rst",
            category="Pages",
            labels=lambda wildcards: {"of": f"run {of('page')(wildcards)}"},
        ),
    log:
        log_of("page"),
    conda:
        ENVIRONMENT
    script:
        "../scripts/make.py"


rule by_block:
    """What each block does of networks that a phase has trained over several blocks: table and strips of pictures."""
    input:
        reads("by_block"),
    output:
        made("by_block"),
        csv=reported(
            "by_block",
            "psnr_by_block.csv",
            caption="../report/psnr_by_block.rst",
            category="PSNR by block",
            labels=labels("by_block", form="table"),
        ),
        strips=reported(
            "by_block",
            "blocks",
            patterns=["{image}.png"],
            caption="../report/blocks.rst",
            category="PSNR by block",
            labels=lambda wildcards: {"run": of("by_block")(wildcards), "form": wildcards.image},
        ),
    log:
        log_of("by_block"),
    conda:
        ENVIRONMENT
    params:
        run=of("by_block"),
    script:
        "../scripts/make.py"


rule residuals:
    """Where what HR has and a picture lacks changes from pixel to pixel, before the last phase and after it."""
    input:
        reads("residuals"),
    output:
        made("residuals"),
        reported(
            "residuals",
            "residuals.csv",
            caption="../report/residuals.rst",
            category="Residuals",
            labels=labels("residuals", form="table"),
        ),
        reported(
            "residuals",
            "residuals",
            patterns=["{image}.png"],
            caption="../report/residuals.rst",
            category="Residuals",
            labels=lambda wildcards: {"run": of("residuals")(wildcards), "form": wildcards.image},
        ),
    log:
        log_of("residuals"),
    conda:
        ENVIRONMENT
    script:
        "../scripts/make.py"


rule tensorboard:
    """The histories of a run's phases as TensorBoard reads them."""
    input:
        reads("tensorboard"),
    output:
        made("tensorboard"),
    log:
        log_of("tensorboard"),
    conda:
        ENVIRONMENT
    script:
        "../scripts/make.py"


rule compare:
    """The runs of a study side by side."""
    input:
        reads("compare"),
    output:
        made("compare"),
        csv=reported(
            "compare",
            f"{study.name}_comparison.csv",
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"what": "runs", "form": "table"},
        ),
        differences=reported(
            "compare",
            f"{study.name}_differences.csv",
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"what": "differences", "form": "table"},
        ),
        plot=reported(
            "compare",
            f"{study.name}_comparison.png",
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"what": "differences", "form": "plot"},
        ),
        curves=reported(
            "compare",
            f"{study.name}_curves.png",
            caption="../report/comparison_curves.rst",
            category="Comparison",
            labels={"what": "validation PSNR against block-pixels", "form": "plot"},
        ),
        curves_times=reported(
            "compare",
            f"{study.name}_curves_times.png",
            caption="../report/comparison_curves.rst",
            category="Comparison",
            labels={"what": "validation PSNR against time", "form": "plot"},
        ),
    log:
        log_of("compare"),
    conda:
        ENVIRONMENT
    script:
        "../scripts/make.py"


rule study_page:
    """One page of a study that opens offline, and a small one for this report."""
    input:
        reads("study_page"),
    output:
        made("study_page"),
        reported(
            "study_page",
            f"{study.name}_report_small.html",
            caption="../report/page.rst",
            category="Pages",
            labels={"of": "the study"},
        ),
    log:
        log_of("study_page"),
    conda:
        ENVIRONMENT
    script:
        "../scripts/make.py"


rule losses:
    """The training losses of all runs as one table, and figures of some of them side by side."""
    input:
        reads("losses"),
    output:
        made("losses"),
        reported(
            "losses",
            f"{study.name}_losses.csv",
            caption="../report/losses.rst",
            category="Training losses",
            labels={"form": "table"},
        ),
        reported(
            "losses",
            f"{study.name}_losses",
            patterns=["{figure}.png"],
            caption="../report/losses.rst",
            category="Training losses",
            labels={"form": "{figure}"},
        ),
    log:
        log_of("losses"),
    conda:
        ENVIRONMENT
    script:
        "../scripts/make.py"


rule budget:
    """Parameters, GFLOPs, PSNR an image and ranking score, as the lightweight x3 study reports them."""
    input:
        reads("budget"),
    output:
        made("budget"),
        csv=reported(
            "budget",
            f"{study.name}_budget.csv",
            caption="../report/budget.rst",
            category="Budget",
        ),
    log:
        log_of("budget"),
    conda:
        ENVIRONMENT
    script:
        "../scripts/make.py"


# A file by its name below the results folder, as in: snakemake results/default/report.html
for path, result in started.asked.items():

    rule:
        name:
            f"shown {path}"
        input:
            started.marks([result]),
        output:
            update(f"{RESULTS}/{path}"),
        log:
            f"{STORE}/shown.log",
        localrule: True
        conda:
            ENVIRONMENT
        shell:
            "(test ! -L {output:q} || touch -h {output:q}) 2> {log:q}"
