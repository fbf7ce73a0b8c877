"""viser's server, kept to this machine.

viser itself checks neither the Host nor the Origin of a request. So any page that is open in a browser here
could reach it, by its address or by a name of its own that it points at 127.0.0.1 (DNS rebinding). Requests
pass here only when Host is a name of this machine and Origin, where a browser sends one, is the same page.
"""

from __future__ import annotations

import contextlib
import functools
import http
import http.client
import io
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from zero1a_jax.errors import Refused

HOST = "127.0.0.1"  # viser's own default, 0.0.0.0, would offer the head to the whole network
NAMES = (HOST, "localhost")
_STRANGER = "stranger.example"

Server = Any  # viser.ViserServer; viser may be missing


def start(port: int, *, names: Sequence[str] = ()) -> Server:
    """A running server on 127.0.0.1, at `port` or, where that is taken, at a later one; 0 is any free one.

    `names` are further names under which the user reaches this machine, such as a proxy's. `get_port` of the
    result is the port that it has. Ask `stop` to end it.

    Raises:
      Refused: viser is not installed, the message says how; or this viser cannot be kept to this machine.
    """
    try:
        import viser
    except ImportError as error:
        raise Refused(f"the viewer needs viser ({error}): pip install viser (the extra viewer)") from error

    class Kept(viser.ViserServer):
        def request_share_url(self, verbose: bool = True) -> None:
            """Nothing: viser's own would show the head to the internet, through its makers' server."""

        def stop(self) -> None:
            """Ends the server, without viser's word about it."""
            with _silent():
                super().stop()

    with _guarding(functools.partial(allowed, names=(*NAMES, *names))), _silent():
        server = Kept(host=HOST, port=port, verbose=False)
    if _answers_strangers(server.get_port()):
        server.stop()
        raise Refused("this version of viser cannot be kept from answering strangers: pip install 'viser<2'")
    server.gui.configure_theme(show_share_button=False, show_logo=False)
    return server


def allowed(host: str, origin: str | None, *, names: Sequence[str] = NAMES) -> bool:
    """Whether a request may be answered: Host is one of `names`, at any port, and Origin the same place.

    Any port, because of ssh tunnels. No origin means no page of another place: browsers send it with every
    WebSocket.
    """
    try:
        name, place = urllib.parse.urlsplit(f"//{host}").hostname, urllib.parse.urlsplit(origin or "").netloc
    except ValueError:  # no address at all
        return False
    return name in names and (origin is None or place.lower() == host.lower())


@contextlib.contextmanager
def _guarding(is_allowed: Callable[[str, str | None], bool]) -> Iterator[None]:
    """Servers that viser starts in the block refuse requests. viser has no option for it, so that the
    function that it starts them with is replaced; `start` asks afterwards whether that worked."""
    import websockets.asyncio.server as module

    original = module.serve

    def serve(*arguments: Any, process_request: Callable | None = None, **options: Any) -> Any:
        def check(connection: Any, request: Any) -> Any:
            hosts, origins = (request.headers.get_all(name) for name in ("Host", "Origin"))
            if len(hosts) != 1 or len(origins) > 1 or not is_allowed(hosts[0], (origins or [None])[0]):
                return connection.respond(
                    http.HTTPStatus.FORBIDDEN, "This viewer answers its machine only.\n"
                )
            return process_request(connection, request) if process_request else None

        return original(*arguments, process_request=check, **options)

    module.serve = serve  # type: ignore[assignment]
    try:
        yield
    finally:
        module.serve = original


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """viser announces itself, also where the port was taken and it moved on; we say the address once."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _answers_strangers(port: int) -> bool:
    """Whether the server answers a page that came under another name."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", "/", headers={"Host": f"{_STRANGER}:{port}"})
        return connection.getresponse().status != http.HTTPStatus.FORBIDDEN
    finally:
        connection.close()
