"""`manifest`: images of several platforms under one name, put together here and pushed straight to the registry."""

from __future__ import annotations

import json
import sys
from typing import Any

from darse.cli.command_line.flags import Command, listing, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.command_line.key_values import comma_separated
from darse.cli.errors import CliError
from darse.cli.images import manifest_lists
from darse.cli.images.manifest_lists import Entry, Lists
from darse.cli.images.registry_manifests import Registry
from darse.image_spec import references
from darse.image_spec.references import InvalidReference, Reference

# What docker's client lets a list have: combinations that Go compiles for.
_ARCHITECTURES = {
    "darwin": "386 amd64 arm arm64",
    "dragonfly": "amd64",
    "freebsd": "386 amd64 arm",
    "linux": "386 amd64 arm arm64 ppc64le mips64 mips64le riscv64 s390x",
    "netbsd": "386 amd64 arm",
    "openbsd": "386 amd64 arm",
    "plan9": "386 amd64",
    "solaris": "amd64",
    "windows": "386 amd64",
}


def _parse(text: str, what: str = "") -> Reference:
    """The reference that `text` is. Raises CliError, which says `what` it was to be."""
    try:
        return references.parse(text)
    except InvalidReference as error:
        raise CliError(f"{what}{error}") from error


def inspect(invocation: Invocation) -> int:
    """Print a manifest or a list: a list of here, or what a registry has."""
    options, lists = invocation.options, Lists(invocation.settings.directory)
    *before, requested = invocation.arguments
    reference = _parse(requested)
    if before:
        found = lists.image(str(_parse(before[0])), str(reference))
        if found is None:
            raise CliError(f"No such manifest: {reference}")
        _print_image(found, verbose=options.verbose)
        return 0
    local = lists.images(str(reference))
    if local is not None:
        _print_list([one["Descriptor"] for one in local], local if options.verbose else None)
        return 0
    registry = Registry(invocation.settings, reference, insecure=options.insecure)
    image = registry.image()
    if image is not None:
        _print_image(image, verbose=options.verbose)
    elif options.verbose:
        _print_list([], registry.images())
    else:
        _print_list(registry.index(), None)
    return 0


def _print_image(image: Entry, *, verbose: bool) -> None:
    _print(image if verbose else manifest_lists.manifest(image))


def _print_list(descriptors: list[dict[str, Any]], images: list[Entry] | None) -> None:
    if images is None:
        sys.stdout.write(manifest_lists.index(descriptors).decode() + "\n")
    else:
        _print(images)


def _print(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent="\t", ensure_ascii=False) + "\n")


def create(invocation: Invocation) -> int:
    """Begin a list, or add to one."""
    options, lists, settings = invocation.options, Lists(invocation.settings.directory), invocation.settings
    name, *images = invocation.arguments
    target = _parse(name, f"error parsing name for manifest list {name}: ")
    if not options.amend and lists.images(str(target)) is not None:
        raise CliError("refusing to amend an existing manifest list with no --amend flag")
    for image in images:
        reference = _parse(image)
        known = lists.image(str(target), str(reference))
        if known is None or not known.get("Raw"):
            known = Registry(settings, reference, insecure=options.insecure).image()
        if known is None:
            raise CliError(f"{reference} is a manifest list")
        lists.save(str(target), str(reference), known)
    sys.stdout.write(f"Created manifest list {target}\n")
    return 0


def annotate(invocation: Invocation) -> int:
    """Say what an image of a list runs on."""
    options, lists = invocation.options, Lists(invocation.settings.directory)
    list_name, image_name = invocation.arguments
    target = str(_parse(list_name, f"annotate: error parsing name for manifest list {list_name}: "))
    image = str(_parse(image_name, f"annotate: error parsing name for manifest {image_name}: "))
    found = lists.image(target, image)
    if found is None:
        raise CliError(f"manifest for image {image_name} does not exist in {list_name}")
    platform = dict(found["Descriptor"].get("platform") or {})
    given = {
        "architecture": options.arch,
        "os": options.os,
        "os.version": options.os_version,
        "variant": options.variant,
    }
    platform |= {name: value for name, value in given.items() if value}
    features = [*(platform.get("os.features") or ()), *comma_separated(options.os_features)]
    platform = manifest_lists.platform_of({**platform, "os.features": list(dict.fromkeys(features))})
    if platform["architecture"] not in _ARCHITECTURES.get(platform["os"], "").split():
        raise CliError(f"manifest entry for image has unsupported os/arch combination: {options.os}/{options.arch}")
    found["Descriptor"]["platform"] = platform
    lists.save(target, image, found)
    return 0


