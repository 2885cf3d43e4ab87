"""What help and manual pages say of a command besides its flags: examples, the keys of its filters, exit statuses."""

from __future__ import annotations

import sys

from darse.cli.command_line import builtin_drivers
from darse.cli.command_line.flags import terminal_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What the second column of a page gets at least, however narrow the terminal is.
_NARROWEST = 20
# Keys of `--filter`, with the values of those that have few; a test holds them against the engine's.
_LABELS = {"label": "", "label!": ""}
_BOOLEAN = "true false"
_CACHE = {
    "description": "",
    "id": "",
    "inuse": "",
    "parent": "",
    "private": "",
    "shared": "",
    "type": "exec.cachemount frontend internal regular source.git.checkout source.local",
    "until": "",
}
FILTERS: dict[str, dict[str, str]] = {
    "builder du": _CACHE,
    "builder prune": _CACHE,
    "compose ls": {"name": ""},
    "compose ps": {"status": "created dead exited paused removing restarting running"},
    "container ls": {
        "ancestor": "",
        "before": "",
        "exited": "",
        "expose": "",
        "health": "none starting healthy unhealthy",
        "id": "",
        "is-task": _BOOLEAN,
        "isolation": "default",
        "name": "",
        "network": "",
        "publish": "",
        "since": "",
        "status": "created restarting running removing paused exited dead",
        "volume": "",
        **_LABELS,
    },
    "container prune": {"until": "", **_LABELS},
    "image ls": {"before": "", "dangling": _BOOLEAN, "reference": "", "since": "", "until": "", **_LABELS},
    "image prune": {"until": "", **_LABELS},
    "network ls": {
        "dangling": _BOOLEAN,
        "driver": " ".join(builtin_drivers.NETWORK),
        "id": "",
        "name": "",
        "scope": "local",
        "type": "builtin custom",
        **_LABELS,
    },
    "network prune": {"until": "", **_LABELS},
    "volume ls": {"dangling": _BOOLEAN, "driver": "local", "name": "", **_LABELS},
    "volume prune": {"all": _BOOLEAN, **_LABELS},
    "plugin ls": {
        "capability": "authz ipamdriver logdriver networkdriver volumedriver",
        "enabled": "false true",
    },
    "system events": {
        "config": "",
        "container": "",
        "daemon": "",
        "event": "create start die stop kill oom destroy pull push tag mount connect",
        "image": "",
        "label": "",
        "network": "",
        "node": "",
        "plugin": "",
        "scope": "local swarm",
        "secret": "",
        "service": "",
        "type": "container image volume network daemon",
        "volume": "",
    },
    "system prune": {"until": "", **_LABELS},
    "search": {"is-automated": _BOOLEAN, "is-official": _BOOLEAN, "stars": ""},
}

