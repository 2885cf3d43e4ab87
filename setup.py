"""What pyproject.toml cannot say: wheels and source archives carry the commit that they are of, for `darse version`.

darse.revision reads it: two lines, the commit and the time, in a file `_build` of the package. A clone says both.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

PACKAGE = Path(__file__).resolve().parent / "src" / "darse"


def write_identity(package: Path) -> None:
    """Write what these sources are into another copy of the package, where that is known."""
    spec = importlib.util.spec_from_file_location("darse_revision", PACKAGE / "revision.py")
    assert spec is not None
    assert spec.loader is not None
    revision = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(revision)
    commit, when = revision.identity(str(PACKAGE))
    if commit and package.is_dir():
        (package / "_build").write_text(f"{commit}\n{when}\n")


class BuildPy(build_py):
    """Files of a wheel. An editable installation has the clone."""

    def run(self) -> None:
        """Copy them, and say of which commit they are."""
        super().run()
        if not getattr(self, "editable_mode", False):
            write_identity(Path(self.build_lib) / "darse")


class Sdist(sdist):
    """Files of a source archive, which has no commits in it."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copy them, and say of which commit they are."""
        super().make_release_tree(base_dir, files)
        write_identity(Path(base_dir) / "src" / "darse")


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
