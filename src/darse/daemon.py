"""`darsed`: reads its options, makes the engine, serves the API until a signal stops it."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darse import __version__
from darse.core import executors
from darse.core.config import EngineConfig
from darse.core.errors import EngineError
from darse.core.exhaustion import exhausted
from darse.core.stalls import StallDetector
from darse.core.tasks import begin_lasting
from darse.engine.configuration.command_line import CommandLine, parse, usage
from darse.engine.instance import only_engine, pidfile
from darse.linux import service_manager

if TYPE_CHECKING:
    from darse.engine.engine import Engine
    from darse.observing.service import Observing

_log = logging.getLogger("darse.daemon")
# How long operations in progress may take once the engine has begun to stop.
_DRAIN_SECONDS = 10
# Then handlers are cancelled; to aiohttp, 0 would mean to wait for ever.
_HANDLERS_SECONDS = 0.1
# And how long these may take to undo what they have begun, before the services below them close.
_UNDO_SECONDS = 10
_OPEN_FILES = 1 << 20
# With less space a copy of the program would take what the engine needs to go on.
_PROGRAM_BYTES = 32 << 20
# Tasks for as long as the engine serves.
_lasting: set[asyncio.Task[None]] = set()
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR, "fatal": 50}


def main() -> None:
    """Run the engine; the exit status is 1 when it cannot start."""
    gc.disable()  # until it is ready: nearly all that start-up makes stays, and looking at it costs 10 ms
    try:
        command = parse(sys.argv[1:])
        if command.help or command.version:
            sys.stdout.write(usage() if command.help else f"darsed version {__version__}\n")
            return
        config = command.load()
    except EngineError as error:
        sys.exit(f"darsed: {error}")
    if command.validate:
        _check(config)
        sys.stderr.write("configuration OK\n")  # there, as dockerd does
        return
    if os.geteuid() != 0:
        sys.exit(
            "darsed: the engine needs to run as root: it mounts, makes namespaces and changes the firewall. "
            "(Running without root comes with a later version.) Try: sudo darsed"
        )
    _set_up_logging(config)
    _set_up_process()
    try:
        if command.rebuild:
            sys.exit(_rebuild(config))
        if command.backup or command.restore:
            _archive(config, command)
            return
        with only_engine(config), pidfile(config):
            # Whatever directory we were started in is nobody's to hold, nor to fill: conmon leaves a file called `oom`
            # where it runs.
            os.chdir(config.exec_root)
            stalls = StallDetector(config.debug_loop_stalls / 1000) if config.debug_loop_stalls else None
            with asyncio.Runner(loop_factory=stalls.make_loop if stalls else None) as runner:
                runner.run(_serve(config, command, stalls))
    except EngineError as error:
        sys.exit(f"darsed: {error}")
    except OSError as error:
        _log.debug("cannot go on", exc_info=True)
        if (blocker := _no_directory(error)) is not None:
            sys.exit(f"darsed: {blocker} is not a directory: move it away")
        sys.exit(f"darsed: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""))


def _check(config: EngineConfig) -> None:
    """End with what `--validate` finds beyond what a start reads at once."""
    from darse.api.tls import server_context  # noqa: PLC0415
    from darse.engine.checks import check  # noqa: PLC0415
    from darse.observing.service import check as check_alerts  # noqa: PLC0415

    try:
        check(config)
        check_alerts(config)
    except EngineError as error:
        sys.exit(f"darsed: {error}")
    if config.tls is not None:
        try:
            server_context(config.tls)
        except OSError as error:
            sys.exit(f"darsed: cannot use the TLS certificates: {error}")


def _no_directory(error: OSError) -> Path | None:
    """What the kernel has met where a directory was to be made, or to be passed: a file, or a link to nowhere."""
    if error.errno not in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP) or not isinstance(error.filename, str):
        return None
    path = Path(error.filename)
    return next((one for one in (*reversed(path.parents), path) if os.path.lexists(one) and not one.is_dir()), None)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _rebuild(config: EngineConfig) -> int:
    """Build the database again; the exit status is 1 when something could not be taken back."""
    from darse.engine.rebuild import rebuild  # noqa: PLC0415

    with only_engine(config):
        lost = rebuild(config.data_root, _say)
    return 1 if lost else 0


def _archive(config: EngineConfig, command: CommandLine) -> None:
    """Write the data root into an archive, or make it from one. Raises SystemFault and InvalidParameter."""
    from darse.engine.whole_backup import backup, needs_database, restore  # noqa: PLC0415

    for number in _ENDS:
        signal.signal(number, _end)
    if command.backup:
        needs_database(config)
    with only_engine(config):
        if command.backup:
            backup(config, command.backup, _say)
        elif command.restore:
            restore(config, command.restore, _say)


def _end(number: int, _frame: object) -> None:
    """End by a signal, once: what is half made is removed."""
    for one in _ENDS:
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + number)


def _watch_children_by_descriptor() -> None:
    """Have asyncio wait for processes by pidfd_open(2), as it does by itself from Python 3.12 on.

    Before, it starts a thread for each, and holds the event loop until that runs: 100 ms on a busy machine.
    """
    if sys.version_info < (3, 12):
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)


async def _serve(config: EngineConfig, command: CommandLine, stalls: StallDetector | None) -> None:
    # Imported late: a mistake in the options is answered without loading the engine.
    from darse.api.app import Api  # noqa: PLC0415
    from darse.api.audit import open_audit  # noqa: PLC0415
    from darse.api.listeners import Listeners  # noqa: PLC0415
    from darse.api.server import ApiServer  # noqa: PLC0415
    from darse.engine.engine import Engine  # noqa: PLC0415

    asyncio.get_running_loop().set_exception_handler(_report)
    _watch_children_by_descriptor()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    engine = Engine(config)
    observation = _Observation(engine)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, engine, command, observation)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _dump_tasks, config)
    try:
        await engine.start()
        audit = open_audit(config)
        api = Api(engine, audit)
        # gRPC comes by a request where there are authorization plugins, which see that.
        server = ApiServer(api.handle, lambda: None if config.authorization_plugins else api.serve_http2)
        listeners = Listeners(config, server)
        await observation.begin()
        try:
            await listeners.listen()
            gc.freeze()
            gc.enable()
            if stalls is not None:
                stalls.start()
            _begin_watchdog()
            service_manager.notify("READY=1")
            _log.info("darsed %s is ready", __version__)
            ending = threading.Event()
            keeping = asyncio.create_task(executors.storage.run(_keep_program, config, ending), name="program's copy")
            await stop.wait()
            ending.set()
            service_manager.notify("STOPPING=1")
            _log.info("stopping%s", "; containers run on" if config.live_restore else " all containers")
            await keeping
        finally:
            await observation.close()
            listeners.close()
            await api.drain(_DRAIN_SECONDS)
            await server.shutdown(_HANDLERS_SECONDS)
            await api.drain(_UNDO_SECONDS)
            if audit is not None:
                audit.close()
            if stalls is not None:
                stalls.stop()
    finally:
        await engine.close()


class _Observation:
    """Metrics, traces and alerts; nothing of what nobody asks for is loaded."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._observing: Observing | None = None
        # One change after the other.
        self._lock = asyncio.Lock()

    async def begin(self) -> None:
        """Begin with what is asked for. Raises EngineError."""
        async with self._lock:
            if self._observing is None and self._engine.config.is_observed:
                from darse.observing.service import Observing  # noqa: PLC0415

                observing = Observing(self._engine)
                await observing.open()
                self._observing = observing

    def reload(self) -> None:
        """Have the rules of alerts of the configuration as it is now."""
        task = begin_lasting(self._reload(), name="reload of alerts")
        _lasting.add(task)
        task.add_done_callback(_lasting.discard)

    async def _reload(self) -> None:
        if self._observing is None:
            await self.begin()
            return
        async with self._lock:
            await self._observing.reload()

    async def close(self) -> None:
        """End all of it."""
        async with self._lock:
            if self._observing is not None:
                await self._observing.close()