EXAMPLES = {
    "builder du": "builder du\nbuilder du --filter type=regular",
    "builder prune": "builder prune\nbuilder prune -a --filter until=24h",
    "checkpoint create": "checkpoint create web before-upgrade",
    "checkpoint ls": "checkpoint ls web",
    "checkpoint rm": "checkpoint rm web before-upgrade",
    "compose alpha dry-run": "compose alpha dry-run -- up --build -d",
    "compose alpha viz": "compose alpha viz --networks --ports | dot -Tsvg > shop.svg",
    "compose attach": "compose attach web",
    "compose bridge convert": (
        "compose bridge convert -o manifests\ncompose bridge convert -t team/to-helm --templates own"
    ),
    "compose bridge transformations create": "compose bridge transformations create --from team/to-helm mine",
    "compose bridge transformations list": "compose bridge transformations list -q",
    "compose build": "compose build web\ncompose build --no-cache --build-arg VERSION=2",
    "compose commit": "compose commit web web:changed",
    "compose config": "compose config\ncompose config --format json web",
    "compose cp": "compose cp web:/etc/nginx/nginx.conf .\ncompose cp page.html web:/srv",
    "compose create": "compose create web",
    "compose down": "compose down\ncompose down -v --remove-orphans",
    "compose events": "compose events --json --since 10m web",
    "compose exec": "compose exec web sh\ncompose exec -T db pg_dump shop > shop.sql",
    "compose explain": "compose explain web\ncompose explain --format json",
    "compose graph": "compose graph\ncompose graph --format svg > shop.svg",
    "compose export": "compose export -o web.tar web",
    "compose images": "compose images",
    "compose kill": "compose kill -s HUP web",
    "compose logs": "compose logs -f --tail 20\ncompose logs --since 10m web",
    "compose ls": "compose ls -a",
    "compose pause": "compose pause web",
    "compose port": "compose port web 80",
    "compose ps": "compose ps -a\ncompose ps --status exited --format json",
    "compose pull": "compose pull --ignore-buildable",
    "compose publish": (
        "compose publish registry.example.com/team/shop:1\ncompose publish --app registry.example.com/team/shop:1"
    ),
    "compose push": "compose push web",
    "compose restart": "compose restart -t 5 web",
    "compose rm": "compose rm -f -s web",
    "compose run": "compose run --rm web sh\ncompose run -T --no-deps web env",
    "compose scale": "compose scale web=3",
    "compose start": "compose start web",
    "compose stats": "compose stats --no-stream web",
    "compose stop": "compose stop -t 30 web",
    "compose top": "compose top web",
    "compose unpause": "compose unpause web",
    "compose up": "compose up -d\ncompose up --wait --scale web=3\ncompose up -d --dry-run",
    "compose version": "compose version --short",
    "compose volumes": "compose volumes -q",
    "compose wait": "compose wait once",
    "compose watch": "compose watch web",
    "generate compose": "generate compose --name shop web db > compose.yaml",
    "container attach": "attach sess\nattach --no-stdin --sig-proxy=false web",
    "container commit": "commit -m 'with vim' box box:vim\ncommit -c 'CMD [\"sh\"]' box box:2",
    "container cp": "cp web:/etc/nginx/nginx.conf .\ncp ./site web:/usr/share/nginx/html\ncp web:/var/log - | tar t",
    "container create": "create --name web -p 8080:80 nginx",
    "container diff": "diff web",
    "container exec": "exec -it web sh\nexec -u www-data -w /tmp web id",
    "container export": "export -o files.tar web",
    "container inspect": "container inspect web\ncontainer inspect -f '{{.State.ExitCode}}' web",
    "container kill": "kill web\nkill -s HUP web",
    "container logs": "logs -f --tail 20 web\nlogs --since 10m -t web",
    "container ls": "ps -a\nps --filter status=exited --format '{{.Names}}'",
    "container pause": "pause web",
    "container port": "port web\nport web 80/tcp",
    "container prune": "container prune --filter until=24h",
    "container rename": "rename web old-web",
    "container restart": "restart -t 5 web",
    "container rm": "rm web\nrm -f -v web",
    "container start": "start web\nstart -ai sess",
    "container stats": "stats\nstats --no-stream --format '{{.Name}} {{.MemUsage}}' web",
    "container stop": "stop web\nstop -t 30 -s INT web",
    "container top": "top web\ntop web -o pid,rss,args",
    "container unpause": "unpause web",
    "container update": "update --memory 512m --cpus 1.5 web",
    "container wait": "wait web",
    "context export": "context export far far.tar",
    "context import": "context import far far.tar",
    "context inspect": "context inspect far",
    "context ls": "context ls",
    "context rm": "context rm far",
    "context show": "context show",
    "context update": "context update far --description 'the one in the cellar'",
    "context use": "context use far",
    "image history": "history --no-trunc nginx",
    "image import": "import files.tar box:1\nimport -c 'CMD [\"sh\"]' - box:1 < files.tar",
    "image inspect": "image inspect -f '{{.Config.Env}}' nginx",
    "image load": "load -i images.tar\nload < images.tar",
    "image ls": "images\nimages --filter dangling=true -q\nimages --tree",
    "image prune": "image prune -a --filter until=168h",
    "image rm": "rmi nginx:1.23\nrmi -f box:1",
    "image save": "save -o images.tar nginx redis",
    "image tag": "tag app registry.example.com/team/app:1",
    "manifest annotate": "manifest annotate team/app:1 team/app:1-arm64 --arch arm64",
    "manifest create": "manifest create team/app:1 team/app:1-amd64 team/app:1-arm64",
    "manifest inspect": "manifest inspect nginx",
    "manifest push": "manifest push team/app:1",
    "manifest rm": "manifest rm team/app:1",
    "network connect": "network connect --alias db backend postgres",
    "network create": "network create backend\nnetwork create --subnet 10.9.0.0/24 --gateway 10.9.0.1 lab",
    "network disconnect": "network disconnect backend postgres",
    "network graph": "network graph\nnetwork graph --format svg",
    "network inspect": "network inspect backend",
    "network ls": "network ls --filter driver=bridge",
    "network prune": "network prune",
    "network rm": "network rm backend",
    "plugin create": "plugin create me/sshfs ./plugin",
    "plugin disable": "plugin disable vieux/sshfs",
    "plugin enable": "plugin enable vieux/sshfs",
    "plugin inspect": "plugin inspect -f '{{.Settings.Env}}' vieux/sshfs",
    "plugin install": "plugin install vieux/sshfs\nplugin install --alias ssh vieux/sshfs DEBUG=1",
    "plugin ls": "plugin ls\nplugin ls --filter capability=volumedriver",
    "plugin push": "plugin push registry.example.com/me/sshfs:1",
    "plugin rm": "plugin rm vieux/sshfs",
    "plugin set": "plugin set vieux/sshfs DEBUG=1 sshkey.source=/root/.ssh",
    "plugin upgrade": "plugin upgrade vieux/sshfs vieux/sshfs:next",
    "volume clone": "volume clone data data-of-the-test",
    "volume create": "volume create data\nvolume create --opt size=10g uploads",
    "volume du": "volume du data\nvolume du --depth 2 -n 5 data log",
    "volume export": "volume export -o data.tar data\nvolume export data | zstd > data.tar.zst",
    "volume graph": "volume graph\nvolume graph --format svg > volumes.svg",
    "volume import": "volume import data data.tar\nvolume import --replace data < data.tar.zst",
    "volume inspect": "volume inspect -f '{{.Mountpoint}}' data",
    "volume ls": "volume ls --filter dangling=true",
    "volume prune": "volume prune -a",
    "volume restore": "volume restore data before-upgrade",
    "volume rm": "volume rm data",
    "volume snapshot": "volume snapshot data before-upgrade",
    "system check": "system check\nsystem check --repair",
    "system df": "system df -v",
    "system dial-stdio": "system dial-stdio",
    "system events": "events --since 1h --filter type=container\nevents --format json",
    "system info": "info\ninfo -f '{{.Driver}}'",
    "system prune": "system prune --volumes",
    "system restart": "system restart",
    "login": "login registry.example.com\nlogin -u me --password-stdin registry.example.com < token",
    "logout": "logout registry.example.com",
    "search": "search --limit 5 postgres",
    "inspect": "inspect web\ninspect --type volume data",
    "version": "version\nversion --client",
    "explain": "explain\nexplain web\nexplain dns db --from web\nexplain --last start web\nexplain --last pull alpine",
    "doctor": "doctor",
    "completion": "completion bash > /etc/bash_completion.d/darse",
}

