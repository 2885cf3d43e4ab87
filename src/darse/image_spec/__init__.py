"""Documents of images as OCI's image specification and docker's schema 2 define them: a leaf package.

Everybody who reads or writes manifests shares it: the client of registries, the image store, archives, the command. It
does no input or output, and its functions raise ValueErrors of their own, in docker's words where docker has some.

A *digest* names content by its hash. A *descriptor* names a document or a blob: media type, digest, size. A *manifest*
is one image: its config and layers. An *index* lists the manifests of several *platforms*.
"""
