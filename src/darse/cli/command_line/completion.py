"""What may come next on a command line: commands, flags, and names that the engine knows.

The shells' scripts are three lines that ask `darse completion --words`, so that they never grow old. An engine is
asked, but never started, for a tab.
"""

from __future__ import annotations

from darse.cli.command_line import builtin_drivers, flag_words, index
from darse.cli.command_line.flags import Command, Flag
from darse.cli.errors import CliError
from darse.cli.settings.config import Settings
from darse.client import EngineEndpoint
from darse.client.requests import archives, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from darse.client.blocking import Client
    from darse.client.documents.containers import ExecConfigDocument

# What the arguments of a command are, by the words of its usage.
_OBJECTS = {
    "CONTAINER": "container",
    "IMAGE": "image",
    "NETWORK": "network",
    "VOLUME": "volume",
    "CONTEXT": "context",
    "SOURCE_IMAGE[:TAG]": "image",
    "NAME|ID": "any",
    "NAME[:TAG]": "image",
}
_FLAG_OBJECTS = {
    "cache-from": "image",
    "config-from": "network",
    "context create from": "context",
    "from": "container",
    "link": "container",
    "net": "network",
    "network": "network",
    "volumes-from": "container",
}
_HOSTS = ("unix:///run/darse/darse.sock", "unix:///var/run/docker.sock", "ssh://", "tcp://")
_TABLES = (
    "container ls",
    "image ls",
    "network ls",
    "volume ls",
    "container stats",
    "search",
    "context ls",
    "system df",
)
# What /info lists, by the flags that take one of it.
_DRIVERS = {
    "network create driver": "Network",
    "volume create driver": "Volume",
    "volume-driver": "Volume",
    "log-driver": "Log",
    "runtime": "Runtimes",
}
# What there is where no engine answers.
_USUAL_DRIVERS = {
    "Network": [*builtin_drivers.NETWORK],
    "Volume": ["local"],
    "Runtimes": ["crun", "runc"],
}
# How much of a directory's archive is read to learn its names, where no `ls` can be run there.
_ARCHIVE_LIMIT = 8 * 1024 * 1024
# Commands whose arguments can only be containers that run, or that do not.
_RUNNING = frozenset({"stop", "kill", "pause", "exec", "attach", "top"})


def complete(words: list[str], settings: Settings) -> list[str]:
    """The words that may follow. The last of `words` is the beginning of the one to complete."""
    from darse.cli.entry import GLOBAL

    *before, current = words or [""]
    if before and (values := _of_global(before, current, GLOBAL, settings)) is not None:
        return values
    before = _without_global(before, GLOBAL)
    if not before:
        return (
            _starting(current, [*_top_level(), *_plugins(settings), "help"])
            if not current.startswith("-")
            else _flags(GLOBAL, current)
        )
    if before[0] == "help":
        before = before[1:]
        if not before:
            return _starting(current, _top_level())
    if before[0] in index.GROUPS and len(before) == 1:
        return _starting(current, _group(before[0]))
    found = index.resolve(before)
    if found is None:
        return []
    _, path, rest = found
    command = index.COMMANDS[path].load(path)[0]
    return _of_command(command, rest, current, settings)


def _of_global(before: list[str], current: str, command: Command, settings: Settings) -> list[str] | None:
    """The values of a global flag, when it is one of these that is being typed."""
    flags = {f"--{flag.name}": flag for flag in command.flags} | {f"-{flag.short}": flag for flag in command.flags}
    flag = flags.get(before[-1])
    if flag is None or flag.kind == "bool" or _without_global(before[:-1], command):
        return None
    return _values(flag, current, settings, command)


def _without_global(words: list[str], command: Command) -> list[str]:
    """The words from the command on."""
    takes_value = {f"--{flag.name}" for flag in command.flags if flag.kind != "bool"}
    takes_value |= {f"-{flag.short}" for flag in command.flags if flag.kind != "bool" and flag.short}
    position = 0
    while position < len(words) and words[position].startswith("-"):
        position += 2 if words[position] in takes_value else 1
    return words[position:]


