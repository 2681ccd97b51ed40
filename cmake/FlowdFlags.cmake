# SPDX-License-Identifier: Apache-2.0
# flowd_flags: the warnings, hardening and sanitizers that every target of the project is built with.

add_library(flowd_flags INTERFACE)
target_compile_options(
  flowd_flags
  INTERFACE -Wall
            -Wextra
            -Wshadow
            -Wconversion
            -Wmissing-prototypes
            -Wformat=2
            -Wvla
            -fno-common
            -fstack-protector-strong
            $<$<BOOL:${FLOWD_WERROR}>:-Werror>)
target_compile_definitions(flowd_flags INTERFACE _GNU_SOURCE FLOWD_VERSION="${PROJECT_VERSION}")
# A distribution's flags (CFLAGS) have a level of their own, which may be higher.
if(NOT FLOWD_SANITIZE AND NOT CMAKE_C_FLAGS MATCHES "_FORTIFY_SOURCE")
  target_compile_definitions(flowd_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
endif()
target_link_options(flowd_flags INTERFACE -Wl,-z,relro -Wl,-z,now)

# Headers are included by their path from the root; which of them a target may include,
# FlowdLibrary.cmake sees to.
target_include_directories(flowd_flags INTERFACE ${PROJECT_SOURCE_DIR})

# Two directories give the same bytes. Builders of packages have maps of their own.
if(FLOWD_MAP_PATHS)
  add_compile_options(-ffile-prefix-map=${PROJECT_BINARY_DIR}=build
                      -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)
endif()

if(FLOWD_SANITIZE)
  target_compile_options(
    flowd_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined
                          -fno-omit-frame-pointer)
  target_link_options(flowd_flags INTERFACE -fsanitize=address,undefined)
endif()
if(FLOWD_FUZZ)
  target_compile_options(flowd_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
