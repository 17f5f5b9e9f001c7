#!/bin/sh
# Tables 4 and 9 of the paper: the localizer without adapting the language model.
#
#     SET=llama-point-in-part/ BASE=omg-llava-7b/ OUT=runs/tables sh examples/table_4.sh
#
# Variables as in table_1.sh; no descriptor is needed.
set -eu
talking-points train localizer --data "$SET" --base "$BASE" --head regression ${LOCALIZER:-} --out "$OUT/localizer"
talking-points train localizer --data "$SET" --base "$BASE" --head regression --frozen-language-model \
    ${LOCALIZER:-} --out "$OUT/not-adapted"
talking-points evaluate ${EVALUATE:---data "$SET"} --model "$OUT/localizer/checkpoint" --table 4 \
    --localizer "localizer:$OUT/not-adapted/checkpoint" --out "$OUT/table-4"
