# SPDX-License-Identifier: Apache-2.0
# llhttp comes as a library with a CMake package (Fedora, EPEL, Debian 13), as a plain library, or as C
# source: in Debian 12's node-llhttp, or in the directory of an unpacked release that FLOWD_LLHTTP names,
# which goes before all that is installed. Defines Llhttp::Llhttp.

set(FLOWD_LLHTTP
    ""
    CACHE PATH "An unpacked release of llhttp to build in")

function(flowd_build_llhttp source include)
  add_library(flowd_llhttp STATIC ${source}/api.c ${source}/http.c ${source}/llhttp.c)
  target_include_directories(flowd_llhttp SYSTEM PUBLIC ${include})
  target_compile_options(flowd_llhttp PRIVATE -w -O2)
  add_library(Llhttp::Llhttp ALIAS flowd_llhttp)
endfunction()

if(FLOWD_LLHTTP)
  flowd_build_llhttp(${FLOWD_LLHTTP}/src ${FLOWD_LLHTTP}/include)
else()
  find_package(llhttp CONFIG QUIET)
endif()
if(llhttp_FOUND)
  foreach(candidate llhttp::llhttp_shared llhttp::llhttp llhttp::llhttp_static)
    if(TARGET ${candidate} AND NOT TARGET Llhttp::Llhttp)
      add_library(Llhttp::Llhttp INTERFACE IMPORTED)
      target_link_libraries(Llhttp::Llhttp INTERFACE ${candidate})
    endif()
  endforeach()
elseif(NOT FLOWD_LLHTTP)
  find_path(LLHTTP_INCLUDE_DIR llhttp.h PATHS /usr/share/include/llhttp PATH_SUFFIXES llhttp)
  find_library(LLHTTP_LIBRARY llhttp)
  find_path(LLHTTP_SOURCE_DIR llhttp.c PATHS /usr/share/llhttp)
  if(LLHTTP_INCLUDE_DIR AND LLHTTP_LIBRARY)
    add_library(Llhttp::Llhttp UNKNOWN IMPORTED)
    set_target_properties(
      Llhttp::Llhttp PROPERTIES IMPORTED_LOCATION ${LLHTTP_LIBRARY}
                                INTERFACE_INCLUDE_DIRECTORIES ${LLHTTP_INCLUDE_DIR})
  elseif(LLHTTP_INCLUDE_DIR AND LLHTTP_SOURCE_DIR)
    flowd_build_llhttp(${LLHTTP_SOURCE_DIR} ${LLHTTP_INCLUDE_DIR})
  endif()
  mark_as_advanced(LLHTTP_INCLUDE_DIR LLHTTP_LIBRARY LLHTTP_SOURCE_DIR)
endif()

if(TARGET Llhttp::Llhttp)
  set(Llhttp_FOUND TRUE)
elseif(Llhttp_FIND_REQUIRED)
  message(FATAL_ERROR "llhttp not found: install node-llhttp (Debian 12), libllhttp-dev (Debian 13) or "
                      "llhttp-devel (Fedora, EPEL), or name an unpacked release: -DFLOWD_LLHTTP=DIR")
endif()
