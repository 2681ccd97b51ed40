# SPDX-License-Identifier: Apache-2.0
# The marker's benchmark shares its packets and its loader with the BPF tests, and brings BPF
# programs of its own.

set(bench_bpf_flags -target bpf -mcpu=v3 -g -O2 -Wall -Wextra -Werror)
if(CMAKE_LIBRARY_ARCHITECTURE)
  list(APPEND bench_bpf_flags -isystem /usr/include/${CMAKE_LIBRARY_ARCHITECTURE})
endif()

set(marker_turns_object ${CMAKE_CURRENT_BINARY_DIR}/marker_turns.bpf.o)
set(marker_turns_skeleton ${CMAKE_CURRENT_BINARY_DIR}/marker_turns.skel.h)
add_custom_command(
  OUTPUT ${marker_turns_skeleton}
  COMMAND ${BPF_CLANG} ${bench_bpf_flags} -c ${CMAKE_CURRENT_SOURCE_DIR}/marker_turns.bpf.c -o
          ${marker_turns_object}
  COMMAND ${BPFTOOL} gen skeleton ${marker_turns_object} name marker_turns_bpf >
          ${marker_turns_skeleton}
  DEPENDS marker_turns.bpf.c marker_turns_shared.h
  COMMENT "Building BPF object marker_turns.bpf.o"
  VERBATIM)

add_executable(marker_bench marker_bench.c marker_turns.c ${marker_turns_skeleton})
target_include_directories(marker_bench SYSTEM PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
target_link_libraries(marker_bench PRIVATE flowd_test_marker flowd_flags)

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
