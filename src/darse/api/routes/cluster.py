"""`/swarm` and what belongs to it, as an engine outside of any cluster has them.

The answers are dockerd's on a node that has joined no swarm, which is what this engine is: clients find out that way
that there is none.
"""

from __future__ import annotations

from darse import aiohttp_server as web
from darse.api.routing import Call, Routes
from darse.core.errors import NotImplementedHere, Unavailable

ROUTES = Routes()
_MANAGERS = (
    ("GET", "/swarm"),
    ("POST", "/swarm/update"),
    ("GET", "/swarm/unlockkey"),
    ("POST", "/swarm/unlock"),
    ("GET", "/nodes"),
    ("GET", "/nodes/{id}"),
    ("DELETE", "/nodes/{id}"),
    ("POST", "/nodes/{id}/update"),
    ("GET", "/services"),
    ("POST", "/services/create"),
    ("GET", "/services/{id}"),
    ("DELETE", "/services/{id}"),
    ("POST", "/services/{id}/update"),
    ("GET", "/services/{id}/logs"),
    ("GET", "/tasks"),
    ("GET", "/tasks/{id}"),
    ("GET", "/tasks/{id}/logs"),
    ("GET", "/secrets"),
    ("POST", "/secrets/create"),
    ("GET", "/secrets/{id}"),
    ("DELETE", "/secrets/{id}"),
    ("POST", "/secrets/{id}/update"),
    ("GET", "/configs"),
    ("POST", "/configs/create"),
    ("GET", "/configs/{id}"),
    ("DELETE", "/configs/{id}"),
    ("POST", "/configs/{id}/update"),
    ("PUT", "/volumes/{id}"),
)
_LATER = (
    ("POST", "/swarm/init"),
    ("POST", "/swarm/join"),
)


@ROUTES.add("POST", "/swarm/leave")
async def leave(call: Call) -> web.StreamResponse:
    """Leave the swarm that this node is not in."""
    del call
    raise Unavailable("This node is not part of a swarm")


async def _not_a_manager(call: Call) -> web.StreamResponse:
    del call
    raise Unavailable(
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to '
        "swarm and try again."
    )


async def not_here_yet(call: Call) -> web.StreamResponse:
    """Say that a later version brings this; clients read 501 as "not here"."""
    text = f"{call.request.method} {call.request.path} is not part of this version of darse"
    if "/swarm" in call.request.path:
        text += "; swarm mode comes with a later one"
    raise NotImplementedHere(text)


for _routes, _handler in ((_MANAGERS, _not_a_manager), (_LATER, not_here_yet)):
    for _method, _template in _routes:
        ROUTES.add(_method, _template)(_handler)
