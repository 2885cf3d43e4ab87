"""Serves one page, which says whether the extension in C is there."""

import argparse
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import markupsafe
from jinja2 import Template

_PAGE = Template("<h1>{{ title }}</h1><p>escaped by {{ escape }}, user {{ user }}</p>", autoescape=True)


class Page(BaseHTTPRequestHandler):
    """The page."""

    def do_GET(self):
        """Send it."""
        module = markupsafe.escape.__module__
        body = _PAGE.render(title="wheels & shop", escape=module, user=os.getuid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    """Serve until the process ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    ThreadingHTTPServer(("", parser.parse_args().port), Page).serve_forever()
