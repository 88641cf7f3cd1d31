"""`python -m broker`: the shaping forwarder as a process of its own."""

import argparse
import logging
import sys
from pathlib import Path


def main() -> int:
    """Run the broker until the world says stop."""
    parser = argparse.ArgumentParser(
        prog="python -m broker",
        description="Carry frames from base stations to the central unit as the fronthaul law says.",
    )
    parser.add_argument("--world", required=True, metavar="ENDPOINT", help="control socket of the run")
    parser.add_argument("--keys", type=Path, metavar="FOLDER", help="CURVE keys, from python -m sim keys")
    parser.add_argument("--supervised", type=int, metavar="PID", help="end when this parent process does")
    arguments = parser.parse_args()
    logging.basicConfig(format="broker: %(message)s")

    from broker.keys import KeysError
    from broker.part import WorldError, serve
    from broker.service import BrokerService

    try:
        return serve(
            "broker",
            arguments.world,
            BrokerService,
            keys_folder=arguments.keys,
            supervisor=arguments.supervised,
        )
    except (KeysError, WorldError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
