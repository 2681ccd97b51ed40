# SPDX-License-Identifier: Apache-2.0
# llhttp comes as a library with a CMake package (EL, Debian 13), as a plain library, or as C source
# in Debian 12's node-llhttp. Defines Llhttp::Llhttp.

find_package(llhttp CONFIG QUIET)
if(llhttp_FOUND)
  foreach(candidate llhttp::llhttp_shared llhttp::llhttp llhttp::llhttp_static)
    if(TARGET ${candidate} AND NOT TARGET Llhttp::Llhttp)
      add_library(Llhttp::Llhttp INTERFACE IMPORTED)
      target_link_libraries(Llhttp::Llhttp INTERFACE ${candidate})
    endif()
  endforeach()
else()
  find_path(LLHTTP_INCLUDE_DIR llhttp.h PATHS /usr/share/include/llhttp PATH_SUFFIXES llhttp)
  find_library(LLHTTP_LIBRARY llhttp)
  find_path(LLHTTP_SOURCE_DIR llhttp.c PATHS /usr/share/llhttp)
  if(LLHTTP_INCLUDE_DIR AND LLHTTP_LIBRARY)
    add_library(Llhttp::Llhttp UNKNOWN IMPORTED)
    set_target_properties(
      Llhttp::Llhttp PROPERTIES IMPORTED_LOCATION ${LLHTTP_LIBRARY}
                                INTERFACE_INCLUDE_DIRECTORIES ${LLHTTP_INCLUDE_DIR})
  elseif(LLHTTP_INCLUDE_DIR AND LLHTTP_SOURCE_DIR)
    add_library(flowd_llhttp STATIC ${LLHTTP_SOURCE_DIR}/api.c ${LLHTTP_SOURCE_DIR}/http.c
                                    ${LLHTTP_SOURCE_DIR}/llhttp.c)
    target_include_directories(flowd_llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE_DIR})
    target_compile_options(flowd_llhttp PRIVATE -w -O2)
    add_library(Llhttp::Llhttp ALIAS flowd_llhttp)
  endif()
  mark_as_advanced(LLHTTP_INCLUDE_DIR LLHTTP_LIBRARY LLHTTP_SOURCE_DIR)
endif()

if(TARGET Llhttp::Llhttp)
  set(Llhttp_FOUND TRUE)
elseif(Llhttp_FIND_REQUIRED)
  message(FATAL_ERROR "llhttp not found: install node-llhttp (Debian 12), libllhttp-dev (Debian 13) "
                      "or llhttp-devel (EL)")
endif()
