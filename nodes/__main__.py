"""`python -m nodes bs` and `python -m nodes cu`: a base station or the central unit as a process."""

import argparse
import logging
import sys
from pathlib import Path


def main() -> int:
    """Run a node until the world says stop."""
    parser = argparse.ArgumentParser(
        prog="python -m nodes", description="Run a base station or the central unit; the run configures it."
    )
    roles = parser.add_subparsers(dest="role", required=True)
    bs = roles.add_parser("bs", help="a base station")
    bs.add_argument("--id", required=True, metavar="BS", help="which one, e.g. bs3")
    cu = roles.add_parser("cu", help="the central unit")
    for role in (bs, cu):
        role.add_argument("--world", required=True, metavar="ENDPOINT", help="control socket of the run")
        role.add_argument("--keys", type=Path, metavar="FOLDER", help="CURVE keys, from python -m sim keys")
        role.add_argument("--supervised", type=int, metavar="PID", help="end when this parent process does")
    arguments = parser.parse_args()
    name = "cu" if arguments.role == "cu" else arguments.id
    logging.basicConfig(format=f"{name}: %(message)s")

    from broker.keys import KeysError
    from broker.part import Part, Surroundings, WorldError, serve
    from nodes.service_bs import BaseStationService
    from nodes.service_cu import CentralUnitService

    def make(surroundings: Surroundings) -> Part:
        return (CentralUnitService if arguments.role == "cu" else BaseStationService)(surroundings)

    try:
        return serve(name, arguments.world, make, keys_folder=arguments.keys, supervisor=arguments.supervised)
    except (KeysError, WorldError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
