"""What Horovod's last release needs changed to build for the TensorFlow that dcbench pins, and why.

Each patch names a file, the text to find there exactly once, and what to put in its place.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Patch(NamedTuple):
    """One change of the release's source."""

    file: str
    old: str
    new: str
    why: str


class PatchFailed(Exception):
    """A patch did not find its place; the message is one sentence."""


CMAKE = "horovod/tensorflow/CMakeLists.txt"
OPERATIONS = "horovod/tensorflow/mpi_ops.cc"
PREFIX = 'set_target_properties(${TF_TARGET_LIB} PROPERTIES PREFIX "")\n'
STREAM_INCLUDE = '#include "tensorflow/stream_executor/stream.h"\n#endif // TENSORFLOW_VERSION >= 2011000000\n'

PATCHES = (
    Patch(
        CMAKE,
        old='list(APPEND TF_SOURCES "${PROJECT_SOURCE_DIR}/horovod/tensorflow/xla_mpi_ops.cc")\n',
        new="",
        why="the XLA headers this file includes have moved; it serves HOROVOD_ENABLE_XLA_OPS only",
    ),
    Patch(
        CMAKE,
        old=PREFIX,
        new=PREFIX + "set_target_properties(${TF_TARGET_LIB} PROPERTIES BUILD_WITH_INSTALL_RPATH TRUE\n"
        '    INSTALL_RPATH "$ORIGIN/../../../..;$ORIGIN/../../tensorflow;$ORIGIN/../../nvidia/nccl/lib")\n',
        why="MPI, TensorFlow and NCCL are found from the installed package, not in the folder of the build",
    ),
    Patch(
        OPERATIONS,
        old="// Forward declaration of AsGpuStreamValue\nnamespace stream_executor {\nnamespace gpu {\n"
        "GpuStreamHandle AsGpuStreamValue(Stream* stream);\n"
        "} // namespace stream_executor\n} // namespace gpu\n",
        new="",
        why="TensorFlow no longer exports this function",
    ),
    Patch(
        OPERATIONS,
        old=STREAM_INCLUDE,
        new=STREAM_INCLUDE + "namespace stream_executor {\nnamespace gpu {\n"
        "inline GpuStreamHandle AsGpuStreamValue(Stream* stream) {\n"
        "  return static_cast<GpuStreamHandle>(stream->platform_specific_handle().stream);\n"
        "}\n} // namespace gpu\n} // namespace stream_executor\n",
        why="so that function is defined here",
    ),
    Patch(
        "setup.py",
        old="""'dataclasses;python_version<"3.7"'""",
        new="""'setuptools;python_version>="3.12"'""",
        why="horovodrun imports distutils, which Python 3.12 leaves to setuptools",
    ),
)


def apply(source: Path, patches: tuple[Patch, ...] = PATCHES) -> None:
    """Apply the patches to an unpacked release."""
    for patch in patches:
        path = source / patch.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if text.count(patch.old) != 1:
            raise PatchFailed(
                f"a patch of {patch.file} is to change one place and found {text.count(patch.old)} "
                f"({patch.why}); the source is not that of the release this shim was written for"
            )
        path.write_text(text.replace(patch.old, patch.new), encoding="utf-8")
