"""`compose graph` and `alpha viz`."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from darse.cli import entry

_FILE = """
name: shop
services:
  web:
    image: nginx
    ports: ["127.0.0.1:8080:80"]
    depends_on: {store: {condition: service_healthy}}
    networks: [front, back]
  store:
    build: store
    volumes: [kept:/data, ./conf:/conf:ro]
    networks: [back]
networks: {front: {}, back: {internal: true}}
volumes: {kept: {}}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "compose.yaml").write_text(_FILE)
    monkeypatch.chdir(tmp_path)


def test_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert entry.run(["compose", "graph"]) == 0
    assert capsys.readouterr().out == (
        "service web: nginx, 127.0.0.1:8080 → 80/tcp\n"
        "    needs store (healthy)\n"
        "    on network back\n"
        "    on network front\n"
        f"service store: shop-store, built from {tmp_path}/store\n"
        "    on network back\n"
        "    volume kept → /data\n"
        f"    volume {tmp_path}/conf → /conf (read-only)\n"
        "network back: shop_back, internal\n"
        "network front: shop_front\n"
        "volume kept: shop_kept\n"
    )


def test_svg(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["compose", "graph", "--format", "svg"]) == 0
    drawn = ElementTree.fromstring(capsys.readouterr().out)
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f"{space}g")) == 5
    # One line for the dependency, three for networks, one for the volume with a name.
    assert len(drawn.findall(f"{space}path")) == 5


def test_viz(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["compose", "alpha", "viz", "--ports", "--spaces", "--indentation-size", "2"]) == 0
    assert capsys.readouterr().out == (
        'digraph "shop" {\n  layout=dot;\n'
        '  "store" [style="filled" label=<<font point-size="15">store</font>>];\n'
        '  "web" [style="filled" label=<<font point-size="15">web</font><font point-size="10"><br/><br/><b>Ports:</b>'
        "<br/>127.0.0.1:8080:80 (tcp, ingress)</font>>];\n"
        '\n  "web" -> "store";\n}\n\n'
    )
