#!/bin/sh
# All of mini, from part-labelled photos to scores, on a machine with a GPU or without one.
#
#     SOURCES="--source label-map=clothing_parts/ --source coco-parts=car_parts/" OUT=runs/mini WORKERS=14 \
#         sh examples/train_mini.sh
#
# Killed, it goes on where it was: a stage that has finished is passed over. WORKERS processes compose the scenes that a GPU
# waits for. SCALE multiplies the steps of every stage; with 1 they are about those of the shipped mini, of which its card
# says what they brought. BATCH multiplies the scenes of a step.
set -eu
SCALE=${SCALE:-1} BATCH=${BATCH:-1} SIDE=${SIDE:-256}

scaled() { # steps
    awk "BEGIN { print int($1 * $SCALE + 0.999) }"
}

train() { # stage, steps, scenes, further options
    stage=$1 steps=$(scaled "$2") scenes=$(($3 * BATCH))
    shift 3
    talking-points train "$stage" $SOURCES --steps "$steps" --photos "$scenes" --workers "${WORKERS:-1}" "$@"
}

reinforce() { # set, model to start from, seed
    talking-points train grpo $SOURCES --set "$1" --descriptor "$2" --localizer "$OUT/joined" --seed "$3" --out "$OUT/rl-$1" \
        --steps "$(scaled 240)" --photos $((4 * BATCH)) --points 3 --group-size 8 --reward distance --learning-rate 3e-3
}

mkdir -p "$OUT"
train trunk 3700 16 --side "$SIDE" --out "$OUT/trunk"
train vision 3000 16 --trunk "$OUT/trunk" --side "$SIDE" --out "$OUT/vision"
train language 2000 6 --base "$OUT/vision/checkpoint" --out "$OUT/language"
train base 2000 8 --vision "$OUT/vision" --language "$OUT/language" --out "$OUT/base"
train descriptor 220 8 --points 6 --base "$OUT/base/checkpoint" --out "$OUT/descriptor"
train localizer 220 8 --points 6 --base "$OUT/base/checkpoint" --out "$OUT/localizer"
train localizer 220 8 --points 6 --base "$OUT/base/checkpoint" --out "$OUT/blind" --blind
talking-points train join --descriptor "$OUT/descriptor/checkpoint" --localizer "$OUT/localizer/checkpoint" --out "$OUT/joined"
reinforce hard "$OUT/joined" 0
reinforce plain "$OUT/rl-hard/checkpoint" 1
talking-points train calibrate $SOURCES --model "$OUT/rl-plain/checkpoint" --out "$OUT/model"
talking-points evaluate $SOURCES --split "${SPLIT:-val}" --model "$OUT/model" --describer ground-truth --describer descriptor \
    --localizer localizer --localizer "blind:$OUT/blind/checkpoint" --out "$OUT/scores"
