"""A round trip over HTTP, from the standard library, against `talking-points serve`.

python examples/http_client.py http://127.0.0.1:7860 PHOTO X Y
"""

import base64
import json
import sys
from pathlib import Path
from urllib.request import Request, urlopen

server, photo, x, y = sys.argv[1:]
asked = {"photo": base64.b64encode(Path(photo).read_bytes()).decode(), "points": [[float(x), float(y)]]}
request = Request(f"{server}/v1/round-trip", json.dumps(asked).encode(), {"Content-Type": "application/json"})
[point] = json.load(urlopen(request))["points"]
print(point["description"])
# The model need not know whether what the words name is in the photo at all.
if point["there"] is not None and point["there"] < 0.5:
    print("not in the photo, by these words")
else:
    print(f"found again at ({point['found_x']:.1f}, {point['found_y']:.1f})")
