"""The capabilities that clients see (`frontend/gateway/pb/caps.go`, `solver/pb/caps.go`): only what can be."""

from __future__ import annotations

from darse.buildkit.wire.caps_pb2 import APICap

_FRONTEND = (
    "solve.base resolveimage resolveimage.resolvemode readfile return returnmap readdir statfile importcaches "
    "proto.refarray reference.output gateway.solve.metadata frontend.caps gateway.solve.evaluate gateway.evaluate "
    "gateway.warnings source.metaresolver gateway.exec gateway.exec.extrahosts gateway.exec.secretenv "
    "gateway.exec.signals gateway.exec.filesystem"
)
_GRAPH = (
    "source.image source.image.resolvemode source.image.layerlimit source.image.checksum source.local "
    "source.local.unique source.local.sessionid source.local.includepatterns source.local.followpaths "
    "source.local.excludepatterns source.local.sharedkeyhint source.local.differ source.git source.git.keepgitdir "
    "source.git.fullurl source.git.httpauth source.git.knownsshhosts source.git.mountsshsock source.git.subdir "
    "source.git.checksum source.git.skipsubmodules source.http source.http.auth source.http.checksum source.http.perm "
    "soruce.http.uidgid source.http.header exec.meta.base exec.meta.cgroup.parent exec.meta.network "
    "exec.meta.proxyenv exec.meta.security exec.meta.setsdefaultpath exec.meta.ulimit "
    "exec.meta.removemountstubs.recursive exec.mount.bind exec.mount.bind.readwrite-nooutput exec.mount.cache "
    "exec.mount.cache.sharing exec.mount.selector exec.mount.tmpfs exec.mount.tmpfs.size exec.mount.secret "
    "exec.mount.ssh exec.mount.cache.content exec.secretenv exec.validexitcode file.base file.rm.wildcard "
    "file.copy.includeexcludepatterns file.copy.requiredpaths file.copy.alwaysreplaceexistingdestpaths "
    "file.copy.modestring file.symlink.create constraints platform meta.ignorecache meta.description "
    "meta.exportcache mergeop diffop exporter.image.annotations exporter.image.attestations exporter.sourcedateepoch "
    "exporter.multiple"
)
FRONTEND = [APICap(ID=one, Enabled=True) for one in _FRONTEND.split()]
GRAPH = [APICap(ID=one, Enabled=True) for one in _GRAPH.split()]
