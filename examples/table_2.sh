#!/bin/sh
# Tables 2 and 7 of the paper: localization as reward, from one family of AP-10K's animals to the other.
#
#     AP10K=ap-10k/ MODEL=llama-point-in-part-7b/ OUT=runs/table2 sh examples/table_2.sh
#
# AP10K holds annotations/ and data/ as distributed; MODEL a checkpoint folder with a descriptor and a localizer, trained
# with texts that are not about AP-10K. Group size 3, KL weight 0.1, the last two blocks, learning rate 5e-6 and 10 points
# a step are the paper's (A.3). So are 3 epochs: 22.6K and 17K points, 10 a step. Killed, it goes on where it was. Each
# `compare` prints mPCK before and after, and the paired difference with its interval; PCK@0.1 and @0.2 (Table 7) are in
# the reports.
set -eu

reinforce() { # direction, steps, family measured
    talking-points train grpo --keypoints "$AP10K" --preset "$1" --descriptor "$MODEL" --localizer "$MODEL" \
        --out "$OUT/$1" --steps "$2" --photos 2 --points 5 --group-size 3 --kl-weight 0.1 --blocks 2 \
        --learning-rate 5e-6 --evaluate-every 200
    score "$MODEL" "$3" zero-shot
    score "$OUT/$1/checkpoint" "$3" reinforced
    talking-points compare "$OUT/$3-zero-shot" "$OUT/$3-reinforced"
}

score() { # model, family, name
    talking-points evaluate --data "$AP10K" --split all --object "$2" --describer descriptor --model "$1" \
        --out "$OUT/$2-$3" >/dev/null
}

mkdir -p "$OUT"
reinforce bovidae-to-canidae "${STEPS_BOVIDAE:-6780}" Canidae
reinforce canidae-to-bovidae "${STEPS_CANIDAE:-5100}" Bovidae
