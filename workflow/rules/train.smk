# Rule names follow the study: phase1_1 trains N_1, phase1_2 makes LR_1, phase2_1 trains N_2, and so on. The rules
# phase1, phase2, ... bring every run up to that phase.
for number in PHASES:

    rule:
        name:
            f"phase{number}_1"
        input:
            reads(f"phase{number}_1"),
        output:
            made(f"phase{number}_1"),
        log:
            log_of(f"phase{number}_1"),
        conda:
            ENVIRONMENT
        threads: threads_of(f"phase{number}_1")
        resources:
            gpu=gpus_of(f"phase{number}_1"),
            nodes=1,  # Slurm may take GPUs of several machines else, and the processes see those of one
        script:
            "../scripts/make.py"

    rule:
        name:
            f"phase{number}_2"
        input:
            reads(f"phase{number}_2"),
        output:
            made(f"phase{number}_2"),
        log:
            log_of(f"phase{number}_2"),
        conda:
            ENVIRONMENT
        threads: started.given.threads
        resources:
            gpu=started.gpus(),
        script:
            "../scripts/make.py"

    rule:
        name:
            f"phase{number}"
        input:
            started.upto(number),
