"""What Label Studio asks of our backend for a keypoint that was just drawn, and the description that it gets.

Label Studio does this by itself once http://HOST:PORT/label-studio is set as the project's model.

    python examples/label_studio_prefill.py http://127.0.0.1:7860 PHOTO X_PERCENT Y_PERCENT
"""

import base64
import json
import sys
from pathlib import Path
from urllib.request import Request, urlopen

INTERFACE = """<View><Image name="image" value="$image"/>
<KeyPointLabels name="point" toName="image"><Label value="point"/></KeyPointLabels>
<TextArea name="text" toName="image" perRegion="true"/></View>"""
server, photo, x, y = sys.argv[1:]
value = {"x": float(x), "y": float(y), "width": 0.75, "keypointlabels": ["point"]}
drawn = {"id": "a1", "from_name": "point", "to_name": "image", "type": "keypointlabels", "value": value}
task = {"data": {"image": "data:image/jpeg;base64," + base64.b64encode(Path(photo).read_bytes()).decode()}}
asked = {"tasks": [task], "label_config": INTERFACE, "params": {"context": {"result": [drawn]}}}
headers = {"Content-Type": "application/json"}
answer = json.load(urlopen(Request(f"{server}/label-studio/predict", json.dumps(asked).encode(), headers)))
for region in answer["results"][0]["result"]:
    print(region["type"], region["id"], region["value"].get("text", ""))
