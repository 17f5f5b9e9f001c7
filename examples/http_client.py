"""A round trip over HTTP, from the standard library, against `talking-points serve`.

python examples/http_client.py http://127.0.0.1:7860 PHOTO X Y
"""

import argparse
import base64
import json
import sys
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("server", help="address where talking-points serve listens")
parser.add_argument("photo", type=Path)
parser.add_argument("x", type=float, help="pixels from the left of the upright photo")
parser.add_argument("y", type=float, help="pixels from its top")
given = parser.parse_args()

try:
    photo = base64.b64encode(given.photo.read_bytes()).decode()
except OSError as error:
    parser.exit(2, f"{error}\n")
asked = {"photo": photo, "points": [[given.x, given.y]]}
try:
    request = Request(f"{given.server}/v1/round-trip", json.dumps(asked).encode(), {"Content-Type": "application/json"})
    [point] = json.load(urlopen(request))["points"]
except HTTPError as error:
    # Every error of the server is one line of what was given and what is allowed.
    sys.exit(json.load(error)["error"]["message"])
except URLError as error:
    sys.exit(f"nothing answers at {given.server} ({error.reason}): start talking-points serve, or mend the address")
print(point["description"])
# The model need not know whether what the words name is in the photo at all.
if point["there"] is not None and point["there"] < 0.5:
    print("not in the photo, by these words")
else:
    print(f"found again at ({point['found_x']:.1f}, {point['found_y']:.1f})")
