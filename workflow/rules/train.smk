# Rule names follow the study: phase1_1 trains N_1, phase1_2 makes LR_1, phase2_1 trains N_2, and so on. The rules
# phase1, phase2, ... bring every run up to that phase.
for number in PHASES:

    rule:
        name:
            f"phase{number}_1"
        input:
            images=lambda wildcards: image_set(layout.cached(wildcards), ["train", "validation"]),
            hr=lambda wildcards: image_set(layout.hr(wildcards), ["train", "validation"]),
            lr=lambda wildcards: image_set(layout.input(wildcards), ["validation"]),
            weights=lambda wildcards: layout.weights_read(wildcards),
            depends=depends(PHASE, "train", on.training),
        output:
            # What stands is kept until the new weights are whole, and put back where training fails.
            weights=update(f"{PHASE}/weights.safetensors"),
            history=update(f"{PHASE}/history.csv"),
            record=update(f"{PHASE}/training.json"),
        log:
            f"{PHASE}/logs/train.log",
        wildcard_constraints:
            phase=str(number),
        conda:
            ENVIRONMENT
        threads: lambda wildcards: started.threads * layout.gpus(wildcards)
        resources:
            gpu=started.needs.train_gpus,
            nodes=1,  # Slurm may take GPUs of several machines else, and the processes see those of one
            mem_mb=started.needs.train_mb,
            runtime=started.needs.train_minutes,
        params:
            task=lambda wildcards: asdict(on.task(wildcards)),
            settings=on.settings,
        script:
            "../scripts/train.py"

    rule:
        name:
            f"phase{number}_2"
        input:
            images=lambda wildcards: image_set(layout.cached(wildcards)),
            weights=lambda wildcards: layout.weights(wildcards, layout.set_blocks(wildcards).values()),
            depends=depends(PHASE, "LR_{block}", on.generation),
        output:
            image_set(f"{PHASE}/LR_{{block}}"),
        log:
            f"{PHASE}/logs/generate_LR_{{block}}.log",
        wildcard_constraints:
            phase=str(number),
        conda:
            ENVIRONMENT
        threads: started.threads
        resources:
            gpu=started.needs.gpu,
            mem_mb=started.needs.image_mb,
            runtime=started.needs.image_minutes,
        params:
            blocks=lambda wildcards: layout.set_blocks(wildcards),
        script:
            "../scripts/generate.py"

    rule:
        name:
            f"phase{number}"
        input:
            [
                layout.of_phases(run, name, upto=number)
                for run in study.runs
                for name in (*TRAINED, "psnr.csv", "images")
            ],
