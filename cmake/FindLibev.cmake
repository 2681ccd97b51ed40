# SPDX-License-Identifier: Apache-2.0
# libev has neither a pkg-config file nor a CMake package in the distributions. Defines Libev::Libev.

find_path(LIBEV_INCLUDE_DIR ev.h PATH_SUFFIXES libev)
find_library(LIBEV_LIBRARY ev)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libev REQUIRED_VARS LIBEV_LIBRARY LIBEV_INCLUDE_DIR)
if(Libev_FOUND AND NOT TARGET Libev::Libev)
  add_library(Libev::Libev UNKNOWN IMPORTED)
  set_target_properties(
    Libev::Libev
    PROPERTIES IMPORTED_LOCATION ${LIBEV_LIBRARY}
               INTERFACE_INCLUDE_DIRECTORIES ${LIBEV_INCLUDE_DIR}
               # ev_io embeds a union that its own macros read through another type.
               INTERFACE_COMPILE_OPTIONS -fno-strict-aliasing
               INTERFACE_LINK_LIBRARIES m)
endif()
mark_as_advanced(LIBEV_INCLUDE_DIR LIBEV_LIBRARY)
