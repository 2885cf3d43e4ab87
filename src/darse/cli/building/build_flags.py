"""The flags of `build`: docker's classic builder's, and buildx's where they mean something here."""

from __future__ import annotations

from darse.cli.command_line.flags import Flag, listing, number, string, switch

# Flags of buildx's that ask for what is always so, or that only other builders have. They are taken, and change
# nothing.
_WITHOUT_EFFECT = (
    switch("load", "Load the result into the engine's images (always done)"),
    string("builder", "Override the configured builder instance (there is one)"),
    switch("rm", "Remove intermediate containers after a successful build (always done)", default=True),
    switch("force-rm", "Always remove intermediate containers (always done)"),
    switch("compress", "Compress the build context using gzip (never needed on a socket)"),
    string("isolation", "Container isolation technology (there is one)"),
    switch("disable-content-trust", "Skip image verification (deprecated)", default=True),
)
CONTEXT_FLAGS = (
    string("file", "Name of the Dockerfile (default: PATH/Dockerfile)", "f"),
    listing("build-context", "Additional build contexts (e.g., name=path)", value="stringArray"),
    listing("build-arg", "Set build-time variables", value="stringArray"),
    string("target", "Set the target build stage to build"),
    listing("platform", "Set target platform for build; several make an index", value="strings"),
)
STEP_FLAGS = (
    listing("add-host", "Add a custom host-to-IP mapping (format: host:ip)", value="strings"),
    string("network", "Set the networking mode for the RUN instructions during build", default="default"),
    listing("secret", "Secret to expose to the build (format: id=mysecret[,src=/local/secret])", value="stringArray"),
    listing(
        "ssh",
        "SSH agent socket or keys to expose to the build (format: default|id[=socket|key[,key]])",
        value="stringArray",
    ),
    listing(
        "allow", 'Allow extra privileged entitlement (e.g., "network.host", "security.insecure")', value="stringArray"
    ),
    listing("security-opt", "Security options of the RUN instructions", value="stringArray"),
    listing("ulimit", "Ulimit options", value="ulimit"),
    string("shm-size", "Shared memory size for build containers", value="bytes"),
    string("memory", "Memory limit", "m", value="bytes"),
    string("memory-swap", "Swap limit equal to memory plus swap: -1 to enable unlimited swap", value="bytes"),
    number("cpu-shares", "CPU shares (relative weight)", "c"),
    number("cpu-period", "Limit the CPU CFS (Completely Fair Scheduler) period"),
    number("cpu-quota", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
    string("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
    string("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
    string("cgroup-parent", "Set the parent cgroup for the RUN instructions during build"),
)
RESULT_FLAGS = (
    listing("tag", 'Name and optionally a tag (format: "name:tag")', "t", value="stringArray"),
    listing("label", "Set metadata for an image", value="stringArray"),
    listing("annotation", "Add annotation to the image (format: [manifest|index:]name=value)", value="stringArray"),
    string("provenance", "Attest how the image was built (true, or e.g. mode=max,version=v0.2)"),
    listing("attest", 'Attestation parameters (format: "type=provenance,mode=max", "type=sbom")', value="stringArray"),
    string("sbom", "Attest a bill of materials (true, or generator=IMAGE for its scanner)"),
    switch("squash", "Squash newly built layers into a single new layer"),
    listing("output", 'Output destination (format: "type=docker|image|local|tar,dest=path")', "o", value="stringArray"),
    string("iidfile", "Write the image ID to a file"),
    string("metadata-file", "Write build result metadata to a file"),
    switch("push", "Push the image to the registry of each tag when it is built"),
)
CACHE_FLAGS = (
    switch("no-cache", "Do not use cache when building the image"),
    listing("no-cache-filter", "Do not cache specified stages", value="stringArray"),
    listing("cache-from", 'External cache sources (e.g., "user/app:cache", "type=local,src=dir")', value="stringArray"),
    listing("cache-to", 'Cache export destinations (e.g., "type=registry,ref=user/app:cache")', value="stringArray"),
    switch("pull", "Always attempt to pull all referenced images"),
)
OUTPUT_FLAGS = (
    switch("quiet", "Suppress the build output and print image ID on success", "q"),
    string("progress", 'Set type of progress output ("auto", "quiet", "plain", "tty", "rawjson")', default="auto"),
    switch("check", 'Shorthand for "--call=check"'),
    string("call", 'Set method for evaluating build ("build", "check", "outline", "targets")', default="build"),
)
FLAGS: tuple[Flag, ...] = (
    *CONTEXT_FLAGS,
    *STEP_FLAGS,
    *RESULT_FLAGS,
    *CACHE_FLAGS,
    *OUTPUT_FLAGS,
    *_WITHOUT_EFFECT,
)
