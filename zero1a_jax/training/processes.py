"""Several processes that make one run together: how they join, agree, watch each other and leave.

Process 0 alone prepares the portrait, reads and writes the run's folder; the others get from it what they
need, so that they need not see that folder. See docs/pods.md.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from jax._src import distributed

from zero1a_jax import devices
from zero1a_jax.commandline import command, stopping
from zero1a_jax.config import Config, Runner, to_values
from zero1a_jax.errors import Refused

LOST = 75  # exit code where another process was lost: the same command on all of them goes on
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
_LOCAL = ("127.0.0.1", "localhost")
_ALIVE = "zero1a_jax/alive/"
_OWN = ("process", "workdir")  # flags that may differ between processes


def join(runner: Runner) -> None:
    """Finds the other processes of the run, before jax looks for devices.

    Raises:
      Refused: nothing says where they are, or they do not come.
    """
    if not runner.process:
        return
    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM, which we handle ourselves
    jax.config.update("jax_enable_recoverability", True)  # else it aborts before anybody can say why
    given = {}
    if runner.process != "auto":
        index, count = runner.process.split("/")
        here = runner.coordinator.rpartition(":")[0] in _LOCAL
        given = {
            "coordinator_address": runner.coordinator,
            "num_processes": int(count),
            "process_id": int(index),
            "coordinator_bind_address": runner.coordinator if here else None,
        }
    # jax aborts with a trace of C++ where somebody does not come.
    late = threading.Timer(runner.patience, _nobody_came, args=(runner.patience,))
    late.start()
    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=runner.patience + 60,
            heartbeat_timeout_seconds=runner.patience + 60,
        )
        client = distributed.global_state.client
        assert client is not None
        client.wait_at_barrier("zero1a_jax/joined", 1000 * (runner.patience + 60))
    except (ValueError, RuntimeError) as error:
        raise Refused(f"the processes of this run did not find each other: {error}") from error
    finally:
        late.cancel()
    # Gloo waits half a minute for a group's first exchange and as long as it takes for all that follow.
    largest(0)
    devices.broadcast(b"met")
    heard, pause = _Heard(), min(2.0, runner.patience / 10)
    for target, given in ((_beat, (client, pause, heard)), (_watch, (runner.patience, pause, heard))):
        threading.Thread(target=target, args=given, daemon=True).start()


def _nobody_came(seconds: int) -> None:
    print(
        f"error: the processes of this run did not find each other within {seconds} seconds: start all, "
        "with the same --coordinator, or give --patience",
        file=sys.stderr,
    )
    stopping.leave(2)


def together(runner: Runner, body: Callable[[], int]) -> int:
    """Joins the other processes, calls `body`, and leaves with them; returns the exit code.

    Where body returns 1 or is Refused, which may be this process's own trouble, nothing waits for the others:
    they end by LOST.
    """
    try:
        join(runner)
        code = body()
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except jax.errors.JaxRuntimeError as error:
        if not is_of_exchange(error):
            raise
        lost(f"another process has ended ({str(error).splitlines()[0]})")
    if not runner.process:
        return code
    if code in (1, 2):
        stopping.leave(code)
    _leave(code)


def leads() -> bool:
    """Whether this process prepares, writes and prints."""
    return jax.process_index() == 0


def of_first(make: Callable[[], bytes]) -> bytes:
    """What process 0 makes, on every process; where it is Refused or the system fails it, all are Refused."""
    if jax.process_count() == 1:
        return make()
    data, failed = b"", b""
    if leads():
        try:
            data = make()
        except (Refused, OSError) as error:
            failed = command.sentence(error).encode()
    failed = devices.broadcast(failed)
    if failed:
        raise Refused(failed.decode())
    return devices.broadcast(data)


def largest(number: int) -> int:
    """The largest of the processes' numbers."""
    if jax.process_count() == 1:
        return number
    everyone = devices.everyone()
    own = np.full(len(devices.mine(everyone)), number, np.int32)
    return int(np.max(devices.exchanged(own, everyone)))


