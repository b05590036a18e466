"""Compiles the hot rooms, if BUILD_COMPILED=1 is in the environment; all else is in pyproject.toml.

They become one extension module, made by mypyc, and a small one for each file, which only leads to it. The
.py files stay beside them, for tracebacks. What fails is an error: nobody gets a plain package who has asked
for a compiled one.
"""

import shutil
import subprocess
import sysconfig
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

from build_backend import project, wants_compiled

PACKAGE = Path("balancer")
BUILD = Path("build")


def compiled_files() -> list[Path]:
    """The files that are compiled, relative to this one."""
    wanted = project()["tool"]["balancer"]["compiled"]
    files = [PACKAGE / name for name in wanted["files"]]
    files += [file for room in wanted["rooms"] for file in sorted((PACKAGE / room).glob("*.py"))]
    plain = {PACKAGE / name for name in wanted["plain"]}
    return [file for file in files if file not in plain and file.name != "__init__.py"]


def extensions() -> list[Extension]:
    """Runs mypyc. Raises CompileError if anything is missing that is needed to compile."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    for tool, package in ((compiler, "gcc and libc6-dev"), ("objcopy", "binutils")):
        if shutil.which(tool) is None:
            raise CompileError(f"BUILD_COMPILED: there is no {tool}; install it (on Debian: {package})")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        raise CompileError("BUILD_COMPILED: there is no Python.h; install it (on Debian: python3-dev)")
    try:
        from mypyc.build import mypycify
    except ImportError:
        needed = " ".join(project()["tool"]["balancer"]["compiled"]["requires"])
        raise CompileError(
            f"BUILD_COMPILED: there is no mypyc; install {needed}, or build in isolation"
        ) from None
    # A cache of its own: the options differ from those of `make types`, which would check all anew.
    options = ["--cache-dir", str(BUILD / "mypy_cache")]
    files = [str(file) for file in compiled_files()]
    made: list[Extension] = mypycify(
        [*options, *files], opt_level="3", group_name=PACKAGE.name, target_dir=str(BUILD)
    )
    for extension in made:
        # Nobody reads warnings about generated code. For the second, gcc 14 looks up the source lines of each
        # statement, and took minutes to find them in a file of this size.
        extension.extra_compile_args = [*extension.extra_compile_args, "-w", "-Wno-misleading-indentation"]
    return made


def strip(extension: Path) -> None:
    """Remove the debug symbols of an extension; those of the large one go to build/debug."""
    options = ["--strip-unneeded"]
    if extension.name.startswith(f"{PACKAGE}__mypyc"):
        symbols = BUILD / "debug" / f"{extension.name}.debug"
        symbols.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["objcopy", "--only-keep-debug", extension, symbols], check=True)
        options.append(f"--add-gnu-debuglink={symbols}")
    subprocess.run(["objcopy", *options, extension], check=True)


class Package(Distribution):
    """Compiled, it is for one interpreter and machine, which setuptools must know before it compiles."""

    def has_ext_modules(self) -> bool:
        return wants_compiled()


class Build(build):
    """Without what an earlier build has left: a stale extension would shadow its .py."""

    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)
        if wants_compiled():  # not sooner: metadata needs no compiler
            self.distribution.ext_modules = extensions()
        super().run()


class BuildExtensions(build_ext):
    """`python setup.py build_ext --inplace`, for profiling a copy of the sources, keeps the symbols."""

    def finalize_options(self) -> None:
        if self.inplace and wants_compiled():
            self.distribution.ext_modules = extensions()
        super().finalize_options()

    def run(self) -> None:
        super().run()
        if not self.inplace:
            for extension in self.extensions:
                strip(Path(self.get_ext_fullpath(extension.name)))


setup(distclass=Package, cmdclass={"build": Build, "build_ext": BuildExtensions})
