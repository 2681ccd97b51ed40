# SPDX-License-Identifier: Apache-2.0
# The marker's benchmark shares its packets and its loader with the BPF tests, and brings BPF
# programs of its own.

set(bench_bpf_flags -target bpf -mcpu=v3 -g -O2 -Wall -Wextra -Werror)
if(CMAKE_SYSROOT)
  list(APPEND bench_bpf_flags --sysroot=${CMAKE_SYSROOT})
endif()
if(CMAKE_LIBRARY_ARCHITECTURE)
  list(APPEND bench_bpf_flags -isystem ${CMAKE_SYSROOT}/usr/include/${CMAKE_LIBRARY_ARCHITECTURE})
endif()

# A BPF object of that name, with the further files that it includes, as a skeleton header.
function(bench_bpf_skeleton name)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
  set(skeleton ${CMAKE_CURRENT_BINARY_DIR}/${name}.skel.h)
  add_custom_command(
    OUTPUT ${skeleton}
    COMMAND ${BPF_CLANG} ${bench_bpf_flags} -c ${CMAKE_CURRENT_SOURCE_DIR}/${name}.bpf.c -o ${object}
    COMMAND ${BPFTOOL} gen skeleton ${object} name ${name}_bpf > ${skeleton}
    DEPENDS ${name}.bpf.c ${ARGN}
    COMMENT "Building BPF object ${name}.bpf.o"
    VERBATIM)
endfunction()

bench_bpf_skeleton(marker_turns marker_turns_shared.h)
bench_bpf_skeleton(marker_stress marker_stress_shared.h)

add_executable(marker_bench marker_bench.c marker_turns.c ${CMAKE_CURRENT_BINARY_DIR}/marker_turns.skel.h)
add_executable(marker_stress marker_stress.c ${CMAKE_CURRENT_BINARY_DIR}/marker_stress.skel.h)
foreach(name marker_bench marker_stress)
  target_include_directories(${name} SYSTEM PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
  target_link_libraries(${name} PRIVATE flowd_test_marker flowd_flags)
endforeach()

# run.py puts this one beside the marker on an interface.
set(bench_empty_object ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/empty.bpf.o)
add_custom_command(
  OUTPUT ${bench_empty_object}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}
  COMMAND ${BPF_CLANG} ${bench_bpf_flags} -c ${CMAKE_CURRENT_SOURCE_DIR}/empty.bpf.c -o
          ${bench_empty_object}
  DEPENDS empty.bpf.c
  COMMENT "Building BPF object empty.bpf.o"
  VERBATIM)
add_custom_target(bench_empty ALL DEPENDS ${bench_empty_object})
