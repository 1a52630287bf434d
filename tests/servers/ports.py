"""Free TCP ports of 127.0.0.1, chosen at run time."""
import socket

HOST = "127.0.0.1"


def _bound(port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((HOST, port))
    return sock


def reserve():
    """A socket bound to a free port and not listening: the port stays ours while it is open.

    Bound twice, because Linux keeps the port of a listener that is shut down (the proxy's way to
    refuse connections) only if the port was named in bind().
    """
    chosen = _bound(0)
    sock = _bound(chosen.getsockname()[1])
    chosen.close()
    return sock


def free_ports(count):
    """Distinct ports that were free a moment ago; a start that finds one taken must choose again."""
    sockets = [reserve() for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
