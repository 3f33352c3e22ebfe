"""What ``mpirun`` starts in place of a rank: it hands its environment to the launcher and waits for the run's end.

The rank itself comes from the warm engine. Run as a plain file, with the standard library only, so it starts at once.
"""

import json
import os
import socket
import sys

if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX) as launcher:
        launcher.connect(sys.argv[1])
        launcher.sendall(json.dumps(dict(os.environ)).encode() + b"\n")
        launcher.recv(1)  # nothing comes: it returns once the launcher hangs up, or has died
