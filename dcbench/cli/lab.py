"""JupyterLab as ``dcbench lab`` starts it: not where others could run code by it, whatever has told it to.

Words, configuration files and variables all decide what Jupyter does; so what has come of them is looked at, after
Jupyter has read them and before it listens.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Sequence
from typing import Any

from dcbench.terminal import clean

BAD_INPUT = 2
INSTEAD = "add --allow-insecure if that is what you want"


def why_open(server: Any) -> str:
    """
    Say what lets others run code by a server that is about to start; empty where nothing does.

    Parameters
    ----------
    server : jupyter_server.serverapp.ServerApp
        Initialized.
    """
    addresses = [] if server.sock else [server.ip]
    addresses += [part["ip"] for part in server.config.values() if "ip" in part]  # of kernels, for instance
    for address in addresses:
        if not is_loopback(address):
            return f"ip={address!r} opens JupyterLab to other machines; use an SSH tunnel"
    if not server.identity_provider.auth_enabled:
        return "there is neither token nor password, so anyone who reaches JupyterLab can run code; leave the token out"
    if server.config.get("Session", {}).get("key", "unset") in ("", b""):
        return "Session.key is empty, so anyone on this machine can run code in a kernel; leave it out"
    for name in ("disable_check_xsrf", "allow_origin", "allow_origin_pat", "allow_remote_access"):
        if value := getattr(server, name):
            return f"{name}={value!r} lets foreign pages reach JupyterLab; leave it out"
    return ""


def is_loopback(address: str) -> bool:
    """
    Say whether an address, or every address of a name, can be reached from this machine only.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("::"), is_loopback("")
    (True, True, False, False)
    """
    try:
        found = socket.getaddrinfo(address or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(str(place[0]).partition("%")[0]).is_loopback for *_, place in found)


def main(words: Sequence[str]) -> None:
    """Start JupyterLab with these words, or say why not and exit with status 2."""
    from jupyterlab.labapp import LabApp

    class Lab(LabApp):  # type: ignore[misc]
        __module__ = LabApp.__module__  # the extension's package is found by it

        @classmethod
        def initialize_server(cls, *args: Any, **kwargs: Any) -> Any:
            server = super().initialize_server(*args, **kwargs)
            if why := why_open(server):
                print(f"dcbench: {clean(why)}, or {INSTEAD}", file=sys.stderr)
                sys.exit(BAD_INPUT)
            return server

    Lab.launch_instance(list(words))


if __name__ == "__main__":
    main(sys.argv[1:])