def _starting(current: str, words: list[str] | tuple[str, ...]) -> list[str]:
    return sorted({word for word in words if word.startswith(current)})


def _top_level() -> list[str]:
    return [path for path in [*index.COMMANDS, *index.ALIASES, *index.GROUPS] if " " not in path]


def _plugins(settings: Settings) -> list[str]:
    from darse.cli.command_line import plugins

    return plugins.names(settings)


def _group(name: str) -> list[str]:
    entries = index.COMMANDS.items()
    return [path.partition(" ")[2] for path, entry in entries if path.startswith(f"{name} ") and not entry.hidden]


def _flags(command: Command, current: str) -> list[str]:
    return _starting(current, [f"--{flag.name}" for flag in command.flags if not flag.hidden] + ["--help"])


def _of_command(command: Command, rest: list[str], current: str, settings: Settings) -> list[str]:
    flags = {f"--{flag.name}": flag for flag in command.flags}
    flags |= {f"-{flag.short}": flag for flag in command.flags if flag.short}
    if rest and (flag := flags.get(rest[-1])) is not None and flag.kind != "bool":
        return _values(flag, current, settings, command)
    name, equals, value = current.partition("=")
    if equals and name in flags:
        return [f"{name}={one}" for one in _values(flags[name], value, settings, command)]
    arguments = _arguments(rest, flags)
    if current.startswith("-") and (command.interspersed or not arguments):
        return _flags(command, current)
    if command.path == "container cp":
        return _copied(current, settings)
    return _names(_kind(command, len(arguments)), command.path.rpartition(" ")[2], current, settings, arguments)


def _arguments(rest: list[str], flags: dict[str, Flag]) -> list[str]:
    arguments, position = [], 0
    while position < len(rest):
        word = rest[position]
        if not word.startswith("-") or word == "-":
            arguments.append(word)
        elif "=" not in word and word in flags and flags[word].kind != "bool":
            position += 1
        position += 1
    return arguments


def _kind(command: Command, position: int) -> str:
    """What the argument at `position` names."""
    if command.path == "completion":
        return "shell"
    words = [word for word in command.usage.split() if word != "[OPTIONS]"]
    if not words or (command.maximum is not None and position >= command.maximum):
        return ""
    word = words[min(position, len(words) - 1)] if position < len(words) else words[-1]
    return _OBJECTS.get(word.strip("[].").removesuffix("..."), "") or _OBJECTS.get(word.strip("[]").rstrip("."), "")


def _values(flag: Flag, current: str, settings: Settings, command: Command) -> list[str]:
    if flag.name == "filter":
        return _filter(command, current, settings)
    if flag.name == "format":
        own = flag_words.words(command.path, flag.name)
        return _starting(current, own or ["json", *(["table"] if command.path in _TABLES else [])])
    if flag.name == "host":
        return _starting(current, [*_HOSTS, *_context_hosts(settings)])
    if flag.name == "context":
        return _names("context", "", current, settings, [])
    if kind := _DRIVERS.get(f"{command.path} {flag.name}", _DRIVERS.get(flag.name, "")):
        return _starting(current, [*flag_words.words(command.path, flag.name), *_drivers(kind, settings)])
    if flag.kind != "int" and (values := flag_words.words(command.path, flag.name)):
        return _joined(current, settings) or _starting(current, values)
    extra = ["bridge", "host", "none", "container:"] if flag.name in ("network", "net") else []
    kind = _FLAG_OBJECTS.get(f"{command.path} {flag.name}", _FLAG_OBJECTS.get(flag.name, ""))
    names = _joined(current, settings) or _names(kind, "", current, settings, [])
    return sorted({*_starting(current, extra), *names}) if kind else []


def _joined(current: str, settings: Settings) -> list[str]:
    """The containers whose namespace may be joined, behind `container:`."""
    word, colon, name = current.partition(":")
    if not colon or word != "container":
        return []
    return [f"container:{one}" for one in _names("container", "exec", name, settings, [])]