def compare(config: Config) -> None:
    """Raises Refused, on every process, where they do not run the same with the same."""
    if jax.process_count() == 1:
        return
    everyone = devices.everyone()
    counts = [len(jax.local_devices(process)) for process in range(jax.process_count())]
    if len(set(counts)) > 1:
        raise Refused(f"every process must have as many devices as the others, not {counts}")
    own = np.stack([np.frombuffer(digest, np.uint8) for digest in _digests(config).values()])
    found = devices.exchanged(np.stack([own] * counts[0]), everyone)[:: counts[0]]  # [processes, kinds, 32]
    for what, digests in zip(_digests(config), found.swapaxes(0, 1), strict=True):
        others = [i for i, digest in enumerate(digests) if (digest != digests[0]).any()]
        if others:
            raise Refused(f"process {others[0]} has {what} than process 0: start all with the same")


def lost(reason: str) -> NoReturn:
    """Ends this process in a sentence, at once: what waits for the others would wait for ever."""
    print(
        f"error: process {jax.process_index()}: {reason}; start the same command on all processes to go on "
        "from the newest checkpoint",
        file=sys.stderr,
        flush=True,
    )
    stopping.leave(LOST)


def is_of_exchange(error: BaseException) -> bool:
    """Whether an error of jax is a broken exchange with another process."""
    text = str(error)
    return jax.process_count() > 1 and any(word in text for word in ("Gloo", "NCCL", "UNAVAILABLE"))


def _leave(code: int) -> NoReturn:
    """Exits once all are done, so that no exchange breaks; last process 0, on which the others hang.

    Not by jax.distributed.shutdown: of processes that may be lost (see `join`) it waits for none, and those
    that come late abort.
    """
    client = distributed.global_state.client
    assert client is not None
    client.wait_at_barrier("zero1a_jax/done", 10**8)  # ms; who is lost ends us before
    if leads():
        time.sleep(0.5)
    stopping.leave(code)


def _digests(config: Config) -> dict[str, bytes]:
    """SHA-256 of all that decides bits, by what is said where it differs."""
    package = Path(devices.__file__).parent
    code = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        code.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    versions = [importlib.metadata.version(name) for name in PACKAGES]
    flags = sorted((name, value) for name, value in to_values(config).items() if name not in _OWN)
    return {
        "other flags": hashlib.sha256(repr(flags).encode()).digest(),
        "other code": code.digest(),
        "other versions of packages": hashlib.sha256(repr(versions).encode()).digest(),
        "another type of device": hashlib.sha256(jax.local_devices()[0].device_kind.encode()).digest(),
    }


class _Heard:
    """When process 0, which keeps what all say, answered last, and when each process said something new."""

    def __init__(self) -> None:
        self.answered = time.monotonic()
        self.others: dict[str, tuple[str, float]] = {}  # by process: what it said, and when


def _beat(client: Any, pause: float, heard: _Heard) -> None:
    """Says that this process lives and hears the others. A process 0 that stands still never answers."""
    for count in itertools.count():
        try:
            client.key_value_set(f"{_ALIVE}{jax.process_index()}", str(count), allow_overwrite=True)
            said = client.key_value_dir_get(_ALIVE)
            heard.answered = time.monotonic()
            for process, value in ((os.path.basename(name), value) for name, value in said):
                if heard.others.get(process, ("",))[0] != value:
                    heard.others[process] = (value, heard.answered)
        except jax.errors.JaxRuntimeError:
            pass  # `_watch` sees that nothing is heard
        time.sleep(pause)


def _watch(silence: int, pause: float, heard: _Heard) -> None:
    """Ends this process where another has been silent for `silence` seconds.

    jax's own watch aborts with a trace of C++ and no sentence; it stays as the last resort.
    """
    while True:
        time.sleep(pause)
        now = time.monotonic()
        if now - heard.answered > silence:
            lost(f"process 0 has not answered for {silence} seconds")
        for process, (_, when) in list(heard.others.items()):
            if now - when > silence:
                lost(f"process {process} has been silent for {silence} seconds")
