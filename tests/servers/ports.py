"""Free TCP ports of 127.0.0.1, chosen at run time."""
import socket

HOST = "127.0.0.1"


def reserve():
    """A socket bound to a free port and not listening: the port stays ours while it is open."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((HOST, 0))
    return sock


def free_ports(count):
    """Distinct ports that were free a moment ago; a start that finds one taken must choose again."""
    sockets = [reserve() for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
