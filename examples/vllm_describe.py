"""Points of a photo, described by the language model that vLLM serves: the photo's part is computed here.

    python examples/vllm_describe.py http://127.0.0.1:8000/v1 7b/ street.jpg 212,140 305,188

Of the checkpoint, the vision encoder, the projector and the table of token embeddings work here; docs/vllm.md says how
its language model and the descriptor's adapter are served.
"""

import base64
import io
import json
import sys
from urllib.request import Request, urlopen

import torch

from talking_points import PointDescriptor, check_points, photo_to_square
from talking_points.pointing.descriptor import MAX_NEW_TOKENS

SERVED_DTYPE = torch.bfloat16
"""vLLM's --dtype."""

server, model, photo, *pixels = sys.argv[1:]
descriptor = PointDescriptor.from_pretrained(model)
network = descriptor.network
prepared = descriptor.prepare(photo)
points_px = check_points([tuple(map(float, one.split(","))) for one in pixels], prepared.size_wh)
points_1P2 = torch.tensor(photo_to_square(points_px, prepared.size_wh), dtype=torch.float32)[None]
with torch.inference_mode(), network.acting_as("descriptor"):
    features = network.encode_photos(torch.from_numpy(prepared.square_3SS)[None].to(network.device))
    prefix_1TD, _ = network.embed_prefix(features, "descriptor")
    [points_PF] = network.encode_points(features, points_1P2.to(network.device))
    questions_PSD = network.embed([network.prompts.describe()] * len(points_PF), points_PF)


def in_base64(prompt_TD: torch.Tensor) -> str:
    """A tensor as vLLM reads it."""
    file = io.BytesIO()
    torch.save(prompt_TD.to("cpu", SERVED_DTYPE), file)
    return base64.b64encode(file.getvalue()).decode()


asked = {
    "model": "descriptor",
    "prompt_embeds": [in_base64(torch.cat([prefix_1TD[0], question_SD])) for question_SD in questions_PSD],
    "max_tokens": MAX_NEW_TOKENS,
    "temperature": 0,
    "stop_token_ids": [network.prompts.end_id],
}
request = Request(f"{server}/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"})
for one in sorted(json.load(urlopen(request))["choices"], key=lambda choice: choice["index"]):
    print(one["text"].strip())
