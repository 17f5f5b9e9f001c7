#!/bin/sh
# Tables 2 and 7 of the paper: localization as reward, from one family of AP-10K's animals to the other.
#
#     AP10K=ap-10k/ MODEL=llama-point-in-part-7b/ OUT=runs/table2 sh examples/table_2.sh
#
# AP10K holds annotations/ and data/ as distributed; the three splits are joined in annotations/ap10k-all.json. MODEL is a
# checkpoint folder with a descriptor and a localizer, trained with texts that are not about AP-10K (table_1.sh). The
# settings are the recipe `7b`: group size 3, KL weight 0.1, the last two blocks, learning rate 5e-6, 10 points a step and
# 3 epochs are the paper's (A.3). Two more variables, if they are set, hold further options: GRPO those of the trainings,
# EVALUATE those of the evaluations (--limit 1000). The same `train grpo` with --dry-run says what it takes; it reads
# configs alone. Killed, it goes on where it was. For each direction the table is printed, with the paired difference.
set -eu

reinforce() { # family learnt on, family measured
    talking-points train grpo --recipe 7b --keypoints "$POINTS" --object "$1" --held-out-object "$2" \
        --descriptor "$MODEL" --localizer "$MODEL" ${GRPO:-} --out "$OUT/$1-to-$2"
    talking-points evaluate --data "$POINTS" --object "$2" ${EVALUATE:-} --table 2 --describer "descriptor:$MODEL" \
        --model "$OUT/$1-to-$2/checkpoint" --out "$OUT/$2"
}

for split in train val test; do
    file=${AP10K%/}/annotations/ap10k-$split-split1.json
    [ -f "$file" ] || { echo "no such file: $file; AP10K is the folder of AP-10K as distributed" >&2; exit 2; }
done
mkdir -p "$OUT"
POINTS=$AP10K/annotations/ap10k-all.json
python3 - "$POINTS" "$AP10K"/annotations/ap10k-train-split1.json "$AP10K"/annotations/ap10k-val-split1.json \
    "$AP10K"/annotations/ap10k-test-split1.json <<'END'
import json, sys
files = [json.load(open(name, encoding="utf-8")) for name in sys.argv[2:]]
joined = {key: [one for file in files for one in file[key]] for key in ("images", "annotations")}
json.dump(files[0] | joined, open(sys.argv[1], "w", encoding="utf-8"))
END
reinforce Bovidae Canidae
reinforce Canidae Bovidae