def _filter(command: Command, current: str, settings: Settings) -> list[str]:
    """Keys with their `=`; behind it the values of those that have few, or the names of objects."""
    from darse.cli.command_line.help_pages import FILTERS, canonical

    keys = FILTERS.get(canonical(command.path), {})
    name, equals, value = current.partition("=")
    if not equals:
        return _starting(current, [f"{key}=" for key in keys])
    kind = _FILTER_OBJECTS.get(name, "")
    values = _starting(value, keys.get(name, "").split()) or _names(kind, "", value, settings, [])
    return [f"{name}={one}" for one in values]


_FILTER_OBJECTS = {
    "ancestor": "image",
    "container": "container",
    "image": "image",
    "name": "container",
    "network": "network",
    "reference": "image",
    "volume": "volume",
}


def _drivers(kind: str, settings: Settings) -> list[str]:
    try:
        info = _asked(settings).do(system.info())
    except CliError:
        return _USUAL_DRIVERS.get(kind, [])
    found: Mapping[str, object] = info if kind == "Runtimes" else info["Plugins"]
    named = found.get(kind)
    return list(named) if isinstance(named, (dict, list)) else []


def _context_hosts(settings: Settings) -> list[str]:
    from darse.cli.settings.config import context_directories, read_json
    from darse.cli.settings.contexts import Contexts

    hosts = []
    for name in Contexts(settings).names():
        meta = read_json(f"{context_directories(settings.directory, name)[0]}/meta.json")
        hosts.append(str(((meta.get("Endpoints") or {}).get("docker") or {}).get("Host", "")))
    return [host for host in hosts if host]


def _copied(current: str, settings: Settings) -> list[str]:
    """`CONTAINER:PATH` of cp: containers, and the files inside one."""
    container, colon, path = current.partition(":")
    if not colon:
        return [f"{name}:" for name in _names("container", "", current, settings, [])] if "/" not in current else []
    directory = path[: path.rfind("/") + 1]
    try:
        names = _listing(_asked(settings), container, directory or "/")
    except CliError:
        return []
    return _starting(current, [f"{container}:{directory}{name}" for name in names])


def _listing(client: Client, container: str, directory: str) -> list[str]:
    """The names in a directory of a container, with `/` behind those of directories. Raises CliError."""
    from darse.client.requests import containers, execs
    from darse.client.streams import Demultiplexer

    if client.do(containers.inspect(container))["State"]["Running"]:
        listing: ExecConfigDocument = {"AttachStdout": True, "Cmd": ["ls", "-1ap", directory]}
        process = client.do(execs.create(container, listing))["Id"]
        output = bytearray()
        demultiplexer = Demultiplexer(lambda _, data: output.extend(data))
        connection, _ = client.attach(execs.start(process))
        demultiplexer.feed(connection.early())
        while piece := connection.socket.recv(1 << 16):
            demultiplexer.feed(piece)
        if client.do(execs.inspect(process))["ExitCode"] == 0:
            names = output.decode(errors="replace").splitlines()
            return [name for name in names if name not in ("./", "../")]
    return _archived(client, container, directory)


def _archived(client: Client, container: str, directory: str) -> list[str]:
    """The same of a container that does not run, or has no `ls`: as far as the archive's first megabytes tell."""
    from darse.archive.errors import ArchiveRefused
    from darse.archive.extract import entries
    from darse.archive.tar import DIRECTORY

    content = bytearray()
    for piece in client.open(archives.archive(container, directory)).pieces():
        content += piece
        if len(content) > _ARCHIVE_LIMIT:
            break
    found = set()
    try:
        for entry in entries(iter([bytes(content)])):
            inside = entry.path.decode(errors="surrogateescape").strip("/").split("/")[0 if directory == "/" else 1 :]
            if inside and inside[0] not in ("", "."):
                found.add(inside[0] + ("/" if entry.kind == DIRECTORY or len(inside) > 1 else ""))
    except ArchiveRefused:
        pass  # where it was cut off
    return sorted(found)


