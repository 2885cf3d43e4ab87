"""`make protocols`: generate Python of the messages and services of `src/darse/buildkit/wire/*.proto`.

The generated modules are committed, so that nothing but protobuf is needed to run. A runtime of protobuf takes what its
own and the major release before it have generated: the generator is the oldest that is supported.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src"
WIRE = SOURCES / "darse" / "buildkit" / "wire"


def main() -> None:
    """Generate all modules anew."""
    for generated in (*WIRE.glob("*_pb2.py"), *WIRE.glob("*_pb2.pyi"), *WIRE.glob("*_grpc.py")):
        generated.unlink()
    names = sorted(str(path.relative_to(SOURCES)) for path in WIRE.glob("*.proto"))
    plugin = f"--plugin=protoc-gen-grpclib_python={Path(sys.executable).parent / 'protoc-gen-grpclib_python'}"
    outputs = (f"--python_out={SOURCES}", f"--pyi_out={SOURCES}", f"--grpclib_python_out={SOURCES}")
    protoc = (sys.executable, "-m", "grpc_tools.protoc", plugin, f"-I{SOURCES}", *outputs)
    subprocess.run([*protoc, *names], check=True, cwd=ROOT)
    for module in WIRE.glob("*_grpc.py"):
        if "class " not in module.read_text():
            module.unlink()
            continue
        # Types of a service only say what its methods are; a server and a client are imported where they are used.
        module.write_text(re.sub(r"[ \t]+$", "", module.read_text(), flags=re.MULTILINE))


if __name__ == "__main__":
    main()
