# SPDX-License-Identifier: Apache-2.0
# flowd_bpf_object(NAME): builds ebpf/NAME.bpf.c into NAME.bpf.o and a libbpf skeleton header
# NAME.skel.h, and defines the interface target flowd_bpf_NAME that brings the header.

function(flowd_bpf_object name)
  set(source ${PROJECT_SOURCE_DIR}/ebpf/${name}.bpf.c)
  set(directory ${PROJECT_BINARY_DIR}/ebpf)
  set(object ${directory}/${name}.bpf.o)
  set(skeleton ${directory}/skeleton/${name}.skel.h)
  # Paths would get into the lines of the BTF, and with it into the programs.
  set(options -I${PROJECT_SOURCE_DIR} -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.
              -ffile-prefix-map=${PROJECT_BINARY_DIR}=build -fdebug-compilation-dir=.)
  if(CMAKE_SYSROOT)
    list(APPEND options --sysroot=${CMAKE_SYSROOT})
  endif()
  if(CMAKE_LIBRARY_ARCHITECTURE)
    list(APPEND options -isystem ${CMAKE_SYSROOT}/usr/include/${CMAKE_LIBRARY_ARCHITECTURE})
  endif()
  # Where libbpf is none that the system has.
  foreach(include ${LIBBPF_INCLUDE_DIRS})
    list(APPEND options -isystem ${include})
  endforeach()
  file(MAKE_DIRECTORY ${directory}/skeleton)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${BPF_CLANG} -target bpf -mcpu=v3 -g -O2 -Wall -Wextra -Werror ${options} -MMD
            -MF ${object}.d -MT ${object} -c ${source} -o ${object}
    DEPENDS ${source}
    DEPFILE ${object}.d
    COMMENT "Building BPF object ${name}.bpf.o"
    VERBATIM)
  add_custom_command(
    OUTPUT ${skeleton}
    COMMAND ${BPFTOOL} gen skeleton ${object} name ${name}_bpf > ${skeleton}
    DEPENDS ${object}
    COMMENT "Generating ${name}.skel.h"
    VERBATIM)
  add_custom_target(flowd_bpf_${name}_skeleton DEPENDS ${skeleton})
  add_library(flowd_bpf_${name} INTERFACE)
  target_include_directories(flowd_bpf_${name} SYSTEM INTERFACE ${directory}/skeleton)
  target_link_libraries(flowd_bpf_${name} INTERFACE PkgConfig::LIBBPF)
  set_target_properties(flowd_bpf_${name} PROPERTIES FLOWD_FOLDERS ebpf)
  add_dependencies(flowd_bpf_${name} flowd_bpf_${name}_skeleton)
endfunction()
