"""The network, one file a part, in the order data flows. Knows nothing of datasets or training."""

import logging

# peft imports bitsandbytes where it is installed, which on CPUs with bf16 instructions warns of a 4-bit kernel that
# nobody asked for.
logging.getLogger("bitsandbytes.backends").setLevel(logging.ERROR)
