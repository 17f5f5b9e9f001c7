"""What Label Studio asks of our backend for a keypoint that was just drawn, and the description that it gets.

It needs `talking-points serve` in another terminal, no Label Studio, and writes no file. Label Studio does this by
itself once http://HOST:PORT/label-studio is set as the project's model.

    python examples/label_studio_prefill.py http://127.0.0.1:7860 PHOTO X_PERCENT Y_PERCENT
"""

import argparse
import base64
import json
import sys
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

INTERFACE = """<View><Image name="image" value="$image"/>
<KeyPointLabels name="point" toName="image"><Label value="point"/></KeyPointLabels>
<TextArea name="text" toName="image" perRegion="true"/></View>"""

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("server", help="address where talking-points serve listens")
parser.add_argument("photo", type=Path)
parser.add_argument("x_percent", type=float, help="of the photo's width")
parser.add_argument("y_percent", type=float, help="of its height")
given = parser.parse_args()

value = {"x": given.x_percent, "y": given.y_percent, "width": 0.75, "keypointlabels": ["point"]}
drawn = {"id": "a1", "from_name": "point", "to_name": "image", "type": "keypointlabels", "value": value}
context = {"context": {"result": [drawn]}}
headers = {"Content-Type": "application/json"}
try:
    image = "data:image/jpeg;base64," + base64.b64encode(given.photo.read_bytes()).decode()
except OSError as error:
    parser.exit(2, f"{error}\n")
asked = {"tasks": [{"data": {"image": image}}], "label_config": INTERFACE, "params": context}
try:
    answer = json.load(urlopen(Request(f"{given.server}/label-studio/predict", json.dumps(asked).encode(), headers)))
except HTTPError as error:
    sys.exit(json.load(error)["error"]["message"])
except URLError as error:
    sys.exit(f"nothing answers at {given.server} ({error.reason}): start talking-points serve, or mend the address")
for region in answer["results"][0]["result"]:
    # Regions with one id are one on the picture: the keypoint, as it was drawn, and the text that belongs to it.
    place = f"{region['value']['x']:g}% of the width, {region['value']['y']:g}% of the height"
    print(region["type"], region["id"], f"at {place}:", *region["value"].get("text", ["the keypoint, as drawn"]))
print(
    f"Nothing was written, and nothing is to be imported: give {given.server}/label-studio as the model of a project "
    "(Settings, Model), and Label Studio asks so for each keypoint that is drawn."
)
