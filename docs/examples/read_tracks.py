"""Print the tracks of a run as they come: plain Python, pyzmq and nothing of ours.

python -m sim run scenarios/spiral.yaml --realtime --zmq tcp://127.0.0.1:5600
python docs/examples/read_tracks.py tcp://127.0.0.1:5600
"""

import json
import sys

import zmq

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5600"
most = int(sys.argv[2]) if len(sys.argv) > 2 else None
with zmq.Context() as context, context.socket(zmq.SUB) as stream:
    stream.connect(endpoint)
    stream.subscribe("track/")
    seen, last, missed = 0, None, 0
    while most is None or seen < most:
        topic, body = stream.recv_multipart()
        update = json.loads(body)
        missed += 0 if last is None else update["n"] - last - 1  # other topics count too
        seen, last = seen + 1, update["n"]
        if "position_m" in update:
            x, y, z = update["position_m"]
            bs = " ".join(update["bs_used"]) or "none, coasting"
            print(f"{update['t_sample_s']:8.3f} s  {update['ue']}  {x:8.2f} {y:8.2f} {z:8.2f} m  {bs}")
