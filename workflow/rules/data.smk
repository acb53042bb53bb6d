rule convert:
    """Images to arrays: HR and LR of all splits, every file read once."""
    output:
        made("convert"),
    log:
        log_of("convert"),
    # All data sets are converted, and thereby checked, before any training.
    priority: 100
    conda:
        ENVIRONMENT
    threads: started.given.converting
    script:
        "../scripts/make.py"


rule enlarge:
    """LR at the size of HR, for chains that keep the size."""
    input:
        reads("enlarge"),
    output:
        made("enlarge"),
    log:
        log_of("enlarge"),
    priority: 100
    conda:
        ENVIRONMENT
    threads: started.given.converting
    script:
        "../scripts/make.py"


rule folds:
    """Which fold each training image is in, where a data set is tested in folds."""
    input:
        reads("folds"),
    output:
        made("folds"),
    log:
        log_of("folds"),
    priority: 100
    conda:
        ENVIRONMENT
    script:
        "../scripts/make.py"
