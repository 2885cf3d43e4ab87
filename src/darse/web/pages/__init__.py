"""The pages, one module for each kind of object."""

from __future__ import annotations

from darse.web.pages import (
    account,
    builds,
    console,
    container_views,
    containers,
    events,
    files,
    images,
    networks,
    overview,
    projects,
    volumes,
)
from darse.web.routing import PageRoutes


def all_pages() -> PageRoutes:
    """Every page."""
    pages = PageRoutes()
    for module in (
        account,
        overview,
        containers,
        console,
        container_views,
        files,
        images,
        volumes,
        networks,
        projects,
        builds,
        events,
    ):
        pages.extend(module.PAGES)
    return pages
