#!/bin/sh
# Tables 3 and 8 of the paper: the descriptor without the Gaussian.
#
#     SET=llama-point-in-part/ BASE=omg-llava-7b/ OUT=runs/tables sh examples/table_3.sh
#
# Variables as in table_1.sh, and BASE_WITHOUT, BASE unless set: the base of the row without the Gaussian, alike but for
# the keypoint's own weights, which have learned to look through predicted masks (python -m recipes.tables.base).
set -eu
talking-points train descriptor --data "$SET" --base "$BASE" ${DESCRIPTOR:-} --out "$OUT/descriptor"
talking-points train descriptor --data "$SET" --base "${BASE_WITHOUT:-$BASE}" --region predicted-mask \
    ${DESCRIPTOR:-} --out "$OUT/without-gaussian"
talking-points train localizer --data "$SET" --base "$BASE" --head regression ${LOCALIZER:-} --out "$OUT/localizer"
talking-points train join --descriptor "$OUT/descriptor/checkpoint" --localizer "$OUT/localizer/checkpoint" \
    --out "$OUT/joined"
talking-points evaluate ${EVALUATE:---data "$SET"} --model "$OUT/joined" --table 3 \
    --describer "descriptor:$OUT/without-gaussian/checkpoint" --out "$OUT/table-3"
