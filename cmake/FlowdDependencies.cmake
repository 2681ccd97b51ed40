# SPDX-License-Identifier: Apache-2.0
# The libraries that flowd stands on, each as one imported target.

find_package(PkgConfig REQUIRED)
if(FLOWD_STATIC)
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
endif()

pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.11)
pkg_check_modules(LIBBPF REQUIRED IMPORTED_TARGET libbpf>=0.8)
pkg_check_modules(LIBNL REQUIRED IMPORTED_TARGET libnl-3.0)
pkg_check_modules(LIBCAPNG REQUIRED IMPORTED_TARGET libcap-ng)
# The first whose ares_getaddrinfo() tells how long an answer holds.
pkg_check_modules(CARES REQUIRED IMPORTED_TARGET libcares>=1.16)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl>=7.61)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
if(FLOWD_STATIC)
  # An archive does not say what it stands on itself.
  target_link_libraries(PkgConfig::LIBBPF INTERFACE elf z)
endif()
find_package(Libev REQUIRED)
find_package(Llhttp REQUIRED)
# Headers alone; -DUTHASH_INCLUDE_DIR= names those that are not installed.
find_path(UTHASH_INCLUDE_DIR uthash.h REQUIRED)
target_include_directories(flowd_flags SYSTEM INTERFACE ${UTHASH_INCLUDE_DIR})
mark_as_advanced(UTHASH_INCLUDE_DIR)

find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)
find_program(BPF_CLANG NAMES clang clang-14 REQUIRED)
