"""Takes over what is in the data root of a dockerd that does not run: images, networks, volumes and containers.

    bolt      bbolt's files, read: docker's records of networks and of volumes
    records   docker's records, as they are on the disk
    root      a data root: which of them there are, and the lock that keeps dockerd from starting meanwhile
    service   the import: what is done with each

It runs inside the engine, by the services that make such things for clients, too: whatever they check is checked, each
object is there whole or not at all, and a crash leaves what recovery knows. An import that was broken off is started
again and finds what is there already. Nothing in docker's root is written, and nothing of it is renamed: until its
owner removes it, docker can be started on it as before. So layers, whose files nobody ever changes, are hard links; and
volumes and writable layers are copies, which share their blocks where the file system can.

Layers are verified before they are published: with docker's tar-split metadata their archives are rebuilt, and the
digests compared with the images' configs. What does not pass is not imported.
"""
