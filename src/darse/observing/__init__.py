"""Watching the engine like a service: metrics, traces, alerts.

Loaded when the configuration asks for any of them, and not before.
"""
