"""Sending logs to where a container's logging driver says: syslog, fluentd, gelf, journald, splunk.

The log on disk is the queue. A `Shipper` per container reads it with a `Spool` from the position that was delivered
last, and hands its `Message`s to a `Receiver`, which knows a protocol and says what has arrived.
"""
