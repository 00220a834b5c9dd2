"""`wscat` as far as the documentation uses it: `-c URL`, `-H "name: value"`, `-x MESSAGE` and `-w SECONDS`. The real one needs Node.js."""

import argparse
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main(arguments):
    parser = argparse.ArgumentParser(prog="wscat")
    parser.add_argument("-c", "--connect", required=True)
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-x", "--execute", action="append", default=[])
    parser.add_argument("-w", "--wait", type=float)
    given = parser.parse_args(arguments)
    headers = [tuple(part.strip() for part in header.split(":", 1)) for header in given.header]
    with connect(given.connect, additional_headers=headers) as socket:
        for message in given.execute:
            socket.send(message)
        try:
            while True:
                sys.stdout.write(f"{socket.recv(timeout=given.wait)}\n")
        except (TimeoutError, ConnectionClosed):
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