def _names(kind: str, verb: str, current: str, settings: Settings, used: list[str]) -> list[str]:
    if kind == "shell":
        return _starting(current, ["bash", "fish", "zsh"])
    if not kind:
        return []
    names: list[str] = []
    for one in ("container", "image", "network", "volume") if kind == "any" else (kind,):
        names += _known(one, verb, settings)
    return [name for name in _starting(current, names) if name not in used]


def _known(kind: str, verb: str, settings: Settings) -> list[str]:
    """Names that the engine knows; none when it does not answer."""
    if kind == "context":
        from darse.cli.settings.contexts import Contexts

        return Contexts(settings).names()
    client = _asked(settings)
    try:
        return _listed(client, kind, verb)
    except CliError:
        return []
    finally:
        client.close()


def _asked(settings: Settings) -> Client:
    """The engine, which is not started for a tab."""
    from darse.client.blocking import Client

    endpoint = settings.endpoint()
    quiet = EngineEndpoint(
        endpoint.host,
        tls=endpoint.tls,
        verify=endpoint.verify,
        ca=endpoint.ca,
        certificate=endpoint.certificate,
        key=endpoint.key,
    )
    return Client(quiet, settings.member("HttpHeaders", dict))


def _listed(client: Client, kind: str, verb: str) -> list[str]:
    from darse.client.requests import containers, images, networks, volumes

    if kind == "container":
        found = client.do(containers.list_containers(all=verb not in _RUNNING))
        if verb == "start":
            found = [one for one in found if one["State"] in ("created", "exited")]
        if verb == "unpause":
            found = [one for one in found if one["State"] == "paused"]
        return [one["Names"][0].removeprefix("/") for one in found if one["Names"]]
    if kind == "image":
        return [tag.removesuffix(":latest") for one in client.do(images.list_images()) for tag in one["RepoTags"]]
    if kind == "network":
        return [one["Name"] for one in client.do(networks.list_networks())]
    return [one["Name"] for one in client.do(volumes.list_volumes())["Volumes"] or ()]


BASH = """# darse completion bash > /etc/bash_completion.d/darse
_darse() {
    local IFS=$'\\n' line="${COMP_LINE:0:$COMP_POINT}" word="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=($(darse completion --words -- "$line" 2>/dev/null))
    # bash takes `:` and `=` for the ends of words: it wants what comes after them.
    case $word in [:=]) word= ;; esac
    local typed="${line##* }"
    COMPREPLY=("${COMPREPLY[@]#"${typed%"$word"}"}")
    # More may follow what ends so.
    case ${COMPREPLY[0]} in *[/=:]) compopt -o nospace ;; esac
    [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o bashdefault -F _darse darse
"""
ZSH = """#compdef darse
# darse completion zsh > "${fpath[1]}/_darse"
_darse() {
    local -a found
    found=("${(@f)$(darse completion --words -- "${LBUFFER}" 2>/dev/null)}")
    if [ -n "$found" ]; then compadd -- $found; else _files; fi
}
if [ "$funcstack[1]" = _darse ]; then _darse; else compdef _darse darse; fi
"""
FISH = """# darse completion fish > ~/.config/fish/completions/darse.fish
complete -c darse -f -a '(darse completion --words -- (commandline -cp) 2>/dev/null)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def split_line(line: str) -> list[str]:
    """The words of a command line up to the cursor, after the program's name; the last may be empty."""
    import shlex

    splitter = shlex.shlex(line, posix=True, punctuation_chars=False)
    splitter.whitespace_split = True
    splitter.commenters = ""
    words: list[str] = []
    try:
        words += splitter
    except ValueError:  # an open quote: what is in it is being typed
        words.append(splitter.token)
    if not line or line[-1:].isspace():
        words.append("")
    return words[1:]