def push(invocation: Invocation) -> int:
    """Send a list to its repository, and there what it is made of."""
    options, lists = invocation.options, Lists(invocation.settings.directory)
    target = _parse(invocation.arguments[0])
    images = lists.images(str(target))
    if images is None:
        raise CliError(f"No such manifest: {target}")
    if not images:
        raise CliError(f"{target} not found")
    foreign: list[Entry] = []
    mounts: list[tuple[str, str]] = []
    for one in images:
        source = _parse(one["Ref"])
        _check(one, source, target)
        if source.name != target.name:
            foreign.append(one)
            document = manifest_lists.manifest(one)
            mounts += [(source.path, blob["digest"]) for blob in (document["config"], *document["layers"])]
    registry = Registry(invocation.settings, target, insecure=options.insecure)
    content = manifest_lists.index([one["Descriptor"] for one in images])
    digest = registry.put(foreign, mounts, content, _print_line)
    _print_line(digest)
    if options.purge:
        lists.remove(str(target))
    return 0


def _check(image: Entry, source: Reference, target: Reference) -> None:
    """Raise CliError when an image cannot be in a list that is pushed to `target`."""
    platform = image["Descriptor"].get("platform") or {}
    if not (platform.get("architecture") and platform.get("os")):
        raise CliError(f"manifest {image['Ref']} must have an OS and Architecture to be pushed to a registry")
    if source.domain != target.domain:
        raise CliError(
            "cannot use source images from a different registry than the target image: "
            f"{source.domain} != {target.domain}"
        )


def _print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def remove(invocation: Invocation) -> int:
    """Forget lists."""
    lists = Lists(invocation.settings.directory)
    missing = []
    for name in invocation.arguments:
        target = str(_parse(name))
        if lists.images(target) is None:
            missing.append(f"No such manifest: {target}")
        else:
            lists.remove(target)
    if missing:
        raise CliError("\n".join(missing))
    return 0


_INSECURE = "Allow communication with an insecure registry"
COMMANDS = {
    "manifest inspect": (
        Command(
            "manifest inspect",
            "[OPTIONS] [MANIFEST_LIST] MANIFEST",
            "Display an image manifest, or manifest list",
            (
                switch("insecure", _INSECURE),
                switch("verbose", "Output additional info including layers and platform", "v"),
            ),
            1,
            2,
        ),
        inspect,
    ),
    "manifest create": (
        Command(
            "manifest create",
            "MANIFEST_LIST MANIFEST [MANIFEST...]",
            "Create a local manifest list for annotating and pushing to a registry",
            (switch("amend", "Amend an existing manifest list", "a"), switch("insecure", _INSECURE)),
            2,
            None,
            examples="darse manifest create registry.example.com/app:1 registry.example.com/app:1-amd64 "
            "registry.example.com/app:1-arm64\ndarse manifest push registry.example.com/app:1",
        ),
        create,
    ),
    "manifest annotate": (
        Command(
            "manifest annotate",
            "[OPTIONS] MANIFEST_LIST MANIFEST",
            "Add additional information to a local image manifest",
            (
                string("arch", "Set architecture"),
                string("os", "Set operating system"),
                listing("os-features", "Set operating system feature", value="strings"),
                string("os-version", "Set operating system version"),
                string("variant", "Set architecture variant"),
            ),
            2,
            2,
        ),
        annotate,
    ),
    "manifest push": (
        Command(
            "manifest push",
            "[OPTIONS] MANIFEST_LIST",
            "Push a manifest list to a repository",
            (
                switch("insecure", "Allow push to an insecure registry"),
                switch("purge", "Remove the local manifest list after push", "p"),
            ),
            1,
            1,
        ),
        push,
    ),
    "manifest rm": (
        Command(
            "manifest rm",
            "MANIFEST_LIST [MANIFEST_LIST...]",
            "Delete one or more manifest lists from local storage",
            (),
            1,
            None,
        ),
        remove,
    ),
}
