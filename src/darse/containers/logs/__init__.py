"""Logs: what a container printed, from conmon's file to whoever asks."""

from darse.containers.logs.reader import LogOptions, LogStream

__all__ = ["LogOptions", "LogStream"]