def _begin_watchdog() -> None:
    """Let the service manager know that the loop turns, where it asks. What it kills then leaves its stacks."""
    seconds = service_manager.watchdog_seconds()
    if not seconds:
        return
    import faulthandler  # noqa: PLC0415 - without a watchdog nothing sends SIGABRT

    faulthandler.enable()
    # The loop has a weak reference only; it is cancelled with the loop.
    _lasting.add(begin_lasting(service_manager.keep_watchdog(seconds), name="watchdog"))


def _keep_program(config: EngineConfig, ending: threading.Event) -> None:
    """Keep the program's files: an upgrade must not change what this engine loads later."""
    from darse import program_copy  # noqa: PLC0415 - not before the engine serves

    try:
        if shutil.disk_usage(config.data_root).free < _PROGRAM_BYTES:
            _log.warning("%s is nearly full: no copy of the program is kept", config.data_root)
            return
        program_copy.keep(config.data_root / "code", ending)
    except program_copy.Stopped:
        return
    except OSError as error:
        _log.warning("cannot keep a copy of the program; restart the engine after each upgrade: %s", error)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody waits for; that there is no descriptor for a client (accept(2) is tried again) in one line."""
    error = context.get("exception")
    fault = exhausted(error) if isinstance(error, OSError) else None
    if fault is None:
        loop.default_exception_handler(context)
    else:
        _log.warning("%s: %s", context.get("message", "failed"), fault)


def _set_up_process() -> None:
    """Do not depend on who starts us: containers' directories have the modes that we give, descriptors suffice."""
    os.umask(0o022)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Containers inherit the limit. A million is what docker gives them; some programs walk through all of a billion.
    limit = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _dump_tasks(config: EngineConfig) -> None:
    """Write what every task waits for into the exec root, as dockerd does with its stacks on SIGUSR1."""
    path = config.exec_root / f"tasks-{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}.log"
    with open(path, "w", encoding="utf-8") as file:
        for task in asyncio.all_tasks():
            task.print_stack(file=file)
        for number, frame in sys._current_frames().items():
            file.write(f"Thread {number}:\n{''.join(traceback.format_stack(frame))}")
    _log.info("tasks and threads written to %s", path)


def _reload(engine: Engine, command: CommandLine, observation: _Observation) -> None:
    """Read the file again, and take over what may change while the engine runs; a mistake changes nothing."""
    service_manager.notify_reloading()
    try:
        newer = command.load(again=True)
        if newer.alerts != engine.config.alerts:
            from darse.observing.service import check  # noqa: PLC0415

            check(newer)
        changed = engine.reload(newer)
        if "alerts" in changed:
            observation.reload()
    except EngineError as error:
        _log.error("cannot reload the configuration: %s", error)
        return
    finally:
        service_manager.notify("READY=1")
    logging.getLogger().setLevel(_level(engine.config))
    engine.events.publish("daemon", "reload", engine.system.id, {"name": socket.gethostname(), **changed})
    _log.info("reloaded the configuration: %s", ", ".join(sorted(changed)) or "nothing changed")


class _JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _set_up_logging(config: EngineConfig) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(
        _JsonFormatter()
        if config.log_format == "json"
        else logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    logging.basicConfig(level=_level(config), handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _level(config: EngineConfig) -> int:
    return logging.DEBUG if config.debug else _LEVELS[config.log_level]


if __name__ == "__main__":
    main()
