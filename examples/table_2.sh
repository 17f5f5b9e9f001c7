#!/bin/sh
# Tables 2 and 7 of the paper: localization as reward, from one family of AP-10K's animals to the other.
#
#     AP10K=ap-10k/ MODEL=llama-point-in-part-7b/ OUT=runs/table2 sh examples/table_2.sh
#
# AP10K holds annotations/ and data/ as distributed; the three splits are joined in annotations/ap10k-all.json. MODEL is a
# checkpoint folder with a descriptor and a localizer, trained with texts that are not about AP-10K. The settings are the
# recipe `7b`: group size 3, KL weight 0.1, the last two blocks, learning rate 5e-6, 10 points a step and 3 epochs are the
# paper's (A.3). The same `train grpo` with --dry-run says what it takes; it reads configs alone. Killed, it goes on where it was. Each `compare` prints mPCK before and after, and the paired difference
# with its interval; PCK@0.1 and @0.2 (Table 7) are in the reports.
set -eu

reinforce() { # family learnt on, family measured
    talking-points train grpo --recipe 7b --keypoints "$POINTS" --object "$1" --held-out-object "$2" \
        --descriptor "$MODEL" --localizer "$MODEL" --out "$OUT/$1-to-$2"
    score "$MODEL" "$2" zero-shot
    score "$OUT/$1-to-$2/checkpoint" "$2" reinforced
    talking-points compare "$OUT/$2-zero-shot" "$OUT/$2-reinforced"
}

score() { # model, family, name
    talking-points evaluate --data "$POINTS" --object "$2" --describer descriptor --model "$1" \
        --out "$OUT/$2-$3" >/dev/null
}

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
