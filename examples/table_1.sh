#!/bin/sh
# Tables 1 and 6 of the paper: whose texts lead back to the point.
#
#     SET=llama-point-in-part/ BASE=omg-llava-7b/ OUT=runs/tables sh examples/table_1.sh
#
# SET is what build-dataset wrote, or a file of points with texts; BASE any checkpoint folder, or mini. Both roles are
# trained over it, the localizer with the paper's head; then the table is printed, and in what it is not the paper's. A
# base's size chooses the recipe: of a 7B the paper's. Three more variables, if they are set, hold further options:
# DESCRIPTOR and LOCALIZER those of the trainings (--recipe 7b, --steps 300), EVALUATE those of the evaluation; it says
# what is scored, SET's test split unless told otherwise. Killed, it goes on where it was; tables share what they find
# trained in OUT. DAM's own texts go into EVALUATE as --describer file:dam.jsonl=DAM.
set -eu
talking-points train descriptor --data "$SET" --base "$BASE" ${DESCRIPTOR:-} --out "$OUT/descriptor"
talking-points train localizer --data "$SET" --base "$BASE" --head regression ${LOCALIZER:-} --out "$OUT/localizer"
talking-points train join --descriptor "$OUT/descriptor/checkpoint" --localizer "$OUT/localizer/checkpoint" \
    --out "$OUT/joined"
talking-points evaluate ${EVALUATE:---data "$SET"} --model "$OUT/joined" --table 1 --out "$OUT/table-1"
