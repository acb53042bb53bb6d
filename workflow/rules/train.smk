# Rule names follow the study: phase1_1 trains N_1, phase1_2 makes LR_1, phase2_1 trains N_2, and so on. The rules
# phase1, phase2, ... bring every run up to that phase.
for number in PHASES:

    rule:
        name:
            f"phase{number}_1"
        input:
            images=lambda wildcards: image_set(cached_folder(wildcards), ["train", "validation"]),
            hr=lambda wildcards: image_set(hr_folder(wildcards), ["train", "validation"]),
            weights=lambda wildcards: [
                weights_of(wildcards, phase) for phase in plan_of(wildcards).reads_weights(int(wildcards.phase))
            ],
            published=lambda wildcards: plan_of(wildcards).task(int(wildcards.phase), 0).files,
        output:
            weights=f"{PHASE}/weights.safetensors",
            history=f"{PHASE}/history.csv",
            record=f"{PHASE}/training.json",
        log:
            f"{PHASE}/logs/train.log",
        wildcard_constraints:
            phase=str(number),
        conda:
            ENVIRONMENT
        threads: workflow.cores
        resources:
            gpu=1,
        params:
            task=lambda wildcards: task_of(wildcards),
            settings=lambda wildcards: training_settings(wildcards),
        script:
            "../scripts/train.py"

    rule:
        name:
            f"phase{number}_2"
        input:
            images=lambda wildcards: image_set(cached_folder(wildcards)),
            weights=lambda wildcards: [
                weights_of(wildcards, phase) for phase in dict.fromkeys(set_blocks(wildcards).values())
            ],
        output:
            image_set(f"{PHASE}/LR_{{block}}"),
        log:
            f"{PHASE}/logs/generate_LR_{{block}}.log",
        wildcard_constraints:
            phase=str(number),
        conda:
            ENVIRONMENT
        threads: workflow.cores
        resources:
            gpu=1,
        params:
            blocks=lambda wildcards: set_blocks(wildcards),
            cache=study.inference["cache"],
            memory_gib=study.inference["memory_gib"],
            source=lambda wildcards: source_of("inference.cache", wildcards),
        script:
            "../scripts/generate.py"

    rule:
        name:
            f"phase{number}"
        input:
            [phase_files(run, "psnr.csv", upto=number) for run in study.runs],
