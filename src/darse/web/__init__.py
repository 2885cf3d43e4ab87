"""The dashboard: the engine in a browser. A process of its own, `darse web`, on the typed client.

    options            where it listens, and for whom
    accounts, sessions who may come in, in which role, and for how long
    checks, limits     what every request is held against before a page sees it
    routing, server    the table of pages, each with the role that it takes, and the HTTP server
    rendering, texts   templates, and every text in English and French
    history            what the host and the containers use, for a day
    pages/             one module for each kind of object
    static/            style, modules for the browser, and two vendored libraries with their licences

Whoever may create containers is root on the engine's host. So a request is refused unless everything about it is right:
the `Host` (against DNS rebinding), the `Origin` of whatever changes something or opens a websocket, the session, its
role, and a token in each form. Pages are built on the server; texts of containers, images and logs are data there and
in the browser, never markup. The content security policy allows no script but the files in `static/`.
"""