_USUAL = ("0    all was done", "1    something was not, and has been said on standard error", "125  a flag is wrong")
_PROCESS = (
    "125  the engine, or a flag, is at fault",
    "126  the program cannot be run",
    "127  there is no such program",
    "N    the process's own status; 128+N when signal N has ended it",
)
_OWN: dict[str, tuple[str, ...]] = {
    "container run": _PROCESS,
    "container exec": (*_PROCESS, "1    detached from, or the engine went away; the process runs on"),
    "container attach": ("N    the container's own status; 1 after detaching", *_USUAL[1:]),
    "container start": (*_USUAL, "N    with --attach: the container's own status"),
    "doctor": ("0    no problem was found", "1    one was", _USUAL[2]),
    "system check": ("0    all is whole", "1    problems remain", _USUAL[2]),
}


def canonical(path: str) -> str:
    """The path of a command that may have been typed by another name."""
    from darse.cli.command_line import index

    return index.ALIASES.get(path, path)


def examples(path: str) -> list[str]:
    """Command lines that show a command's use."""
    return [f"darse {line}" for line in EXAMPLES.get(canonical(path), "").splitlines()]


def filter_keys(path: str) -> str:
    """The keys of a command's filter; empty when it has none."""
    return ", ".join(sorted(FILTERS.get(canonical(path), {})))


def statuses(path: str) -> tuple[str, ...]:
    """What a command's exit statuses mean, a line each."""
    return _OWN.get(canonical(path), _USUAL)


def example_lines(line: str) -> Iterator[str]:
    """A command line of a page, in several that a shell joins again where it is longer than the terminal is wide."""
    columns = terminal_width() if sys.stdout.isatty() else 0
    if not columns or len(line) + 2 <= columns:
        yield f"  {line}"
        return
    import shlex

    from darse.cli.output import shell

    yield from shell.lines(shlex.split(line, posix=False), "  ", columns, prompt="")


def fitted(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a page, those that are longer than the terminal is wide in several.

    They go on below the second column where there is one, and a bit to the right otherwise.
    """
    columns = terminal_width() if sys.stdout.isatty() else 0
    for line in lines:
        if not columns or len(line) <= columns:
            yield line
            continue
        import re
        import textwrap

        begin = len(line) - len(line.lstrip())
        first = re.match(r" *\S+( \S+)*  +", line)
        second = first.end() if first is not None and columns - first.end() >= _NARROWEST else begin + 4 * (begin > 0)
        yield from textwrap.wrap(line, columns, subsequent_indent=" " * second, break_on_hyphens=False)
