"""A TCP proxy that makes networks and single requests fail on command; see client.py."""
from .client import *  # noqa: F401,F403
from .client import Proxy, Route, Rule  # noqa: F401
