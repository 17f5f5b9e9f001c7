"""Points of a photo, described by the language model that vLLM serves: the photo's part is computed here.

    python examples/vllm_describe.py http://127.0.0.1:8000/v1 7b/ street.jpg 212,140 305,188

Of the checkpoint, the vision encoder, the projector and the table of token embeddings work here; docs/vllm.md says how
its language model and the descriptor's adapter are served.
"""

import argparse
import base64
import io
import json
import sys
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen


def prompts_of(model: str, photo: str, points_px: list[tuple[float, float]]) -> dict:
    """What vLLM is asked: a prompt a point, all in one request.

    Raises:
        OSError, ValueError: the model or the photo cannot be read, or a point is outside the photo.
    """
    # Here, since torch takes seconds to import: --help answers at once.
    import torch

    from talking_points import PointDescriptor, check_points, photo_to_square
    from talking_points.pointing.descriptor import MAX_NEW_TOKENS

    descriptor = PointDescriptor.from_pretrained(model)
    network = descriptor.network
    prepared = descriptor.prepare(photo)
    points_px = check_points(points_px, prepared.size_wh)
    points_1P2 = torch.tensor(photo_to_square(points_px, prepared.size_wh), dtype=torch.float32)[None]
    with torch.inference_mode(), network.acting_as("descriptor"):
        features = network.encode_photos(torch.from_numpy(prepared.square_3SS)[None].to(network.device))
        prefix_1TD, _ = network.embed_prefix(features, "descriptor")
        [points_PF] = network.encode_points(features, points_1P2.to(network.device))
        questions_PSD = network.embed([network.prompts.describe()] * len(points_PF), points_PF)

    def in_base64(prompt_TD: torch.Tensor) -> str:
        """A tensor as vLLM reads it, in the type of its --dtype."""
        file = io.BytesIO()
        torch.save(prompt_TD.to("cpu", torch.bfloat16), file)
        return base64.b64encode(file.getvalue()).decode()

    return {
        "model": "descriptor",
        "prompt_embeds": [in_base64(torch.cat([prefix_1TD[0], question_SD])) for question_SD in questions_PSD],
        "max_tokens": MAX_NEW_TOKENS,
        "temperature": 0,
        "stop_token_ids": [network.prompts.end_id],
    }


def pixel(text: str) -> tuple[float, float]:
    x, y = map(float, text.split(","))
    return x, y


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("server", help="address of vLLM's API, with its /v1")
parser.add_argument("model", help="the checkpoint whose language model it serves")
parser.add_argument("photo")
parser.add_argument("points", type=pixel, nargs="+", metavar="X,Y", help="in pixels of the photo")
given = parser.parse_args()

try:
    asked = prompts_of(given.model, given.photo, given.points)
except (OSError, ValueError) as error:
    parser.exit(2, f"{error}\n")
request = Request(f"{given.server}/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"})
try:
    choices = json.load(urlopen(request))["choices"]
except HTTPError as error:
    sys.exit(f"{given.server} answers {error.code}: {error.read().decode()}")
except URLError as error:
    sys.exit(f"nothing answers at {given.server} ({error.reason}): start vllm serve, or mend the address")
for one in sorted(choices, key=lambda choice: choice["index"]):
    print(one["text"].strip())
