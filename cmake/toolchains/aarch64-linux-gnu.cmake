# SPDX-License-Identifier: Apache-2.0
# Builds for arm64 on another machine: gcc of Debian's gcc-aarch64-linux-gnu, and headers and libraries
# of an arm64 root, $FLOWD_SYSROOT (test/vm/arm64.py makes one). Without it the machine's own arm64
# libraries are taken, as multiarch has them (dpkg --add-architecture arm64).

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)

set(root $ENV{FLOWD_SYSROOT})
if(root)
  set(CMAKE_SYSROOT ${root})
  set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
  set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
  set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
  set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
  set(ENV{PKG_CONFIG_SYSROOT_DIR} ${root})
  set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L ${root})
else()
  set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)
endif()
set(ENV{PKG_CONFIG_LIBDIR} ${root}/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/pkgconfig:${root}/usr/share/pkgconfig)
